package job

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// Parts are read some at a time, and no more than take this memory, as far as those that came tell.
const (
	aheadParts = 16
	aheadBytes = 64 << 20
)

const removePart = "remove it, and sweep the job: the shard is mined again"

var errCancelled = errors.New("the job was cancelled meanwhile")

// commit merges all parts and writes the result: the negatives, then their manifest. Both are the same bytes whoever writes them; it reports whether
// this worker did.
func (w *Worker) commit(ctx context.Context) (bool, error) {
	f, err := os.Create(filepath.Join(w.dir, negativesKey))
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }() // it is the worker's own, and goes with its folder
	limited, cancel := w.limit(ctx)
	defer cancel()
	result, err := w.merge(limited, f)
	if late(limited, ctx, err) {
		return false, fmt.Errorf("merge of %d parts: %w\n  hint: give workers more time, or run quarry job sweep where there is no deadline", w.manifest.Parts(), ErrDeadline)
	}
	if err != nil {
		return false, err
	}
	var manifest bytes.Buffer
	if err := result.Write(&manifest); err != nil {
		return false, err
	}
	if err := w.current(ctx); err != nil {
		return false, err
	}
	if _, err := w.putResult(ctx, negativesKey, f); err != nil {
		return false, err
	}
	if err := w.current(ctx); err != nil { // they may be many, and took their time
		return false, err
	}
	return w.putResult(ctx, resultKey, bytes.NewReader(manifest.Bytes()))
}

// current fails where the job was cancelled, or is another one by now.
func (w *Worker) current(ctx context.Context) error {
	if there, err := w.has(ctx, w.out, cancelledKey); err != nil {
		return err
	} else if there {
		return errCancelled
	}
	if now, err := w.out.Head(ctx, ManifestKey); err != nil && !absent(err) {
		return err
	} else if err != nil || now.ETag != w.manifestETag {
		return fmt.Errorf("%s is not the job that was merged any more: it was made anew meanwhile", w.out.URL())
	}
	return nil
}

// putResult puts an object that every worker would put alike, and reports whether it was this one.
func (w *Worker) putResult(ctx context.Context, key string, body io.ReadSeeker) (bool, error) {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	err := w.out.PutNew(ctx, key, body)
	if !errors.Is(err, objstore.ErrExists) {
		return err == nil, err
	}
	own, there := sha256.New(), sha256.New()
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	if _, err := io.Copy(own, body); err != nil {
		return false, err
	}
	if _, err := objstore.Fetch(ctx, w.out, key, there); err != nil {
		return false, err
	}
	if !bytes.Equal(own.Sum(nil), there.Sum(nil)) {
		return false, fmt.Errorf("%w: %s/%s is there with other bytes, as a worker leaves it of a job that was replaced\n  hint: remove it, and sweep the job",
			ErrConflict, w.out.URL(), key)
	}
	return false, nil
}

// merge writes the negatives, group by group of pairs, and returns their manifest. It holds one group's merged part and a few that are read ahead,
// however many shards there are.
func (w *Worker) merge(ctx context.Context, to io.Writer) (*host.Manifest, error) {
	result := w.manifest.Result
	sum := sha256.New()
	buffer := bufio.NewWriterSize(io.MultiWriter(to, sum), 1<<18)
	lines := host.NewPairEncoder(buffer)
	for g := range w.manifest.Pairs {
		pairs, err := w.pairs(ctx, g, false) // the negatives may take all the disk there is
		if err != nil {
			return nil, err
		}
		part, names, err := w.mergeGroup(ctx, g)
		if err != nil {
			return nil, err
		}
		result.Tallies.ZeroDocuments = part.Skipped // of all documents, in each group
		if len(part.Found) != len(pairs.pairQuery) {
			return nil, fmt.Errorf("%w: parts of %d pairs; group %d has %d", ErrConflict, len(part.Found), g, len(pairs.pairQuery))
		}
		for i := range part.Found {
			query, positive := pairs.pair(i)
			pair := host.NewPair(part, i, query, positive, func(position int64) string { return names[position] })
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

// mergeGroup merges the parts of a group of pairs, and returns the ids of the documents in it.
func (w *Worker) mergeGroup(ctx context.Context, group int) (*mine.Part, map[int64]string, error) {
	var merged *mine.Part
	names := map[int64]string{}
	for object, err := range w.eachPart(ctx, group) {
		if err != nil {
			return nil, nil, err
		}
		if merged == nil {
			merged = object.Part
		} else if merged, err = mine.Merge(merged, object.Part); err != nil {
			return nil, nil, fmt.Errorf("merge the parts: %w", err)
		}
		for i, position := range object.positions {
			names[position] = object.ids.at(i)
		}
		if len(names) > 2*len(merged.Found)*merged.Top {
			names = namesOf(merged, names)
		}
	}
	return merged, namesOf(merged, names), nil
}

// namesOf keeps the names of those documents that a part still has.
func namesOf(part *mine.Part, names map[int64]string) map[int64]string {
	kept := map[int64]string{}
	for _, found := range part.Found {
		for _, n := range found {
			kept[n.Position] = names[n.Position]
		}
	}
	return kept
}

// eachPart reads the parts of a group in the order of their shards, some ahead.
func (w *Worker) eachPart(ctx context.Context, group int) func(yield func(*partObject, error) bool) {
	type read struct {
		object *partObject
		err    error
	}
	return func(yield func(*partObject, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		shards := len(w.manifest.Shards)
		ahead, largest := 1, 1
		var queue []chan read
		defer func() {
			cancel()
			for _, to := range queue { // reads that go on would meet the worker's next manifest
				<-to
			}
		}()
		next := 0
		for done := range shards {
			for ; next < shards && next < done+ahead; next++ {
				to := make(chan read, 1)
				queue = append(queue, to)
				go func(shard int) {
					object, err := w.part(ctx, shard, group)
					to <- read{object, err}
				}(next)
			}
			r := <-queue[0]
			queue = slices.Delete(queue, 0, 1)
			if r.err == nil {
				largest = max(largest, r.object.size)
				ahead = max(1, min(aheadParts, aheadBytes/largest))
			}
			if !yield(r.object, r.err) || r.err != nil {
				return
			}
		}
	}
}

// part reads a part that is there.
func (w *Worker) part(ctx context.Context, shard, group int) (*partObject, error) {
	key := w.manifest.partKey(shard, group)
	b, _, err := objstore.ReadAll(ctx, w.out, key, 1<<31)
	if err != nil {
		return nil, err
	}
	p, err := w.manifest.parsePart(b, shard, group)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: not the part that was put: %w\n  hint: %s", w.out.URL(), key, err, removePart)
	}
	p.size = len(b)
	return p, nil
}
