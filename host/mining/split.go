package mining

import (
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

// instanceMemory is what an instance takes beside what its session counts, in bytes. It was measured, with room to spare.
const instanceMemory = 24 << 20

// memorySplit is how work uses its memory: half of its budget goes to plugin instances.
type memorySplit struct {
	instances     int
	instanceLimit int64 // bytes that each may use
	groupPairs    int   // pairs that go through the documents together
}

// newSplit gives an equal share of the instances' half to each.
func newSplit(budget option.Budget, instances, groupPairs int) memorySplit {
	return memorySplit{instances, min(budget.Instances()/int64(instances), abi.MaxMemory), groupPairs}
}

// splitForTransform chooses how many instances project a dataset's vectors.
func splitForTransform(c Compute, p *projection.Projection) (memorySplit, error) {
	guest, host := groupMemory(p, &selection{}, 1, 0)
	budget := c.Memory.OrDefault()
	for instances := c.threads(); ; instances-- {
		need := budget.Need(int64(instances)*guest, host+transformBytes)
		if need <= budget.Bytes {
			return newSplit(budget, instances, 0), nil
		}
		if instances == 1 {
			return memorySplit{}, budget.TooLittle(need)
		}
	}
}

// splitForPairs chooses as many instances as there are threads, or as leave room for a thousand pairs, and the largest groups of pairs that
// fit.
func splitForPairs(c Compute, p *projection.Projection, s *selection, top int) (memorySplit, error) {
	budget := c.Memory.OrDefault()
	all := len(s.pairs)
	result := int64(all) * int64(400+120*top) // ids and numbers of the result, and its parts
	need := func(pairs, instances int) int64 {
		guest, host := groupMemory(p, s, pairs, top)
		return budget.Need(int64(instances)*min(guest, abi.MaxMemory), result+host)
	}
	least, instances := min(all, 1000), c.threads()
	for instances > 1 && need(least, instances) > budget.Bytes {
		instances--
	}
	if need(least, instances) > budget.Bytes {
		least = 1
	}
	if need(least, instances) > budget.Bytes {
		return memorySplit{}, budget.TooLittle(need(1, 1))
	}
	for groups := 1; ; groups += 1 + groups/8 {
		pairs := max(1, (all+groups-1)/groups)
		guest, _ := groupMemory(p, s, pairs, top)
		if pairs <= least || guest <= abi.MaxMemory && need(pairs, instances) <= budget.Bytes {
			return newSplit(budget, instances, pairs), nil
		}
	}
}

// splitForGroups chooses how many instances mine groups of up to that size.
func splitForGroups(c Compute, p *projection.Projection, largest GroupSize, top int) (memorySplit, error) {
	guest, host := largest.memory(p, top)
	budget := c.Memory.OrDefault()
	for instances := c.threads(); ; instances-- {
		need := budget.Need(int64(instances)*min(guest, abi.MaxMemory), host)
		if need <= budget.Bytes && guest <= abi.MaxMemory {
			return newSplit(budget, instances, largest.Pairs), nil
		}
		if instances == 1 {
			return memorySplit{}, budget.TooLittle(max(need, 2*guest))
		}
	}
}

// groupMemory is what the largest group of so many pairs takes, of an instance and of this process.
func groupMemory(p *projection.Projection, s *selection, pairs, top int) (guest, host int64) {
	size := GroupSize{Pairs: pairs, Positives: pairs}
	for first := 0; first < len(s.pairs); first += pairs {
		of := 0
		for _, pair := range s.pairs[first:min(first+pairs, len(s.pairs))] {
			of += len(s.exclude[pair.query]) + len(s.together[pair.query])
		}
		size.Excluded = max(size.Excluded, of)
	}
	if s.together != nil {
		size.Positives = max(pairs, size.Excluded)
	}
	return size.memory(p, top)
}

// memory is what an instance's limit has to be for a group, and what the host holds for it: the session counts its
// projection, the begin message and what it makes of them, and takes no more than half of the limit.
func (s GroupSize) memory(p *projection.Projection, top int) (guest, host int64) {
	n, k, positives, excluded := int64(s.Pairs), int64(p.Width()), int64(s.Positives), int64(s.Excluded)
	message := 4*k*(n+positives) + 8*(4*n+excluded)
	projection := int64(4*p.Columns() + 8*p.Width())
	if p.Components != nil {
		projection += int64(4 * kernel.PackedLen(p.Width(), p.Columns()))
	}
	held := 4*k*(4*n+positives) + 8*excluded + 112*n + 16*positives + n*(128+24*int64(top))
	part := n * int64(64+48*top)
	documents := int64(256) * 10 * int64(p.Columns()+p.Width()) // of a push, with its message
	return 2*(projection+max(int64(len(p.File)), message)+held+part+documents) + instanceMemory, message + part + int64(len(p.File))
}
