package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"iter"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// IDs are the ids of the documents or of the queries, in the order of their rows. There is at least one, and no two are
// the same.
type IDs interface {
	// Name is what messages call the source: a file's path.
	Name() string
	// Len is how many ids there are.
	Len() int
	// All gives all ids, in order. *err is set where they cannot be read to the end: look at it once the loop has
	// ended.
	All(err *error) iter.Seq[string]
	// Rows returns the rows, from 0, of those ids that are there.
	Rows(ids map[string]bool) (map[string]int, error)
	// OfRows returns the ids of those rows that are there.
	OfRows(rows map[int]bool) (map[int]string, error)
	// SHA256 is the fingerprint of the source, in hexadecimal. Where the source has texts beside the ids, it is the
	// fingerprint of both: of a corpus file it is that of its uncompressed bytes.
	SHA256() (string, error)
}

// ReadIDs reads all ids of a source, in order, and calls f for each with its line: from 1, or 0 where the source has no
// lines. An id is valid only during the call. ReadIDs stops with f's error where f fails. It returns the source's
// fingerprint, see IDs.
type ReadIDs func(f func(line int, id []byte) error) (sha256 string, err error)

// StoredIDs are ids that were read from a source once. They are kept in memory up to a bound, and in a temporary file
// where there are more. Close them after use. They may be read by several goroutines at once.
type StoredIDs struct {
	name   string
	read   ReadIDs
	sha256 string // the source's fingerprint
	inRow  string // fingerprint of the ids alone, in order: the same for each source that has the same ids

	n     int
	bytes []byte   // all ids, one after the other, where memory holds them
	ends  []uint32 // of each id in bytes
	file  *scratch // all ids, where they are too many for memory
}

var _ IDs = (*StoredIDs)(nil)

// The bounds of what is held in memory. They are variables so that tests can lower them.
var (
	idBytesInMemory = 2 << 20   // of one StoredIDs
	hashesInMemory  = 256 << 10 // ids, while those given twice are looked for
)

// NewIDs reads the ids of a source. An id that is empty or given twice is an *Error, at the first line that is at
// fault; to find that line it may read the source a second time. A source without ids gives none, which is no error
// here. name is what messages call the source.
func NewIDs(name string, read ReadIDs) (_ *StoredIDs, err error) {
	ids := &StoredIDs{name: name, read: read}
	inRow, seen := sha256.New(), newRepeats()
	defer func() {
		err = errors.Join(err, seen.close())
		if err != nil {
			err = errors.Join(err, ids.Close())
		}
	}()
	ids.sha256, err = read(func(line int, id []byte) error {
		if len(id) == 0 {
			return errorAt(name, line, ids.n, "", "the id is empty")
		}
		addID(inRow, id)
		return errors.Join(ids.keep(id), seen.add(id))
	})
	if e := (*Error)(nil); err == nil || errors.As(err, &e) && (e.Line > 0 || e.Row >= 0) {
		// Ids that are given twice are found once the reading has ended. Where it ended at a line that is at fault, a
		// line before may be one of those.
		if repeated := seen.check(ids); repeated != nil {
			return nil, repeated
		}
	}
	if err != nil {
		return nil, err
	}
	ids.inRow = hex.EncodeToString(inRow.Sum(nil))
	return ids, nil
}

// IDsOf returns ids that a program already has. Their fingerprint is that of a file with one of them in each line.
func IDsOf(name string, ids ...string) (*StoredIDs, error) {
	return NewIDs(name, func(f func(int, []byte) error) (string, error) {
		sum := sha256.New()
		for _, id := range ids {
			addID(sum, []byte(id))
			if err := f(0, []byte(id)); err != nil {
				return "", err
			}
		}
		return hex.EncodeToString(sum.Sum(nil)), nil
	})
}

// addID adds an id to a fingerprint of ids.
func addID(to hash.Hash, id []byte) {
	to.Write(id)
	to.Write([]byte{'\n'})
}

