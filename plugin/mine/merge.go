package mine

import (
	"maps"
	"math"
	"slices"

	"github.com/quarry-hn/quarry/plugin/abi"
)

// Merge returns the part for the ranges of a and b together. Both must be of the same projection, pairs and options.
// Merging is associative and commutative. It changes neither a nor b. The error is abi.Mismatch or abi.Overlap.
func Merge(a, b *Part) (*Part, error) {
	ma, mb := a.metadata(), b.metadata()
	delete(ma, "skipped")
	delete(mb, "skipped")
	if !maps.Equal(ma, mb) {
		return nil, abi.Errorf(abi.Mismatch, "the parts differ in projection, pairs or options: %v and %v", ma, mb)
	}
	if !slices.EqualFunc(a.SQPD, b.SQPD, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) }) {
		return nil, abi.Errorf(abi.Mismatch, "the parts are of different pairs: %d and %d, or their s(Q,PD) differ", len(a.SQPD), len(b.SQPD))
	}
	covered := ranges(slices.Clone(a.Ranges))
	for _, r := range b.Ranges {
		if err := covered.add(r.First, r.End); err != nil {
			return nil, err
		}
	}
	n := len(a.SQPD)
	m := &Part{Options: a.Options, Ranges: covered, SQPD: a.SQPD, Skipped: a.Skipped + b.Skipped,
		Window: make([]bool, n), Found: make([][]Negative, n)}
	for i := range n {
		m.Window[i] = a.Window[i] || b.Window[i]
		m.Found[i] = mergeFound(a.Found[i], b.Found[i], a.Top)
	}
	if a.Counts {
		m.InWindow, m.Candidates = make([]int64, n), make([]int64, n)
		for i := range n {
			m.InWindow[i] = a.InWindow[i] + b.InWindow[i]
			m.Candidates[i] = a.Candidates[i] + b.Candidates[i]
		}
	}
	return m, nil
}

// mergeFound merges two lists of negatives, each best first, and keeps the best top of them.
func mergeFound(a, b []Negative, top int) []Negative {
	m := make([]Negative, 0, min(len(a)+len(b), top))
	for len(m) < top && len(a)+len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].Before(b[0]) {
			m, a = append(m, a[0]), a[1:]
		} else {
			m, b = append(m, b[0]), b[1:]
		}
	}
	return m
}
