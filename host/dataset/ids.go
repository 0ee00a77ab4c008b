package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/maphash"
	"io/fs"
	"iter"
	"slices"
	"unicode/utf8"
)

// IDs are the ids of a corpus or of queries, in the order of their rows; no two are the same. They are kept in memory up to a bound, and read
// again from their file where there are more.
type IDs struct {
	Path   string // of the file they come from
	SHA256 string // of that file's uncompressed bytes

	n    int
	blob []byte   // all ids, one after the other; nil where they are too many
	ends []uint32 // of each id in blob
	sum  string   // fingerprint of the ids alone, whatever file they come from
	read func(f func(l *lineReader, id []byte) error) (sha256 string, err error)
}

// Bounds of what is held; variables for tests alone.
var (
	keptBytes  = 32 << 20 // of ids
	keptHashes = 4 << 20  // of ids that are compared at a time
)

// readIDs reads the ids of a jsonl file, or of an ids file.
func readIDs(fsys fs.FS, name, path string, id func(l *lineReader, line []byte) ([]byte, error)) (*IDs, error) {
	ids := &IDs{Path: path, blob: []byte{}}
	ids.read = func(f func(l *lineReader, id []byte) error) (string, error) {
		return eachLine(fsys, name, path, func(l *lineReader, line []byte) error {
			id, err := id(l, line)
			if err != nil {
				return err
			}
			return f(l, id)
		})
	}
	sum := sha256.New()
	same := newTwins()
	var err error
	ids.SHA256, err = ids.read(func(l *lineReader, id []byte) error {
		switch {
		case len(id) == 0:
			return l.errorf("", "the id is empty")
		case !utf8.Valid(id):
			return l.errorf("write the file as UTF-8", "the id %q is not UTF-8", id)
		}
		sum.Write(id)
		sum.Write([]byte{'\n'})
		same.add(id)
		ids.keep(id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if ids.n == 0 {
		return nil, fileError(path, "it needs a line for each text", "the file is empty")
	}
	ids.sum = hex.EncodeToString(sum.Sum(nil))
	return ids, same.check(ids)
}

// keep appends an id, and forgets all where they are too many.
func (ids *IDs) keep(id []byte) {
	ids.n++
	if ids.blob == nil {
		return
	}
	if len(ids.blob)+len(id)+4*ids.n > keptBytes {
		ids.blob, ids.ends = nil, nil
		return
	}
	ids.blob = append(ids.blob, id...)
	ids.ends = append(ids.ends, uint32(len(ids.blob)))
}

// Len is how many ids there are.
func (ids *IDs) Len() int { return ids.n }

// each calls f for all rows, in order, until it returns false. An id is valid only during the call.
func (ids *IDs) each(f func(row int, id []byte) bool) error {
	if ids.blob != nil {
		start := uint32(0)
		for row, end := range ids.ends {
			if !f(row, ids.blob[start:end]) {
				return nil
			}
			start = end
		}
		return nil
	}
	stop := errors.New("stop")
	row := 0
	sum, err := ids.read(func(_ *lineReader, id []byte) error {
		row++
		if !f(row-1, id) {
			return stop
		}
		return nil
	})
	switch {
	case errors.Is(err, stop):
		return nil
	case err == nil && sum != ids.SHA256:
		return fileError(ids.Path, "leave the files alone while they are read", "the file has changed since it was first read")
	}
	return err
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

// twins finds ids that are given twice, by their hashes: those of one class, modulo a power of two that grows so that they stay few, are kept; the
// other classes take further readings.
type twins struct {
	seed    maphash.Seed
	modulus uint64
	hashes  []uint64
	limit   int
}

func newTwins() *twins { return &twins{seed: maphash.MakeSeed(), modulus: 1, limit: keptHashes} }

func (t *twins) add(id []byte) {
	h := maphash.Bytes(t.seed, id)
	if h%t.modulus != 0 {
		return
	}
	if t.hashes = append(t.hashes, h); len(t.hashes) > t.limit {
		t.modulus *= 2
		t.hashes = slices.DeleteFunc(t.hashes, func(h uint64) bool { return h%t.modulus != 0 })
	}
}

// check fails where an id is given twice.
func (t *twins) check(ids *IDs) error {
	for class := range t.modulus {
		if class > 0 {
			t.hashes = t.hashes[:0]
			err := ids.each(func(_ int, id []byte) bool {
				if h := maphash.Bytes(t.seed, id); h%t.modulus == class {
					t.hashes = append(t.hashes, h)
				}
				return true
			})
			if err != nil {
				return err
			}
		}
		slices.Sort(t.hashes)
		suspects := map[uint64]bool{}
		for i := 1; i < len(t.hashes); i++ {
			if t.hashes[i] == t.hashes[i-1] {
				suspects[t.hashes[i]] = true
			}
		}
		if len(suspects) == 0 {
			continue
		}
		first := map[string]int{} // lines, of ids whose hash two have
		_, err := ids.read(func(l *lineReader, id []byte) error {
			if !suspects[maphash.Bytes(t.seed, id)] {
				return nil
			}
			if line, twice := first[string(id)]; twice {
				return l.errorf("ids must differ", "id %q is given twice, first in line %d", id, line)
			}
			first[string(id)] = l.line
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