// errorAt is an Error at a line, or at a row where the source has no lines.
func errorAt(name string, line, row int, hint, format string, args ...any) error {
	e := FileError(name, hint, format, args...)
	if e.Line = line; line == 0 {
		e.Row = row
	}
	return e
}

// keep appends an id. Where the ids become too many for memory, all of them go to a file.
func (ids *StoredIDs) keep(id []byte) (err error) {
	ids.n++
	if ids.file == nil && len(ids.bytes)+len(id)+4*ids.n <= idBytesInMemory {
		ids.bytes = append(ids.bytes, id...)
		ids.ends = append(ids.ends, uint32(len(ids.bytes)))
		return nil
	}
	if ids.file == nil {
		file, err := newScratch()
		if err != nil {
			return err
		}
		_ = ids.each(func(_ int, id []byte) bool { err = file.writeID(id); return err == nil })
		ids.file, ids.bytes, ids.ends = file, nil, nil
		if err != nil {
			return err
		}
	}
	return ids.file.writeID(id)
}

// Close removes the temporary file, if there is one.
func (ids *StoredIDs) Close() error { return ids.file.close() }

// Name is what messages call the source.
func (ids *StoredIDs) Name() string { return ids.name }

// Len is how many ids there are.
func (ids *StoredIDs) Len() int { return ids.n }

// SHA256 is what the source's ReadIDs returned.
func (ids *StoredIDs) SHA256() (string, error) { return ids.sha256, nil }

// each calls f for all rows, in order, until it returns false. An id is valid only during the call.
func (ids *StoredIDs) each(f func(row int, id []byte) bool) error {
	if ids.file != nil {
		return ids.file.eachID(f)
	}
	start := uint32(0)
	for row, end := range ids.ends {
		if !f(row, ids.bytes[start:end]) {
			break
		}
		start = end
	}
	return nil
}

// Rows returns the rows of those ids that are there.
func (ids *StoredIDs) Rows(wanted map[string]bool) (map[string]int, error) {
	rows := make(map[string]int, len(wanted))
	err := ids.each(func(row int, id []byte) bool {
		if wanted[string(id)] {
			rows[string(id)] = row
		}
		return len(rows) < len(wanted)
	})
	return rows, err
}

// OfRows returns the ids of those rows that are there.
func (ids *StoredIDs) OfRows(rows map[int]bool) (map[int]string, error) {
	of := make(map[int]string, len(rows))
	err := ids.each(func(row int, id []byte) bool {
		if rows[row] {
			of[row] = string(id)
		}
		return len(of) < len(rows)
	})
	return of, err
}

// All gives all ids, in order.
func (ids *StoredIDs) All(err *error) iter.Seq[string] {
	return func(yield func(string) bool) {
		*err = ids.each(func(_ int, id []byte) bool { return yield(string(id)) })
	}
}

// CheckSame fails where others, which were read from another source of the same rows, are other ids or in another
// order. The error is at the first line of the others that differs.
func (ids *StoredIDs) CheckSame(others *StoredIDs) error {
	const hint = "the vectors were made from another file, or in another order: make them again"
	if ids.inRow == others.inRow {
		return nil
	}
	if ids.n != others.n {
		return FileError(others.name, hint, "%d ids; %s has %d", others.n, ids.name, ids.n)
	}
	var err error
	next, stop := iter.Pull(ids.All(&err))
	defer stop()
	row := -1
	_, differ := others.read(func(line int, id []byte) error {
		row++
		if expected, ok := next(); ok && expected != string(id) {
			return errorAt(others.name, line, row, hint, "id %s; %s has %s there", excerpt.Quote(id), ids.name, excerpt.Quote(expected))
		}
		return nil
	})
	return errors.Join(err, differ)
}

// place says where an id was, for the message of another that is the same.
func place(line, row int) string {
	if line > 0 {
		return fmt.Sprintf("line %d", line)
	}
	return fmt.Sprintf("row %d", row)
}
