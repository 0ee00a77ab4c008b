package mine

import (
	"encoding/binary"
	"math"
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

// Before reports whether n ranks before o. The order is s(Q,D) descending, then position ascending.
func (n Negative) Before(o Negative) bool {
	return n.SQD > o.SQD || n.SQD == o.SQD && n.Position < o.Position
}

// Part is the result for some ranges of document positions. It depends on projection, pairs, options and ranges alone.
type Part struct {
	Options
	Ranges     []Range      // the documents that were mined: ascending, no two touch
	SQPD       []float64    // of each pair: s(Q,PD)
	Window     []bool       // of each pair: some document lay in the window
	Found      [][]Negative // of each pair: its negatives, best first, at most Top
	InWindow   []int64      // of each pair, with Counts: documents in the window
	Candidates []int64      // of each pair, with Counts: documents in the window that meet Eq. 6, where the rule has it
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

// The tensors of a part; docs/ABI.md says what each holds.
const (
	partRanges     = "ranges"
	partSQPD       = "s_q_pd"
	partWindow     = "window"
	partOffsets    = "offsets"
	partPosition   = "position"
	partSQD        = "s_q_d"
	partSPDD       = "s_pd_d"
	partInWindow   = "in_window"
	partCandidates = "candidates"
)

// tensors is the layout of a part of n pairs with t negatives in all: its tensors without their data.
func (p *Part) tensors(n, t int) []safetensors.Tensor {
	of := func(name string, dtype safetensors.DType, shape ...int) safetensors.Tensor {
		return safetensors.Tensor{Name: name, DType: dtype, Shape: shape}
	}
	tensors := []safetensors.Tensor{
		of(partRanges, safetensors.I64, len(p.Ranges), 2),
		of(partSQPD, safetensors.F64, n),
		of(partWindow, safetensors.U8, n),
		of(partOffsets, safetensors.I64, n+1),
		of(partPosition, safetensors.I64, t),
		of(partSQD, safetensors.F64, t),
		of(partSPDD, safetensors.F64, t),
	}
	if p.Counts {
		tensors = append(tensors, of(partInWindow, safetensors.I64, n), of(partCandidates, safetensors.I64, n))
	}
	return tensors
}

// Marshal returns the part's bytes. Equal parts have equal bytes.
func (p *Part) Marshal() ([]byte, error) {
	t := 0
	for _, found := range p.Found {
		t += len(found)
	}
	layout, err := safetensors.Lay(p.tensors(len(p.SQPD), t), p.metadata())
	if err != nil {
		return nil, err
	}
	b := make([]byte, layout.Size)
	copy(b, layout.Header)
	at := layout.Offsets
	put := func(tensor, i int, bits uint64) { binary.LittleEndian.PutUint64(b[tensor+8*i:], bits) }
	for i, r := range p.Ranges {
		put(at[partRanges], 2*i, uint64(r.First))
		put(at[partRanges], 2*i+1, uint64(r.End))
	}
	position, sQD, sPDD := at[partPosition], at[partSQD], at[partSPDD]
	t = 0
	for i, found := range p.Found {
		if p.Window[i] {
			b[at[partWindow]+i] = 1
		}
		for _, f := range found {
			put(position, t, uint64(f.Position))
			put(sQD, t, math.Float64bits(f.SQD))
			put(sPDD, t, math.Float64bits(f.SPDD))
			t++
		}
		put(at[partSQPD], i, math.Float64bits(p.SQPD[i]))
		put(at[partOffsets], i+1, uint64(t))
		if p.Counts {
			put(at[partInWindow], i, uint64(p.InWindow[i]))
			put(at[partCandidates], i, uint64(p.Candidates[i]))
		}
	}
	return b, nil
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

// String gives the bound as the text "a b" that options and metadata hold.
func (b Bound) String() string { return jsontext.FormatFloat(b.A) + " " + jsontext.FormatFloat(b.B) }

// ParseBound reads the text "a b" of two finite numbers. The error is abi.BadOption.
func ParseBound(text string) (*Bound, error) {
	first, second, _ := strings.Cut(text, " ")
	a, errA := strconv.ParseFloat(first, 64)
	b, errB := strconv.ParseFloat(second, 64)
	if errA != nil || errB != nil || a-a != 0 || b-b != 0 {
		return nil, abi.Errorf(abi.BadOption, "bound is %q; expected two finite numbers, \"a b\" for a * s(Q,PD) + b", text)
	}
	return &Bound{a, b}, nil
}
