package job

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
)

// hashed is a worker of a job of some shards, each of so many rows, whose hashes are there.
func hashed(t testing.TB, shards, rows int, memory int64) (*Worker, []*ids) {
	t.Helper()
	w := &Worker{out: objstore.NewMemory(), in: objstore.NewMemory(), manifest: &Manifest{manifestSHA: fmt.Sprintf("%064d", 1)},
		options: Options{Compute: mining.Compute{Memory: option.Budget{Bytes: memory}}}}
	w.manifest.Result.Tallies.Documents = int64(shards * rows)
	var all []*ids
	for shard := range shards {
		w.manifest.Shards = append(w.manifest.Shards, Shard{File: File{Name: fmt.Sprint("shards/", shard), SHA256: fmt.Sprintf("%064d", shard)}, First: int64(shard * rows), Rows: rows})
		names := make([]string, rows)
		for i := range names {
			names[i] = fmt.Sprint("document-", shard*rows+i)
		}
		tensors := idTensors("ids", names)
		documents, err := newIDs("ids", tensors[0], tensors[1], rows)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, documents)
	}
	return w, all
}

func (w *Worker) putAll(t testing.TB, all []*ids) {
	t.Helper()
	for shard, documents := range all {
		if err := w.putHashes(context.Background(), shard, documents.hashes()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPassesOverHashes compares the hashes of 20,000 ids in one pass and in several, with one id that is given twice and
// with none. In several passes each reads a part of the hashes only.
func TestPassesOverHashes(t *testing.T) {
	const shards, rows = 4, 5000
	for _, passes := range []int64{1, 2, 7, 16} {
		for _, same := range []bool{false, true} {
			w, all := hashed(t, shards, rows, 8*(shards*rows*hashedIDSize/passes+hashedIDSize))
			w.putAll(t, all)
			if same {
				b, _, err := objstore.ReadAll(t.Context(), w.out, w.manifest.hashesKey(1), 1<<30)
				if err != nil {
					t.Fatal(err)
				}
				h := all[3].hash(17)
				begin, _ := hashRange{int(h.high >> 48), 1 << 16}.of(b)
				copy(b[min(begin, rows-1)*hashSize:], h.append(nil))
				if err := w.out.Put(t.Context(), w.manifest.hashesKey(1), bytes.NewReader(b)); err != nil {
					t.Fatal(err)
				}
			}
			err := w.checkIDs(t.Context())
			if input := (*inputError)(nil); same != errors.As(err, &input) || same && input.Problem != "a document of shards/1 and one of shards/3 have the same id" {
				t.Errorf("%d passes, an id twice is %v: %v", passes, same, err)
			}
			for pass := range int(passes) {
				b, err := w.readHashes(t.Context(), 0, hashRange{pass, int(passes)})
				if most := rows/int(passes) + 700; err != nil || len(b)/hashSize > most && passes > 1 {
					t.Errorf("pass %d of %d reads %d hashes of %d, %v", pass, passes, len(b)/hashSize, rows, err)
				}
			}
		}
	}
	// Of more hashes than there may be passes for, some are compared.
	w, all := hashed(t, 2, 5000, 8*2000)
	w.putAll(t, append(all[:1], all[0]))
	w.manifest.Result.Tallies.Documents = 10_000
	if err := w.checkIDs(t.Context()); !errors.As(err, new(*inputError)) {
		t.Errorf("a shard that is there twice: %v", err)
	}
}

// BenchmarkCheckIDs is the time for each document that a merge compares ids in.
func BenchmarkCheckIDs(b *testing.B) {
	const shards, rows = 20, 50_000
	w, all := hashed(b, shards, rows, 1<<30)
	w.putAll(b, all)
	for b.Loop() {
		if err := w.checkIDs(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(shards*rows), "ns/document")
}

// TestHashesThatAreNotSpread has hashes that all lie in one range, where a guess of their place is wrong. None is missed.
func TestHashesThatAreNotSpread(t *testing.T) {
	const shards, rows = 2, 5000
	w, _ := hashed(t, shards, rows, 8*(shards*rows*hashedIDSize/4+hashedIDSize))
	for shard := range shards {
		var b []byte
		for i := range uint64(rows) {
			b = idHash{1<<48 + i<<1 + uint64(shard), 0}.append(b) // of the second shard all others
		}
		if shard == 1 {
			copy(b[(rows-10)*hashSize:], idHash{1<<48 + (rows-10)<<1, 0}.append(nil)) // one of the first
		}
		if err := w.out.Put(t.Context(), w.manifest.hashesKey(shard), bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.checkIDs(t.Context()); !errors.As(err, new(*inputError)) {
		t.Errorf("an id of two shards: %v", err)
	}
}

// TestPassesAreFew: however many documents there are, a merge reads the hashes of a shard a few times only, and of very
// many shards once.
func TestPassesAreFew(t *testing.T) {
	for shards, most := range map[int]int{2: 2 * maxPasses, 20_000: 20_000} {
		w, _ := hashed(t, 2, 1, 8*hashedIDSize)
		w.manifest.Result.Tallies.Documents = 1 << 40
		for len(w.manifest.Shards) < shards {
			w.manifest.Shards = append(w.manifest.Shards, w.manifest.Shards[0])
		}
		reads := &countedReads{Store: w.out}
		w.out = reads
		if err := w.checkIDs(t.Context()); err != nil || reads.n.Load() > int64(most) || reads.n.Load() < int64(shards) {
			t.Errorf("%d shards: %d reads, %v", shards, reads.n.Load(), err)
		}
	}
}

// countedReads counts the reads of a store.
type countedReads struct {
	objstore.Store
	n atomic.Int64
}

func (c *countedReads) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, objstore.Object, error) {
	c.n.Add(1)
	return c.Store.Get(ctx, key, from, etag)
}
