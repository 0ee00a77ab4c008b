package dataset

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"io"
	"slices"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// repeats finds ids that are given twice, in memory that does not grow with their number. It sorts their hashes, a run
// of hashesInMemory at a time; where there is more than one run, they go to a temporary file and are merged. Ids whose
// hashes are the same are then compared themselves.
type repeats struct {
	seed   maphash.Seed
	hashes []uint64 // of the run that is not full yet
	runs   *scratch // sorted runs of hashes
	ends   []int64  // of each run, in bytes
}

func newRepeats() *repeats { return &repeats{seed: maphash.MakeSeed()} }

func (r *repeats) add(id []byte) error {
	if r.hashes = append(r.hashes, maphash.Bytes(r.seed, id)); len(r.hashes) < hashesInMemory {
		return nil
	}
	slices.Sort(r.hashes)
	if r.runs == nil {
		var err error
		if r.runs, err = newScratch(); err != nil {
			return err
		}
	}
	b := make([]byte, 8)
	for _, h := range r.hashes {
		binary.LittleEndian.PutUint64(b, h)
		if err := r.runs.write(b); err != nil {
			return err
		}
	}
	r.ends, r.hashes = append(r.ends, r.runs.size), r.hashes[:0]
	return nil
}

func (r *repeats) close() error { return r.runs.close() }

// check fails at the first of the ids that was given before.
func (r *repeats) check(ids *StoredIDs) error {
	common, err := r.commonHashes()
	if err != nil || len(common) == 0 {
		return err
	}
	first := map[string]string{} // where ids with a common hash were given first
	row := 0
	_, err = ids.read(func(line int, id []byte) error {
		at := row
		row++
		if !common[maphash.Bytes(r.seed, id)] {
			return nil
		}
		if before, twice := first[string(id)]; twice {
			return errorAt(ids.name, line, at, "ids must differ", "id %s is given twice, first in %s", excerpt.Quote(id), before)
		}
		first[string(id)] = place(line, at)
		return nil
	})
	return err
}

// commonHashes are the hashes that more than one id has.
func (r *repeats) commonHashes() (map[uint64]bool, error) {
	merged, err := r.openRuns()
	if err != nil {
		return nil, err
	}
	common := map[uint64]bool{}
	count, last := 0, uint64(0)
	for ; len(merged) > 0; count++ {
		least := merged[0].hash
		if count > 0 && least == last {
			common[least] = true
		}
		last = least
		if following, ok := merged[0].next(); ok {
			merged[0].hash = following
			heap.Fix(&merged, 0)
		} else {
			heap.Pop(&merged)
		}
	}
	want := len(r.hashes)
	if len(r.ends) > 0 {
		want += int(r.ends[len(r.ends)-1] / 8)
	}
	if count != want {
		return nil, fmt.Errorf("%d of %d hashes came back from %s", count, want, r.runs.file.Name())
	}
	return common, nil
}

// openRuns gives all runs, those in the file and the one in memory, each at its first hash.
func (r *repeats) openRuns() (sortedRuns, error) {
	slices.Sort(r.hashes)
	nexts := []func() (uint64, bool){nextOf(r.hashes)}
	begin := int64(0)
	for _, end := range r.ends {
		from, err := r.runs.section(begin, end)
		if err != nil {
			return nil, err
		}
		nexts = append(nexts, func() (uint64, bool) {
			var b [8]byte
			_, err := io.ReadFull(from, b[:])
			return binary.LittleEndian.Uint64(b[:]), err == nil
		})
		begin = end
	}
	var runs sortedRuns
	for _, next := range nexts {
		if h, ok := next(); ok {
			runs = append(runs, sortedRun{h, next})
		}
	}
	heap.Init(&runs)
	return runs, nil
}

// nextOf returns a function that gives the hashes one by one.
func nextOf(hashes []uint64) func() (uint64, bool) {
	return func() (uint64, bool) {
		if len(hashes) == 0 {
			return 0, false
		}
		h := hashes[0]
		hashes = hashes[1:]
		return h, true
	}
}

// sortedRun is what is left of a run.
type sortedRun struct {
	hash uint64                // its first
	next func() (uint64, bool) // gives the one after it; false where there is none
}

// sortedRuns is a heap of runs, by their first hashes.
type sortedRuns []sortedRun

func (s sortedRuns) Len() int           { return len(s) }
func (s sortedRuns) Less(i, j int) bool { return s[i].hash < s[j].hash }
func (s sortedRuns) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *sortedRuns) Push(x any)        { *s = append(*s, x.(sortedRun)) }
func (s *sortedRuns) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}
