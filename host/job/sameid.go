package job

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/quarry-hn/quarry/host/objstore"
)

// An id that two documents have makes the negatives ambiguous, and a positive's may come back as a negative. Each shard is
// mined by itself, so who mines one for the first group of pairs puts a hash of each id, and who merges compares them all.
const hashSize = 16 // bytes: in 2^40 ids two different ones have the same hash with a chance of 2^-49

const hintIDs = "give each document an id of its own, and make the job again"

// idHash is the first bytes of an id's SHA-256, as two numbers of which the first counts for more.
type idHash struct{ high, low uint64 }

func parseHash(b []byte) idHash {
	return idHash{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (h idHash) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, h.high), h.low)
}

func (h idHash) compare(o idHash) int {
	if h.high != o.high {
		return cmp.Compare(h.high, o.high)
	}
	return cmp.Compare(h.low, o.low)
}

// hash is the hash of id i.
func (s *ids) hash(i int) idHash {
	sum := sha256.Sum256(s.blob[s.offsets[i]:s.offsets[i+1]])
	return parseHash(sum[:])
}

// hashes are the hashes of all ids, ascending.
func (s *ids) hashes() []idHash {
	all := make([]idHash, s.len())
	for i := range all {
		all[i] = s.hash(i)
	}
	slices.SortFunc(all, idHash.compare)
	return all
}

// rowsOf returns the rows of the ids that have a hash.
func (s *ids) rowsOf(h idHash) (rows []int) {
	for i := range s.len() {
		if s.hash(i) == h {
			rows = append(rows, i)
		}
	}
	return rows
}

// hashesKey is the key of the hashes of a shard's ids: rows times hashSize bytes, ascending.
func (m *Manifest) hashesKey(shard int) string {
	return fmt.Sprintf("%s%.16s/%07d-%.16s.bin", idsPrefix, m.manifestSHA, shard, m.Shards[shard].SHA256)
}

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

// putHashes puts the hashes of a shard's ids.
func (w *Worker) putHashes(ctx context.Context, shard int, hashes []idHash) error {
	b := make([]byte, 0, len(hashes)*hashSize)
	for _, h := range hashes {
		b = h.append(b)
	}
	err := w.out.PutNew(ctx, w.manifest.hashesKey(shard), bytes.NewReader(b))
	if errors.Is(err, objstore.ErrExists) { // the shard decides the bytes
		return nil
	}
	return err
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

// hashRange is part pass of passes equal parts of all hashes.
type hashRange struct{ pass, passes int }

// of returns where a range begins and ends among hashes that ascend.
func (r hashRange) of(b []byte) (begin, end int) {
	first := func(pass int) int {
		return sort.Search(len(b)/hashSize, func(i int) bool { return (int(b[i*hashSize])<<8|int(b[i*hashSize+1]))*r.passes >= pass<<16 })
	}
	return first(r.pass), first(r.pass + 1)
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

// readHashes reads hashes of a shard's ids, ascending, among them all those in a range. There are none where a worker of
// an earlier version mined the shard.
func (w *Worker) readHashes(ctx context.Context, shard int, r hashRange) (b []byte, err error) {
	key, n := w.manifest.hashesKey(shard), w.manifest.Shards[shard].Rows
	if b, ok := w.guessHashes(ctx, key, n, r); ok {
		return b, nil
	}
	b, _, err = read(ctx, w.out, key, int64(n*hashSize))
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, nil
	}
	if err == nil && len(b) != n*hashSize || errors.Is(err, objstore.ErrTooLarge) {
		err = fmt.Errorf("%s/%s: it has not the %d bytes of its shard's hashes\n  hint: remove it; the shard's ids are then not compared with others'", w.out.URL(), key, n*hashSize)
	}
	return b, err
}

// guessHashes reads only so much of n hashes as a range takes, and reports whether it did. Hashes are spread evenly, so
// where a range begins is known but for some sqrt(n).
func (w *Worker) guessHashes(ctx context.Context, key string, n int, r hashRange) (b []byte, ok bool) {
	slack := 16 + 4*int(math.Sqrt(float64(n)))
	begin, end := max(0, n*r.pass/r.passes-slack), min(n, n*(r.pass+1)/r.passes+slack)
	if begin == 0 && end == n {
		return nil, false
	}
	body, object, err := w.out.Get(ctx, key, int64(begin*hashSize), "")
	if err != nil {
		return nil, false
	}
	defer body.Close()
	b = make([]byte, (end-begin)*hashSize)
	if _, err := io.ReadFull(body, b); err != nil || object.Size != int64(n*hashSize) {
		return nil, false
	}
	first, last := r.of(b)
	return b, (begin == 0 || first > 0) && (end == n || last < end-begin)
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
