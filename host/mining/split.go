package mining

import (
	"fmt"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
	"github.com/quarry-hn/quarry/plugin/session"
)

// instanceMemory is what an instance takes beside what its session counts, in bytes. It was measured, with room to spare. It is a variable so
// that tests can leave sessions no room to spare.
var instanceMemory int64 = 24 << 20

// memorySplit is how work uses its memory: half of its budget goes to plugin instances.
type memorySplit struct {
	instances     int
	instanceLimit int64 // bytes that each may use
	groupPairs    int   // pairs that go through the documents together
	blockRows     int   // that go to an instance in one call at most, where the caller does not say
}

// How many rows go to an instance in one call at most, where the caller does not say. A plan is made for few; many, which are what the scan
// takes for a block, go where they fit as well.
const (
	fewRows  = 256
	manyRows = 512
)

// newSplit gives an equal share of the instances' half to each. manyFit says whether there is room for many rows in a call.
func newSplit(budget option.Budget, instances, groupPairs int, manyFit bool) memorySplit {
	split := memorySplit{instances, min(budget.Instances()/int64(instances), abi.MaxMemory), groupPairs, fewRows}
	if manyFit {
		split.blockRows = manyRows
	}
	return split
}

// withManyRows is the same work with many rows in a call.
func (c Compute) withManyRows() Compute {
	c.BlockRows = max(c.BlockRows, manyRows)
	return c
}

// need is what a piece of work takes, in bytes.
type need struct {
	instance int64 // each plugin instance
	process  int64 // this process, beside what its budget reserves
}

// fits reports whether a budget has room for so many instances and this process. No instance may have more than abi.MaxMemory.
func (n need) fits(b option.Budget, instances int) bool {
	return n.instance <= abi.MaxMemory && b.Need(int64(instances)*n.instance, n.process) <= b.Bytes
}

// tooLittle is the error of a budget that has no room for one instance and this process.
func (n need) tooLittle(b option.Budget) error {
	if n.instance > abi.MaxMemory {
		return fmt.Errorf("%w: an instance of the plugin would take %d MiB, and has at most %d MiB\n  hint: fit fewer components, or fewer models",
			option.ErrOption, option.MiB(n.instance), abi.MaxMemory>>20)
	}
	return b.TooLittle(b.Need(n.instance, n.process))
}

// projectionSize is how large a projection is, for planning memory.
type projectionSize struct {
	file   int64 // bytes
	models int
	session.ProjectionShape
}

func sizeOfProjection(p *projection.Projection) projectionSize {
	return projectionSize{int64(len(p.File)), len(p.Models), session.ShapeOfProjection(p.Projection)}
}

// sizesToBe are the least and the largest that the projection may be which a fit gives.
func sizesToBe(data *dataset.Dataset, o projection.FitOptions) (least, most projectionSize, err error) {
	s, err := projection.SizeToBe(data, o)
	if err != nil {
		return least, most, err
	}
	size := func(components int) projectionSize {
		p := projectionSize{models: s.Models, ProjectionShape: session.ProjectionShape{Columns: s.Columns, Components: components, PCA: !o.NoPCA}}
		if p.PCA {
			p.file = 4*int64(s.Columns)*int64(1+components) + 8*int64(components)
		}
		return p
	}
	least, most = size(s.Least), size(s.Most)
	most.file += session.Shape{Models: s.Models}.HeaderRoom() // for its header
	return least, most, nil
}

// shape is how large the calls are that project rows and mine documents for a group: the session says what they take.
func (c Compute) shape(p projectionSize, size GroupSize, top int, counts bool) session.Shape {
	return session.Shape{
		File: p.file, Models: p.models, Projection: p.ProjectionShape,
		Pairs: session.PairsShape{Width: p.Components, Queries: size.Pairs, Positives: size.Positives, Pairs: size.Pairs, Excluded: size.Excluded,
			Top: top, Counts: counts},
		// Vectors may be float64, and a caller may send more rows in a call.
		Block: session.BlockShape{Rows: max(c.BlockRows, fewRows), Raw: safetensors.F64.Size() * p.Columns},
	}
}

