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

	"github.com/quarry-hn/quarry/host/objstore"
)

// The hashes of a shard's ids are an object among the results, in ascending order, so that a range of them can be read.
const hashSize = 16 // bytes: in 2^40 ids two different ones have the same hash with a chance of 2^-49

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

// hashRange is part pass of passes equal parts of all hashes.
type hashRange struct{ pass, passes int }

// of returns where a range begins and ends among hashes that ascend.
func (r hashRange) of(b []byte) (begin, end int) {
	first := func(pass int) int {
		return sort.Search(len(b)/hashSize, func(i int) bool { return (int(b[i*hashSize])<<8|int(b[i*hashSize+1]))*r.passes >= pass<<16 })
	}
	return first(r.pass), first(r.pass + 1)
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
