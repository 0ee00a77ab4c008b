package job

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// An id that two documents have makes the negatives ambiguous, and a positive's may come back as a negative. Each shard is
// mined by itself, so who mines one for the first group of pairs puts a hash of each id, and who merges compares them all.
const hintIDs = "give each document an id of its own, and make the job again"

// hashesOfShard are the hashes of a shard's ids, ascending. A shard that has an id twice is refused.
func hashesOfShard(s Shard, documents *ids) ([]idHash, error) {
	all := documents.hashes()
	for i := 1; i < len(all); i++ {
		if h := all[i]; h == all[i-1] {
			rows := documents.rowsOf(h)
			return nil, &inputError{Refusal{s.Name, fmt.Sprintf("its rows %d and %d have the same id", rows[0], rows[1]), hintIDs, kindSameID}}
		}
	}
	return all, nil
}

// hashedID is the hash of an id, and the shard that has it.
type hashedID struct {
	hash  idHash
	shard int32
}

const (
	hashedIDSize = hashSize + 8 // bytes
	maxPasses    = 16
	maxReads     = 16_000 // of a shard's hashes, all passes together, but for the first
)

// checkIDs refuses a job of which two shards have the same id. So that it holds few hashes at a time, an eighth of the
// worker's memory, it goes through them in passes, each of which takes those in some range. Where that would be more than
// maxPasses, or take more than maxReads, it compares the hashes of fewer passes.
func (w *Worker) checkIDs(ctx context.Context) error {
	room := max(w.options.Memory.OrDefault().Unreserved()/8, hashedIDSize)
	passes := int(w.manifest.Documents()*hashedIDSize/room) + 1
	for pass := range min(passes, maxPasses, max(1, maxReads/len(w.manifest.Shards))) {
		seen, err := w.hashesOf(ctx, hashRange{pass, passes})
		if err != nil {
			return err
		}
		slices.SortFunc(seen, func(a, b hashedID) int {
			if a.hash != b.hash {
				return a.hash.compare(b.hash)
			}
			return cmp.Compare(a.shard, b.shard)
		})
		for i := 1; i < len(seen); i++ {
			if a, b := seen[i-1], seen[i]; a.hash == b.hash {
				return w.sameID(ctx, a.hash, int(a.shard), int(b.shard))
			}
		}
	}
	return nil
}

// hashesOf reads those hashes of all shards that are in a range.
func (w *Worker) hashesOf(ctx context.Context, r hashRange) (seen []hashedID, err error) {
	largest := slices.MaxFunc(w.manifest.Shards, func(a, b Shard) int { return cmp.Compare(a.Rows, b.Rows) }).Rows * hashSize
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, min(concurrentRequests, aheadBytes*r.passes/largest)))
	for shard := range w.manifest.Shards {
		group.Go(func() error {
			b, err := w.readHashes(ctx, shard, r)
			begin, end := r.of(b)
			mu.Lock()
			defer mu.Unlock()
			for i := begin; i < end; i++ {
				seen = append(seen, hashedID{parseHash(b[i*hashSize:]), int32(shard)})
			}
			return err
		})
	}
	return seen, group.Wait()
}

// sameID is the refusal of a job with an id that two shards have. It says which documents have it, where the shards are
// there.
func (w *Worker) sameID(ctx context.Context, h idHash, shards ...int) error {
	problem := "a document of "
	for i, number := range shards {
		s := w.manifest.Shards[number]
		if i > 0 {
			problem += " and one of "
		}
		problem += s.Name
		if row, ok := w.rowOf(ctx, s, h); ok {
			problem += fmt.Sprintf(" (row %d, position %d)", row, s.First+int64(row))
		}
	}
	return &inputError{Refusal{ManifestKey, problem + " have the same id", hintIDs, kindSameID}}
}

// rowOf looks a hash up in a shard.
func (w *Worker) rowOf(ctx context.Context, s Shard, h idHash) (row int, ok bool) {
	if w.loadProjection(ctx) != nil {
		return 0, false
	}
	file, err := w.fetchShard(ctx, s)
	if err != nil {
		return 0, false
	}
	defer func() { _ = file.remove() }() // the job is refused all the same, and Close removes the folder
	rows := file.ids.rowsOf(h)
	if len(rows) == 0 {
		return 0, false
	}
	return rows[0], true
}
