package dataset

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
)

// scratch is a temporary file that is written once and then read. A nil one has nothing to close.
type scratch struct {
	file   *os.File
	to     *bufio.Writer
	size   int64 // bytes written
	closed bool

	length []byte // an id's length, encoded; reused
}

const scratchHint = "make room in the folder for temporary files, or name another in TMPDIR"

func newScratch() (*scratch, error) {
	f, err := os.CreateTemp("", "quarry-*.tmp")
	if err != nil {
		return nil, ReadError(os.TempDir(), err, scratchHint)
	}
	// Where the system allows it, the file's name is removed at once, so that a process that is killed leaves nothing.
	_ = os.Remove(f.Name())
	return &scratch{file: f, to: bufio.NewWriterSize(f, 1<<16)}, nil
}

func (s *scratch) write(b []byte) error {
	s.size += int64(len(b))
	if _, err := s.to.Write(b); err != nil {
		return ReadError(s.file.Name(), err, scratchHint)
	}
	return nil
}

// writeID writes an id after its length, since an id may hold any character, a line's end too.
func (s *scratch) writeID(id []byte) error {
	s.length = binary.AppendUvarint(s.length[:0], uint64(len(id)))
	return errors.Join(s.write(s.length), s.write(id))
}

// section reads bytes begin to end-1 of what was written.
func (s *scratch) section(begin, end int64) (*bufio.Reader, error) {
	if err := s.to.Flush(); err != nil {
		return nil, ReadError(s.file.Name(), err, scratchHint)
	}
	return bufio.NewReaderSize(io.NewSectionReader(s.file, begin, end-begin), 1<<14), nil
}

// eachID calls f for all ids, in the order they were written, until f returns false. An id is valid only during the
// call.
func (s *scratch) eachID(f func(row int, id []byte) bool) error {
	r, err := s.section(0, s.size)
	if err != nil {
		return err
	}
	var id []byte
	for row := 0; ; row++ {
		length, err := binary.ReadUvarint(r)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			id = slices.Grow(id[:0], int(length))[:length]
			_, err = io.ReadFull(r, id)
		}
		if err != nil {
			return ReadError(s.file.Name(), err)
		}
		if !f(row, id) {
			return nil
		}
	}
}

func (s *scratch) close() error {
	if s == nil || s.closed {
		return nil
	}
	s.closed = true
	err := s.file.Close()
	if e := os.Remove(s.file.Name()); !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}
