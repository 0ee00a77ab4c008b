package mine

import (
	"sort"

	"github.com/quarry-hn/quarry/plugin/abi"
)

// Range is the document positions from First to End-1.
type Range struct{ First, End int64 }

// ranges is a set of positions: ranges in ascending order, no two of which touch.
type ranges []Range

// add puts the positions from first to end-1 into the set. A position that is in the set already is an error, and then
// nothing changes.
func (r *ranges) add(first, end int64) error {
	if first < 0 || end < first {
		return abi.Errorf(abi.BadMessage, "positions %d to %d are out of range", first, end-1)
	}
	if end > abi.MaxPosition+1 {
		return abi.Errorf(abi.Limit, "positions %d to %d: the limit is %d", first, end-1, abi.MaxPosition)
	}
	if first == end {
		return nil
	}
	set := *r
	i := sort.Search(len(set), func(i int) bool { return set[i].End > first }) // the first range that could overlap
	if i < len(set) && set[i].First < end {
		return abi.Errorf(abi.Overlap, "positions %d to %d: some of them, in %d to %d, were there already", first, end-1, set[i].First, set[i].End-1)
	}
	touchesLeft, touchesRight := i > 0 && set[i-1].End == first, i < len(set) && set[i].First == end
	switch {
	case touchesLeft && touchesRight:
		set[i-1].End = set[i].End
		set = append(set[:i], set[i+1:]...)
	case touchesLeft:
		set[i-1].End = end
	case touchesRight:
		set[i].First = first
	default:
		set = append(set, Range{})
		copy(set[i+1:], set[i:])
		set[i] = Range{first, end}
	}
	*r = set
	return nil
}

// contains reports whether a position is in the set.
func (r ranges) contains(position int64) bool {
	i := sort.Search(len(r), func(i int) bool { return r[i].End > position })
	return i < len(r) && r[i].First <= position
}