// needOfTransform is what projecting rows takes.
func (c Compute) needOfTransform(p projectionSize) need {
	shape := c.shape(p, GroupSize{}, 0, false)
	return need{shape.MemoryLimit(abi.OpLoadProjection, abi.OpTransform) + instanceMemory, p.file + transformBytes}
}

// needOfGroup is what projecting the pairs of a group, and mining documents for it, takes. This process holds the group, its part, and the
// projection's file.
func (c Compute) needOfGroup(p projectionSize, size GroupSize, top int, counts bool) need {
	shape := c.shape(p, size, top, counts)
	// The second time, pairs are projected and begin while the instance still holds the group before.
	group := []abi.Op{abi.OpTransform, abi.OpBegin, abi.OpPush, abi.OpFinish}
	limit := shape.MemoryLimit(slices.Concat([]abi.Op{abi.OpLoadProjection}, group, group)...)
	// size.Excluded counts the positives that must all satisfy the rule too, for which a message has offsets of their own. Twice, as the limit is.
	limit += 2 * 8 * int64(size.Pairs+1)
	return need{limit + instanceMemory, shape.Pairs.Message() + 2*shape.Pairs.Finish() + p.file}
}

// splitForGroups chooses how many instances mine groups of up to that size.
func splitForGroups(c Compute, p projectionSize, largest GroupSize, top int, counts bool) (memorySplit, error) {
	return c.splitFor(func(c Compute) need { return c.needOfGroup(p, largest, top, counts) }, largest.Pairs)
}

// splitFor chooses as many instances as there are threads, or as fit.
func (c Compute) splitFor(needOf func(Compute) need, groupPairs int) (memorySplit, error) {
	budget, least := c.Memory.OrDefault(), needOf(c)
	for instances := option.Threads(c.Threads); ; instances-- {
		if least.fits(budget, instances) {
			return newSplit(budget, instances, groupPairs, needOf(c.withManyRows()).fits(budget, instances)), nil
		}
		if instances == 1 {
			return memorySplit{}, least.tooLittle(budget)
		}
	}
}

// splitForPairs chooses as many instances as there are threads, or as leave room for a thousand pairs, and the largest groups of pairs that
// fit.
func splitForPairs(c Compute, p projectionSize, s *selection, top int, counts bool) (memorySplit, error) {
	budget := c.Memory.OrDefault()
	all := len(s.pairs)
	result := int64(all) * int64(400+120*top) // ids and numbers of the result, and its parts
	needFor := func(c Compute, pairs int) need {
		n := c.needOfGroup(p, s.largestGroup(pairs), top, counts)
		n.process += result
		return n
	}
	fits := func(pairs, instances int) bool { return needFor(c, pairs).fits(budget, instances) }
	least, instances := min(all, 1000), option.Threads(c.Threads)
	for least > 1 && needFor(c, least).instance > abi.MaxMemory { // fewer instances would not help
		least /= 2
	}
	for instances > 1 && !fits(least, instances) {
		instances--
	}
	if !fits(least, instances) {
		least = 1
	}
	if !fits(least, instances) {
		return memorySplit{}, needFor(c, 1).tooLittle(budget)
	}
	for groups := 1; ; groups += 1 + groups/8 {
		pairs := max(1, (all+groups-1)/groups)
		if pairs <= least || fits(pairs, instances) {
			return newSplit(budget, instances, pairs, needFor(c.withManyRows(), pairs).fits(budget, instances)), nil
		}
	}
}

// largestGroup is how large groups of so many pairs are at most.
func (s *selection) largestGroup(pairs int) GroupSize {
	size := GroupSize{Pairs: pairs, Positives: pairs}
	for first := 0; first < len(s.pairs); first += pairs {
		excluded := 0
		for _, pair := range s.pairs[first:min(first+pairs, len(s.pairs))] {
			excluded += len(s.exclude[pair.query]) + len(s.together[pair.query])
		}
		size.Excluded = max(size.Excluded, excluded)
	}
	if s.together != nil {
		size.Positives = max(pairs, size.Excluded)
	}
	return size
}
