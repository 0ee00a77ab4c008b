package dataset

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"iter"
	"slices"
)

// IDs are the ids of a corpus or of queries, in the order of their rows; no two are the same. They are kept in memory up to a bound, and in a
// temporary file where there are more.
type IDs struct {
	Path   string // of the file they come from
	SHA256 string // of that file's uncompressed bytes

	n     int
	blob  []byte   // all ids, one after the other, where they are few
	ends  []uint32 // of each id in blob
	spilt *scratch // all ids, where they are many
	sum   string   // fingerprint of the ids alone, whatever file they come from
	read  func(f func(l *lineReader, id []byte) error) (sha256 string, err error)
}

// Bounds of what is held; variables for tests alone.
var (
	keptBytes  = 2 << 20   // of ids
	keptHashes = 256 << 10 // of ids, for finding those that are given twice
)

// readIDs reads the ids of a jsonl file, or of an ids file. Close them after use.
func readIDs(fsys fs.FS, name, path string, id func(l *lineReader, line []byte) ([]byte, error)) (_ *IDs, err error) {
	ids := &IDs{Path: path}
	ids.read = func(f func(l *lineReader, id []byte) error) (string, error) {
		return eachLine(fsys, name, path, func(l *lineReader, line []byte) error {
			id, err := id(l, line)
			if err != nil {
				return err
			}
			return f(l, id)
		})
	}
	sum, same := sha256.New(), &twins{seed: maphash.MakeSeed()}
	defer func() {
		err = errors.Join(err, same.close())
		if err != nil {
			err = errors.Join(err, ids.Close())
		}
	}()
	ids.SHA256, err = ids.read(func(l *lineReader, id []byte) error {
		if len(id) == 0 {
			return l.errorf("", "the id is empty")
		}
		sum.Write(id)
		sum.Write([]byte{'\n'})
		return errors.Join(ids.keep(id), same.add(id))
	})
	if e := (*Error)(nil); errors.As(err, &e) && e.Line > 0 {
		// An id that is given twice is found once the reading has ended. A line before this one may be at fault so, and the first is named.
		if earlier := same.check(ids); earlier != nil {
			return nil, earlier
		}
	}
	if err != nil {
		return nil, err
	}
	if ids.n == 0 {
		return nil, fileError(path, "it needs a line for each text", "the file is empty")
	}
	ids.sum = hex.EncodeToString(sum.Sum(nil))
	if err := same.check(ids); err != nil {
		return nil, err
	}
	return ids, nil
}

// Close removes the temporary file, if there is one.
func (ids *IDs) Close() error { return ids.spilt.close() }

// keep appends an id; where they are too many for memory, all go to a file.
func (ids *IDs) keep(id []byte) (err error) {
	ids.n++
	if ids.spilt == nil && len(ids.blob)+len(id)+4*ids.n <= keptBytes {
		ids.blob = append(ids.blob, id...)
		ids.ends = append(ids.ends, uint32(len(ids.blob)))
		return nil
	}
	if ids.spilt == nil {
		spilt, err := newScratch()
		if err != nil {
			return err
		}
		_ = ids.each(func(_ int, id []byte) bool { err = spilt.writeID(id); return err == nil })
		ids.spilt, ids.blob, ids.ends = spilt, nil, nil
		if err != nil {
			return err
		}
	}
	return ids.spilt.writeID(id)
}

// Len is how many ids there are.
func (ids *IDs) Len() int { return ids.n }

// each calls f for all rows, in order, until it returns false. An id is valid only during the call.
func (ids *IDs) each(f func(row int, id []byte) bool) error {
	if ids.spilt != nil {
		return ids.spilt.eachID(f)
	}
	start := uint32(0)
	for row, end := range ids.ends {
		if !f(row, ids.blob[start:end]) {
			break
		}
		start = end
	}
	return nil
}

// Rows returns the rows of those ids that are there.
func (ids *IDs) Rows(wanted map[string]bool) (map[string]int, error) {
	rows := make(map[string]int, len(wanted))
	err := ids.each(func(row int, id []byte) bool {
		if wanted[string(id)] {
			rows[string(id)] = row
		}
		return len(rows) < len(wanted)
	})
	return rows, err
}

// Names returns the ids of those rows.
func (ids *IDs) Names(rows map[int]bool) (map[int]string, error) {
	names := make(map[int]string, len(rows))
	err := ids.each(func(row int, id []byte) bool {
		if rows[row] {
			names[row] = string(id)
		}
		return len(names) < len(rows)
	})
	return names, err
}

