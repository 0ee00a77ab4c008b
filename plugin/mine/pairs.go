package mine

import (
	"slices"

	"github.com/quarry-hn/quarry/plugin/abi"
)

// Pairs are the (query, positive) pairs to mine, with projected vectors of Width values.
type Pairs struct {
	Width     int
	Queries   []float32 // q rows, each query once
	Positives []float32 // p rows, each positive document once
	Indices
}

// Indices say which query and which positive each pair is of, and what a query excludes.
type Indices struct {
	PairQuery    []int64 // n rows of Queries
	PairPositive []int64 // n rows of Positives

	// Exclude holds positions of documents that are never negatives of a query. The positions of query i are
	// Exclude[ExcludeOffsets[i]:ExcludeOffsets[i+1]]. Both slices may be nil.
	ExcludeOffsets, Exclude []int64

	// Together holds rows of Positives that must all satisfy the rule for a query. It is laid out as Exclude is. Where
	// a query has no such rows, each of its pairs stands alone. Both slices may be nil.
	TogetherOffsets, Together []int64
}

// validate checks every index. The lengths of Queries and Positives must be multiples of Width.
func (p *Pairs) validate() error {
	q, pd := len(p.Queries)/p.Width, len(p.Positives)/p.Width
	if len(p.PairQuery) == 0 {
		return abi.Errorf(abi.BadMessage, "there are no pairs").At(abi.TensorPairQuery, -1)
	}
	if len(p.PairQuery) != len(p.PairPositive) {
		return abi.Errorf(abi.BadMessage, "%d entries; %s has %d", len(p.PairPositive), abi.TensorPairQuery, len(p.PairQuery)).At(abi.TensorPairPositive, -1)
	}
	if err := indices(abi.TensorPairQuery, p.PairQuery, int64(q)); err != nil {
		return err
	}
	if err := indices(abi.TensorPairPositive, p.PairPositive, int64(pd)); err != nil {
		return err
	}
	if i := slices.IndexFunc(p.Exclude, func(position int64) bool { return position > abi.MaxPosition }); i >= 0 {
		return abi.Errorf(abi.Limit, "position %d; the limit is %d", p.Exclude[i], abi.MaxPosition).At(abi.TensorExclude, i)
	}
	if err := ragged(abi.TensorExclude, p.ExcludeOffsets, p.Exclude, q, abi.MaxPosition+1); err != nil {
		return err
	}
	return ragged(abi.TensorTogether, p.TogetherOffsets, p.Together, q, int64(pd))
}

// indices checks that every value is at least 0 and below limit.
func indices(tensor string, values []int64, limit int64) error {
	for i, v := range values {
		if v < 0 || v >= limit {
			return abi.Errorf(abi.BadMessage, "%d is out of range; it goes from 0 to %d", v, limit-1).At(tensor, i)
		}
	}
	return nil
}

// ragged checks a ragged tensor: as many lists of indices as there are rows, each index at least 0 and below limit.
func ragged(tensor string, offsets, values []int64, rows int, limit int64) error {
	if offsets == nil && values == nil {
		return nil
	}
	if len(offsets) != rows+1 || offsets[0] != 0 || offsets[rows] != int64(len(values)) || !slices.IsSorted(offsets) {
		return abi.Errorf(abi.BadMessage, "must be %d values that ascend from 0 to the length of %s, %d", rows+1, tensor, len(values)).
			At(abi.OffsetsTensor(tensor), -1)
	}
	return indices(tensor, values, limit)
}

// list returns list i of a ragged tensor.
func list(offsets, values []int64, i int) []int64 {
	if offsets == nil {
		return nil
	}
	return values[offsets[i]:offsets[i+1]]
}
