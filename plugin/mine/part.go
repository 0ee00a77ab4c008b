package mine

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/internal/jsontext"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// PartFormat is what the metadata of a part of this version gives as its format.
const PartFormat = "quarry.part.v1"

// Negative is a document that met the rule for a pair.
type Negative struct {
	Position  int64
	SQD, SPDD float64 // s(Q,D) and s(PD,D)
}

// before reports whether n ranks before o: by s(Q,D) descending, then by position.
func (n Negative) before(o Negative) bool {
	return n.SQD > o.SQD || n.SQD == o.SQD && n.Position < o.Position
}

// Part is the result for some ranges of document positions. It depends on projection, pairs, options and ranges alone.
type Part struct {
	Options
	Ranges     []Range      // ascending, not touching
	SQPD       []float64    // of each pair
	Window     []bool       // of each pair: some document lay in the window
	Found      [][]Negative // of each pair, best first, at most Top
	InWindow   []int64      // of each pair, with Counts: documents in the window
	Candidates []int64      // of each pair, with Counts: those that meet Eq. 6 too, where the rule has it
	Skipped    int64        // documents left out as zero vectors
}

// Documents is how many positions the part covers.
func (p *Part) Documents() int64 {
	n := int64(0)
	for _, r := range p.Ranges {
		n += r.End - r.First
	}
	return n
}

// Marshal returns the part's bytes; equal parts have equal bytes.
func (p *Part) Marshal() ([]byte, error) {
	n := len(p.SQPD)
	ranges := make([]int64, 0, 2*len(p.Ranges))
	for _, r := range p.Ranges {
		ranges = append(ranges, r.First, r.End)
	}
	window := make([]byte, n)
	offsets := make([]int64, n+1)
	for i, found := range p.Found {
		if p.Window[i] {
			window[i] = 1
		}
		offsets[i+1] = offsets[i] + int64(len(found))
	}
	t := int(offsets[n])
	position, sQD, sPDD := make([]int64, 0, t), make([]float64, 0, t), make([]float64, 0, t)
	for _, found := range p.Found {
		for _, f := range found {
			position, sQD, sPDD = append(position, f.Position), append(sQD, f.SQD), append(sPDD, f.SPDD)
		}
	}
	tensors := []safetensors.Tensor{
		safetensors.OfInt64("ranges", ranges, len(p.Ranges), 2),
		safetensors.OfFloat64("s_q_pd", p.SQPD, n),
		{Name: "window", DType: safetensors.U8, Shape: []int{n}, Data: window},
		safetensors.OfInt64("offsets", offsets, n+1),
		safetensors.OfInt64("position", position, t),
		safetensors.OfFloat64("s_q_d", sQD, t),
		safetensors.OfFloat64("s_pd_d", sPDD, t),
	}
	if p.Counts {
		tensors = append(tensors, safetensors.OfInt64("in_window", p.InWindow, n), safetensors.OfInt64("candidates", p.Candidates, n))
	}
	return safetensors.Marshal(tensors, p.metadata())
}

func (p *Part) metadata() map[string]string {
	m := map[string]string{
		"format": PartFormat, "rule": p.Rule.Name, "eq6": strconv.FormatBool(p.Rule.Eq6), "top": strconv.Itoa(p.Top),
		"counts": strconv.FormatBool(p.Counts), "zero": "error", "skipped": strconv.FormatInt(p.Skipped, 10),
		"projection": p.Projection, "pairs_id": p.PairsID,
	}
	if p.SkipZero {
		m["zero"] = "skip"
	}
	if p.Rule.Floor != nil {
		m["floor"] = p.Rule.Floor.String()
	}
	if p.Rule.Cap != nil {
		m["cap"] = p.Rule.Cap.String()
	}
	return m
}

// String gives a bound as options and metadata have it: "a b".
func (b Bound) String() string { return jsontext.FormatFloat(b.A) + " " + jsontext.FormatFloat(b.B) }

// ParseBound reads "a b".
func ParseBound(text string) (*Bound, error) {
	first, second, _ := strings.Cut(text, " ")
	a, errA := strconv.ParseFloat(first, 64)
	b, errB := strconv.ParseFloat(second, 64)
	if errA != nil || errB != nil || a-a != 0 || b-b != 0 {
		return nil, abi.Errorf(abi.BadOption, "bound is %q; expected two finite numbers, \"a b\" for a * s(Q,PD) + b", text)
	}
	return &Bound{a, b}, nil
}

