package job

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sort"

	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// An id that two documents have makes the negatives ambiguous, and a positive's may come back as a negative. Each shard is
// mined by itself, so a shard's part for the first group of pairs carries a hash of each id, and whoever merges compares
// them all.
const (
	hashesTensor = "id_hashes" // U8 [rows, hashSize], in the order of their bytes
	hashSize     = 16          // bytes: in 2^40 ids two have the same hash with a chance of 2^-49
)

const hintIDs = "give each document an id of its own, and make the job again"

// idHash is the first bytes of an id's SHA-256.
type idHash [hashSize]byte

// hash is the hash of id i.
func (s *ids) hash(i int) idHash {
	sum := sha256.Sum256(s.blob[s.offsets[i]:s.offsets[i+1]])
	return idHash(sum[:hashSize])
}

// hashes are the hashes of all ids, in order.
func (s *ids) hashes() []idHash {
	all := make([]idHash, s.len())
	for i := range all {
		all[i] = s.hash(i)
	}
	slices.SortFunc(all, func(a, b idHash) int { return bytes.Compare(a[:], b[:]) })
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

// hashTensor lays a shard's hashes out for its part. A shard that has an id twice is refused.
func hashTensor(s Shard, documents *ids) (safetensors.Tensor, error) {
	all := documents.hashes()
	b := make([]byte, 0, len(all)*hashSize)
	for i, h := range all {
		if i > 0 && h == all[i-1] {
			rows := documents.rowsOf(h)
			return safetensors.Tensor{}, &inputError{Refusal{s.Name, fmt.Sprintf("its rows %d and %d have the same id", rows[0], rows[1]), hintIDs}}
		}
		b = append(b, h[:]...)
	}
	return safetensors.Tensor{Name: hashesTensor, DType: safetensors.U8, Shape: []int{len(all), hashSize}, Data: b}, nil
}

// hashedID is the hash of an id, and the shard that has it.
type hashedID struct {
	hash  idHash
	shard int32
}

const hashedIDSize = hashSize + 4 // bytes

// sameIDs looks for ids that two shards have. So that it holds few hashes at a time, it goes through the parts in passes,
// each of which takes the hashes of some range.
type sameIDs struct {
	worker       *Worker
	pass, passes int
	seen         []hashedID
}

// newSameIDs returns a search that holds about an eighth of the worker's memory.
func (w *Worker) newSameIDs() *sameIDs {
	room := max(w.options.Memory.OrDefault().Unreserved()/8, hashedIDSize)
	return &sameIDs{worker: w, passes: int(w.manifest.Documents()*hashedIDSize/room) + 1}
}

// add takes a part's hashes that belong to the pass. A part of an earlier version has none.
func (d *sameIDs) add(shard int, part *partObject) {
	t, _ := part.file.Tensor(hashesTensor)
	n := len(t.Data) / hashSize
	at := func(i int) []byte { return t.Data[i*hashSize : (i+1)*hashSize] }
	first := func(pass int) int { // the first hash of a pass
		return sort.Search(n, func(i int) bool { return (int(at(i)[0])<<8|int(at(i)[1]))*d.passes >= pass<<16 })
	}
	for i := first(d.pass); i < first(d.pass+1); i++ {
		d.seen = append(d.seen, hashedID{idHash(at(i)), int32(shard)})
	}
}

// finish looks through the pass, and goes through the others.
func (d *sameIDs) finish(ctx context.Context) error {
	for {
		slices.SortFunc(d.seen, func(a, b hashedID) int { return bytes.Compare(a.hash[:], b.hash[:]) })
		for i := 1; i < len(d.seen); i++ {
			if a, b := d.seen[i-1], d.seen[i]; a.hash == b.hash {
				return d.worker.refuseSameID(ctx, a.hash, int(min(a.shard, b.shard)), int(max(a.shard, b.shard)))
			}
		}
		if d.pass++; d.pass == d.passes {
			return nil
		}
		d.seen = d.seen[:0]
		shard := 0
		for part, err := range d.worker.eachPart(ctx, 0) {
			if err != nil {
				return err
			}
			d.add(shard, part)
			shard++
		}
	}
}

// refuseSameID is the refusal of a job with an id that two shards have. It says which documents have it, where the
// shards are there.
func (w *Worker) refuseSameID(ctx context.Context, h idHash, shards ...int) error {
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
	return &inputError{Refusal{ManifestKey, problem + " have the same id", hintIDs}}
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