// All returns all ids, in order; stop early, or look at *err when done.
func (ids *IDs) All(err *error) iter.Seq[string] {
	return func(yield func(string) bool) {
		*err = ids.each(func(_ int, id []byte) bool { return yield(string(id)) })
	}
}

// sameIDs fails where two files list other ids, or in another order.
func sameIDs(ids, listed *IDs) error {
	const hint = "the vectors were made from another file, or in another order: make them again"
	if ids.sum == listed.sum {
		return nil
	}
	if ids.n != listed.n {
		return fileError(listed.Path, hint, "%d ids; %s has %d", listed.n, ids.Path, ids.n)
	}
	var err error
	next, stop := iter.Pull(ids.All(&err))
	defer stop()
	_, differ := listed.read(func(l *lineReader, id []byte) error {
		if other, ok := next(); ok && other != string(id) {
			return l.errorf(hint, "id %q; %s has %q there", id, ids.Path, other)
		}
		return nil
	})
	return errors.Join(err, differ)
}

// twins finds ids that are given twice, by their hashes: sorted some at a time, in runs on disk where they are many, and merged.
type twins struct {
	seed   maphash.Seed
	hashes []uint64
	runs   *scratch
	ends   []int64 // of each run, in bytes
}

func (t *twins) add(id []byte) error {
	if t.hashes = append(t.hashes, maphash.Bytes(t.seed, id)); len(t.hashes) < keptHashes {
		return nil
	}
	slices.Sort(t.hashes)
	if t.runs == nil {
		var err error
		if t.runs, err = newScratch(); err != nil {
			return err
		}
	}
	b := make([]byte, 8)
	for _, h := range t.hashes {
		binary.LittleEndian.PutUint64(b, h)
		if err := t.runs.write(b); err != nil {
			return err
		}
	}
	t.ends, t.hashes = append(t.ends, t.runs.size), t.hashes[:0]
	return nil
}

func (t *twins) close() error { return t.runs.close() }

// suspects are the hashes that more than one id has.
func (t *twins) suspects() (map[uint64]bool, error) {
	slices.Sort(t.hashes)
	suspects := map[uint64]bool{}
	next := []func() (uint64, bool){sliceOf(t.hashes)}
	begin := int64(0)
	for _, end := range t.ends {
		r, err := t.runs.section(begin, end)
		if err != nil {
			return nil, err
		}
		next = append(next, func() (uint64, bool) {
			var b [8]byte
			_, err := io.ReadFull(r, b[:])
			return binary.LittleEndian.Uint64(b[:]), err == nil
		})
		begin = end
	}
	var heads heads
	for _, f := range next {
		if h, ok := f(); ok {
			heads = append(heads, head{h, f})
		}
	}
	heap.Init(&heads)
	seen, last := 0, uint64(0)
	for ; len(heads) > 0; seen++ {
		h := heads[0].hash
		if seen > 0 && h == last {
			suspects[h] = true
		}
		last = h
		if following, ok := heads[0].next(); ok {
			heads[0].hash = following
			heap.Fix(&heads, 0)
		} else {
			heap.Pop(&heads)
		}
	}
	if want := len(t.hashes) + int(begin/8); seen != want {
		return nil, fmt.Errorf("%d of %d hashes came back from %s", seen, want, t.runs.file.Name())
	}
	return suspects, nil
}

func sliceOf(hashes []uint64) func() (uint64, bool) {
	return func() (uint64, bool) {
		if len(hashes) == 0 {
			return 0, false
		}
		h := hashes[0]
		hashes = hashes[1:]
		return h, true
	}
}

// head is the first hash that is left of a run, and what gives the next.
type head struct {
	hash uint64
	next func() (uint64, bool)
}

type heads []head

func (h heads) Len() int           { return len(h) }
func (h heads) Less(i, j int) bool { return h[i].hash < h[j].hash }
func (h heads) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)        { *h = append(*h, x.(head)) }
func (h *heads) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// check fails where an id is given twice. Ids whose hashes are the same are compared themselves.
func (t *twins) check(ids *IDs) error {
	suspects, err := t.suspects()
	if err != nil || len(suspects) == 0 {
		return err
	}
	first := map[string]int{} // lines, of ids whose hash two have
	_, err = ids.read(func(l *lineReader, id []byte) error {
		if !suspects[maphash.Bytes(t.seed, id)] {
			return nil
		}
		if line, twice := first[string(id)]; twice {
			return l.errorf("ids must differ", "id %q is given twice, first in line %d", id, line)
		}
		first[string(id)] = l.line
		return nil
	})
	return err
}
