package job

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// A merge reads some parts ahead: at most aheadParts, and at most as many as take aheadBytes, where all are as large as
// the largest so far.
const (
	aheadParts = 16
	aheadBytes = 64 << 20
)

const maxPart = 1 << 31 // bytes of a part's object

const hintRemovePart = "remove it, and sweep the job: the shard is mined again"

// merge writes the negatives, group after group, and returns their manifest. However many shards there are, it holds
// the merged part of one group and a few parts that are read ahead.
func (w *Worker) merge(ctx context.Context, to io.Writer) (*negatives.Manifest, error) {
	if err := w.checkIDs(ctx); err != nil {
		return nil, err
	}
	result := w.manifest.Result
	sum := sha256.New()
	buffer := bufio.NewWriterSize(io.MultiWriter(to, sum), 1<<18)
	lines := negatives.NewPairEncoder(buffer)
	for number := range w.manifest.Groups {
		group, err := w.loadGroup(ctx, number, false) // the negatives may need all the disk there is
		if err != nil {
			return nil, err
		}
		part, documents, err := w.mergeGroup(ctx, number)
		if err != nil {
			return nil, err
		}
		result.Tallies.ZeroDocuments = part.Skipped // of all documents: each group has the same number
		if len(part.Found) != len(group.pairQueries) {
			return nil, fmt.Errorf("%w: parts of %d pairs; group %d has %d", ErrConflict, len(part.Found), number, len(group.pairQueries))
		}
		for i := range part.Found {
			query, positive := group.pair(i)
			pair := negatives.OfPart(part, i, query, positive, func(position int64) string { return documents[position] })
			result.Tallies.Add(&pair)
			if err := lines.Encode(&pair); err != nil {
				return nil, err
			}
		}
	}
	if err := buffer.Flush(); err != nil {
		return nil, err
	}
	result.Negatives = hex.EncodeToString(sum.Sum(nil))
	return &result, nil
}

// mergeGroup merges the parts of a group. It returns the ids, by position, of the documents that the merged part names.
func (w *Worker) mergeGroup(ctx context.Context, group int) (merged *mine.Part, documents map[int64]string, err error) {
	documents = map[int64]string{}
	for part, err := range w.eachPart(ctx, group) {
		if err != nil {
			return nil, nil, err
		}
		if merged == nil {
			merged = part.Part
		} else if merged, err = mine.Merge(merged, part.Part); err != nil {
			return nil, nil, fmt.Errorf("merge the parts: %w", err)
		}
		for i, position := range part.positions {
			documents[position] = part.ids.at(i)
		}
		if len(documents) > 2*len(merged.Found)*merged.Top {
			documents = idsOfPart(merged, documents)
		}
	}
	return merged, idsOfPart(merged, documents), nil
}

// idsOfPart returns the ids of those documents that a part names.
func idsOfPart(part *mine.Part, documents map[int64]string) map[int64]string {
	kept := map[int64]string{}
	for _, found := range part.Found {
		for _, n := range found {
			kept[n.Position] = documents[n.Position]
		}
	}
	return kept
}

// partRead is a part that is read by another goroutine.
type partRead struct {
	part *partObject
	err  error
}

// eachPart gives the parts of a group in the order of their shards, and reads some ahead. The first is read alone,
// since only a part that has come tells how large parts are.
func (w *Worker) eachPart(ctx context.Context, group int) iter.Seq2[*partObject, error] {
	return func(yield func(*partObject, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		shards := len(w.manifest.Shards)
		ahead, largest := 1, 1
		var reads []chan partRead // that have begun, in order
		defer func() {
			cancel()
			for _, read := range reads { // one that went on would meet the worker's next manifest
				<-read
			}
		}()
		next := 0
		for shard := range shards {
			for ; next < shards && next < shard+ahead; next++ {
				reads = append(reads, w.startRead(ctx, next, group))
			}
			read := <-reads[0]
			reads = slices.Delete(reads, 0, 1)
			if read.err == nil {
				largest = max(largest, read.part.size)
				ahead = max(1, min(aheadParts, aheadBytes/largest))
			}
			if !yield(read.part, read.err) || read.err != nil {
				return
			}
		}
	}
}

// startRead reads a part in a goroutine of its own.
func (w *Worker) startRead(ctx context.Context, shard, group int) chan partRead {
	done := make(chan partRead, 1)
	go func() {
		part, err := w.readPart(ctx, shard, group)
		done <- partRead{part, err}
	}()
	return done
}

// readPart reads a part that is there.
func (w *Worker) readPart(ctx context.Context, shard, group int) (*partObject, error) {
	key := w.manifest.partKey(shard, group)
	b, _, err := objstore.ReadAll(ctx, w.out, key, maxPart)
	if err != nil {
		return nil, err
	}
	p, err := w.manifest.parsePart(b, shard, group)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: not the part that was put: %w\n  hint: %s", w.out.URL(), key, excerpt.Error(err), hintRemovePart)
	}
	return p, nil
}
