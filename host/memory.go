package host

import (
	"errors"
	"fmt"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

// ErrMemory is returned, wrapped, where the memory given is too little; the message says how much would do.
var ErrMemory = errors.New("too little memory")

// DefaultMemory is half of the machine's memory, or of the container's, and at most 4 GiB.
func DefaultMemory() int64 {
	const most = 4 << 30
	all, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil || all/2 > most {
		return most
	}
	return int64(all / 2)
}

// What the process takes beside what is planned: Go's runtime, the code of this program and of the compiled module, ids, buffers. And of an instance,
// beside what its session counts. Both measured, with room to spare.
const (
	ProcessMemory  = 72 << 20
	instanceMemory = 24 << 20
)

func (o RunOptions) memory() int64 {
	if o.Memory > 0 {
		return o.Memory
	}
	return DefaultMemory()
}

func tooLittle(budget, need int64) error {
	return fmt.Errorf("%w: %d MiB were given; this takes at least %d MiB", ErrMemory, budget>>20, need>>20+1)
}

// planTransform chooses how many instances project a folder's vectors.
func planTransform(o RunOptions, p *Projection) (memoryPlan, error) {
	guest, host := groupMemory(p, &pairSet{}, 1, 0)
	for instances := o.threads(); ; instances-- {
		need := max(2*int64(instances)*guest, 2*(ProcessMemory+host+transformBytes))
		if need <= o.memory() {
			return memoryPlan{instances: instances, instanceLimit: min(o.memory()/2/int64(instances), abi.MaxMemory)}, nil
		}
		if instances == 1 {
			return memoryPlan{}, tooLittle(o.memory(), need)
		}
	}
}

// memoryPlan is how a job uses its memory: half of it goes to the instances.
type memoryPlan struct {
	instances     int
	instanceLimit int64
	groupPairs    int // pairs that go through the documents together
}

// planMemory chooses as many instances as there are threads, or as leave room for a thousand pairs, and the largest groups of pairs that fit.
func planMemory(o RunOptions, p *Projection, set *pairSet, top int) (memoryPlan, error) {
	budget := o.memory()
	all := len(set.pairs)
	result := int64(all) * int64(400+120*top) // ids and numbers of the result, and its parts
	need := func(pairs, instances int) int64 {
		guest, host := groupMemory(p, set, pairs, top)
		return max(2*int64(instances)*min(guest, abi.MaxMemory), 2*(ProcessMemory+result+host))
	}
	least, instances := min(all, 1000), o.threads()
	for instances > 1 && need(least, instances) > budget {
		instances--
	}
	if need(least, instances) > budget {
		least = 1
	}
	if need(least, instances) > budget {
		return memoryPlan{}, tooLittle(budget, need(1, 1))
	}
	plan := memoryPlan{instances: instances, instanceLimit: min(budget/2/int64(instances), abi.MaxMemory)}
	for groups := 1; ; groups += 1 + groups/8 {
		plan.groupPairs = max(1, (all+groups-1)/groups)
		guest, _ := groupMemory(p, set, plan.groupPairs, top)
		if plan.groupPairs <= least || guest <= abi.MaxMemory && need(plan.groupPairs, instances) <= budget {
			return plan, nil
		}
	}
}

// GroupSize is how large a group of pairs is, for memory.
type GroupSize struct {
	Pairs     int `json:"pairs"`
	Positives int `json:"positives"` // distinct ones, or those that must all satisfy the rule
	Excluded  int `json:"excluded"`  // documents that are excluded, of all queries, and positives that belong together
}

// planMiner chooses how many instances mine groups of up to that size.
func planMiner(o RunOptions, p *Projection, largest GroupSize, top int) (memoryPlan, error) {
	guest, host := largest.memory(p, top)
	for instances := o.threads(); ; instances-- {
		need := max(2*int64(instances)*min(guest, abi.MaxMemory), 2*(ProcessMemory+host))
		if need <= o.memory() && guest <= abi.MaxMemory {
			return memoryPlan{instances: instances, instanceLimit: min(o.memory()/2/int64(instances), abi.MaxMemory), groupPairs: largest.Pairs}, nil
		}
		if instances == 1 {
			return memoryPlan{}, tooLittle(o.memory(), max(need, 2*guest))
		}
	}
}

// groupMemory is what the largest group of that many pairs takes.
func groupMemory(p *Projection, set *pairSet, pairs, top int) (guest, host int64) {
	size := GroupSize{Pairs: pairs, Positives: pairs}
	for first := 0; first < len(set.pairs); first += pairs {
		of := 0
		for _, pair := range set.pairs[first:min(first+pairs, len(set.pairs))] {
			of += len(set.exclude[pair.query]) + len(set.together[pair.query])
		}
		size.Excluded = max(size.Excluded, of)
	}
	if set.together != nil {
		size.Positives = max(pairs, size.Excluded)
	}
	return size.memory(p, top)
}

// memory is what an instance's limit has to be for a group, and what the host holds for it: the session counts its
// projection, the begin message and what it makes of them, and takes no more than half of the limit.
func (s GroupSize) memory(p *Projection, top int) (guest, host int64) {
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
