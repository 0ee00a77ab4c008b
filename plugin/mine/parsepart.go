package mine

import (
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// ParsePart reads a part and checks it throughout. It keeps nothing of b. The error is an *abi.Error of abi.BadMessage,
// or of abi.Overlap where ranges overlap.
func ParsePart(b []byte) (*Part, error) {
	f, err := safetensors.Parse(b, abi.MaxHeader)
	if err != nil {
		return nil, abi.Errorf(abi.BadMessage, "not a part: %v", err)
	}
	p, err := parseOptions(f.Metadata)
	if err != nil {
		return nil, err
	}
	t, err := readPart(f, p)
	if err != nil {
		return nil, err
	}
	n := len(t.sQPD)
	if err := ragged(partPosition, t.offsets, t.position, n, abi.MaxPosition+1); err != nil {
		return nil, err
	}
	covered, err := parseRanges(t.ranges)
	if err != nil {
		return nil, err
	}
	p.Ranges = covered
	// Ranges do not overlap, so the counts of a part that is merged of several cannot pass 2^53 either.
	documents := p.Documents() - p.Skipped
	if documents < 0 {
		return nil, abi.Errorf(abi.BadMessage, "%d documents were left out of %d", p.Skipped, p.Documents())
	}
	p.SQPD = slices.Clone(t.sQPD)
	if p.Counts {
		p.InWindow, p.Candidates = slices.Clone(t.inWindow), slices.Clone(t.candidates)
	}
	p.Window, p.Found = make([]bool, n), make([][]Negative, n)
	for i := range n {
		p.Window[i] = t.window[i] != 0
		if p.Found[i], err = t.negatives(i, p, covered); err != nil {
			return nil, err
		}
		if t.window[i] > 1 || math.IsNaN(p.SQPD[i]) || p.Counts && !p.countsAreSound(i, documents) {
			return nil, abi.Errorf(abi.BadMessage, "pair %d: window, s_q_pd or counts make no sense", i)
		}
	}
	return p, nil
}

// parseRanges reads pairs of a range's first position and the one past its last.
func parseRanges(flat []int64) (covered ranges, err error) {
	for i := 0; i+1 < len(flat); i += 2 {
		if flat[i] >= flat[i+1] || flat[i+1] > abi.MaxPosition+1 {
			return nil, abi.Errorf(abi.BadMessage, "range %d to %d is empty, or over the limit of %d", flat[i], flat[i+1]-1, abi.MaxPosition).At(partRanges, i/2)
		}
		if err := covered.add(flat[i], flat[i+1]); err != nil {
			return nil, err
		}
	}
	if len(flat) != 2*len(covered) {
		return nil, abi.Errorf(abi.BadMessage, "ranges touch, or are not pairs").At(partRanges, -1)
	}
	return covered, nil
}

// countsAreSound reports whether pair i has no more negatives than candidates, no more candidates than documents in the
// window, and no more of those than there are documents.
func (p *Part) countsAreSound(i int, documents int64) bool {
	return int64(len(p.Found[i])) <= p.Candidates[i] && p.Candidates[i] <= p.InWindow[i] && p.InWindow[i] <= documents
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
	for _, key := range slices.Sorted(maps.Keys(own)) { // in order, so that of several wrong keys the same is named each time
		if m[key] != own[key] {
			return nil, bad(key)
		}
	}
	if len(m) != len(own) {
		return nil, abi.Errorf(abi.BadMessage, "not a part: it has metadata that does not belong")
	}
	return p, nil
}

// partTensors are the data of a part's tensors, in the memory of the file.
type partTensors struct {
	ranges               []int64
	sQPD                 []float64
	window               []byte
	offsets, position    []int64
	sQD, sPDD            []float64
	inWindow, candidates []int64
}

// readPart reads each tensor once. It checks that the tensor is there, its type and its length, and that there are no
// other tensors.
func readPart(f *safetensors.File, p *Part) (*partTensors, error) {
	r := partReader{file: f}
	var t partTensors
	t.sQPD = r.float64s(partSQPD, anyLength)
	n := len(t.sQPD)
	t.ranges = r.int64s(partRanges, anyLength)
	t.window = r.data(partWindow, safetensors.U8, n)
	t.offsets = r.int64s(partOffsets, n+1)
	t.position = r.int64s(partPosition, anyLength)
	t.sQD, t.sPDD = r.float64s(partSQD, len(t.position)), r.float64s(partSPDD, len(t.position))
	if p.Counts {
		t.inWindow, t.candidates = r.int64s(partInWindow, n), r.int64s(partCandidates, n)
	}
	if r.err != nil {
		return nil, r.err
	}
	if n == 0 || len(f.Tensors) != r.read {
		return nil, abi.Errorf(abi.BadMessage, "not a part: %d tensors for %d pairs; expected %d tensors", len(f.Tensors), n, r.read)
	}
	return &t, nil
}

// negatives reads the negatives of pair i and checks them: they are in order, best first, at most p.Top, with finite
// scores, and their positions are in the ranges. A pair without a document in its window has none.
func (t *partTensors) negatives(i int, p *Part, covered ranges) ([]Negative, error) {
	found := make([]Negative, 0, t.offsets[i+1]-t.offsets[i])
	for j := t.offsets[i]; j < t.offsets[i+1]; j++ {
		next := Negative{t.position[j], t.sQD[j], t.sPDD[j]}
		sound := covered.contains(next.Position) && next.SQD-next.SQD == 0 && next.SPDD-next.SPDD == 0 && p.Window[i]
		inOrder := len(found) == 0 || found[len(found)-1].Before(next)
		if !sound || !inOrder || len(found) == p.Top {
			return nil, abi.Errorf(abi.BadMessage, "pair %d has a negative out of order, out of the ranges, not finite or past the top %d", i, p.Top).
				At(partPosition, int(j))
		}
		found = append(found, next)
	}
	return found, nil
}

// partReader takes tensors out of a part. It counts them and keeps the first error.
type partReader struct {
	file *safetensors.File
	read int
	err  error
}

const anyLength = -1

// data returns the bytes of a tensor that must have this type and this many values, or anyLength.
func (r *partReader) data(name string, dtype safetensors.DType, length int) []byte {
	r.read++
	t, ok := r.file.Tensor(name)
	if ok && t.DType == dtype && (length == anyLength || len(t.Data) == length*dtype.Size()) {
		return t.Data
	}
	if r.err == nil {
		r.err = abi.Errorf(abi.BadMessage, "not a part: it is missing, or its type or length is wrong").At(name, -1)
	}
	return nil
}

func (r *partReader) int64s(name string, length int) []int64 {
	return safetensors.Int64s(r.data(name, safetensors.I64, length))
}

func (r *partReader) float64s(name string, length int) []float64 {
	return safetensors.Float64s(r.data(name, safetensors.F64, length))
}