// ParsePart reads a part and checks it throughout.
func ParsePart(b []byte) (*Part, error) {
	f, err := safetensors.Parse(b, abi.MaxHeader)
	if err != nil {
		return nil, abi.Errorf(abi.BadMessage, "not a part: %v", err)
	}
	p, err := parseOptions(f.Metadata)
	if err != nil {
		return nil, err
	}
	r := partReader{file: f}
	n := len(r.float64s("s_q_pd", -1))
	p.SQPD = slices.Clone(r.float64s("s_q_pd", n))
	flat := r.int64s("ranges", -1)
	window := r.tensor("window", safetensors.U8, n).Data
	offsets := r.int64s("offsets", n+1)
	t := len(r.int64s("position", -1))
	position, sQD, sPDD := r.int64s("position", t), r.float64s("s_q_d", t), r.float64s("s_pd_d", t)
	want := 7
	if p.Counts {
		p.InWindow, p.Candidates = slices.Clone(r.int64s("in_window", n)), slices.Clone(r.int64s("candidates", n))
		want = 9
	}
	switch {
	case r.err != nil:
		return nil, r.err
	case n == 0 || len(f.Tensors) != want:
		return nil, abi.Errorf(abi.BadMessage, "not a part: %d tensors for %d pairs; expected %d tensors", len(f.Tensors), n, want)
	}
	if err := ragged("position", offsets, position, n, abi.MaxPosition+1); err != nil {
		return nil, err
	}
	var covered ranges
	for i := 0; i+1 < len(flat); i += 2 {
		if flat[i] >= flat[i+1] {
			return nil, abi.Errorf(abi.BadMessage, "range %d to %d is empty", flat[i], flat[i+1]-1).At("ranges", i/2)
		}
		if err := covered.add(flat[i], flat[i+1]); err != nil {
			return nil, err
		}
	}
	if len(flat) != 2*len(covered) {
		return nil, abi.Errorf(abi.BadMessage, "ranges touch, or are not pairs").At("ranges", -1)
	}
	p.Ranges = covered
	// Ranges do not overlap, so what is merged cannot count past 2^53 either.
	documents := p.Documents() - p.Skipped
	if documents < 0 {
		return nil, abi.Errorf(abi.BadMessage, "%d documents were left out of %d", p.Skipped, p.Documents())
	}
	p.Window, p.Found = make([]bool, n), make([][]Negative, n)
	for i := range n {
		p.Window[i] = window[i] != 0
		found := make([]Negative, 0, offsets[i+1]-offsets[i])
		for j := offsets[i]; j < offsets[i+1]; j++ {
			new := Negative{position[j], sQD[j], sPDD[j]}
			sound := covered.contains(new.Position) && new.SQD-new.SQD == 0 && new.SPDD-new.SPDD == 0 && p.Window[i] &&
				(len(found) == 0 || found[len(found)-1].before(new))
			if !sound || len(found) == p.Top {
				return nil, abi.Errorf(abi.BadMessage, "pair %d has a negative out of order, out of the ranges, not finite or past the top %d", i, p.Top).
					At("position", int(j))
			}
			found = append(found, new)
		}
		p.Found[i] = found
		if window[i] > 1 || math.IsNaN(p.SQPD[i]) || p.Counts && !(int64(len(found)) <= p.Candidates[i] && p.Candidates[i] <= p.InWindow[i] && p.InWindow[i] <= documents) {
			return nil, abi.Errorf(abi.BadMessage, "pair %d: window, s_q_pd or counts make no sense", i)
		}
	}
	return p, nil
}

func parseOptions(m map[string]string) (*Part, error) {
	p := &Part{}
	bad := func(key string) error {
		return abi.Errorf(abi.BadMessage, "not a part: metadata %s is %q", key, m[key])
	}
	if m["format"] != PartFormat {
		return nil, bad("format")
	}
	var err error
	if p.Top, err = strconv.Atoi(m["top"]); err != nil || p.Top < 1 || p.Top > abi.MaxTop {
		return nil, bad("top")
	}
	if p.Skipped, err = strconv.ParseInt(m["skipped"], 10, 64); err != nil || p.Skipped < 0 {
		return nil, bad("skipped")
	}
	p.Rule.Name, p.Projection, p.PairsID = m["rule"], m["projection"], m["pairs_id"]
	p.Rule.Eq6, p.Counts, p.SkipZero = m["eq6"] == "true", m["counts"] == "true", m["zero"] == "skip"
	for _, bound := range []struct {
		key string
		to  **Bound
	}{{"floor", &p.Rule.Floor}, {"cap", &p.Rule.Cap}} {
		if text, ok := m[bound.key]; ok {
			if *bound.to, err = ParseBound(text); err != nil {
				return nil, bad(bound.key)
			}
		}
	}
	own := p.metadata()
	for _, key := range slices.Sorted(maps.Keys(own)) { // of several that are wrong, the same is named each time
		if m[key] != own[key] {
			return nil, bad(key)
		}
	}
	if len(m) != len(own) {
		return nil, abi.Errorf(abi.BadMessage, "not a part: it has metadata that does not belong")
	}
	return p, nil
}

// partReader takes tensors out of a part, keeping the first error. A length of -1 is any.
type partReader struct {
	file *safetensors.File
	err  error
}

func (r *partReader) tensor(name string, dtype safetensors.DType, length int) safetensors.Tensor {
	t, ok := r.file.Tensor(name)
	if ok && t.DType == dtype && (length < 0 || len(t.Data) == length*dtype.Size()) {
		return t
	}
	if r.err == nil {
		r.err = abi.Errorf(abi.BadMessage, "not a part: it is missing, or its type or length is wrong").At(name, -1)
	}
	return safetensors.Tensor{}
}

func (r *partReader) int64s(name string, length int) []int64 {
	return safetensors.Int64s(r.tensor(name, safetensors.I64, length).Data)
}

func (r *partReader) float64s(name string, length int) []float64 {
	return safetensors.Float64s(r.tensor(name, safetensors.F64, length).Data)
}
