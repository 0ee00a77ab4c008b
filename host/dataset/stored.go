package dataset

import (
	"errors"
	"io"
	"sync"

	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// StoredRows are rows in a temporary file: of a format whose rows cannot be read at an offset, which is converted once.
// They are written, and then read as a Matrix. Close them after use.
type StoredRows struct {
	name   string
	width  int
	dtype  safetensors.DType
	rows   int
	file   *scratch // nil where the rows are only counted
	sha256 func() (string, error)
}

var _ Matrix = (*StoredRows)(nil)

// NewStoredRows makes the temporary file. name is what messages call the matrix.
func NewStoredRows(name string, dtype safetensors.DType, width int) (*StoredRows, error) {
	file, err := newScratch()
	if err != nil {
		return nil, err
	}
	s := &StoredRows{name: name, width: width, dtype: dtype, file: file}
	s.sha256 = sync.OnceValues(func() (string, error) { return Fingerprint(s) })
	return s, nil
}

// CountedRows are so many rows that are not kept: Write counts more of them, and none can be read. See Watch.Dry.
func CountedRows(name string, dtype safetensors.DType, width, rows int) *StoredRows {
	s := &StoredRows{name: name, width: width, dtype: dtype, rows: rows}
	s.sha256 = func() (string, error) { return "", s.notKept() }
	return s
}

func (s *StoredRows) notKept() error {
	return FileError(s.name, "", "its rows were counted, and not kept")
}

// Write appends whole rows, each value little endian.
func (s *StoredRows) Write(rows []byte) error {
	stride := s.width * s.dtype.Size()
	if s.file == nil {
		s.rows += len(rows) / stride
		return nil
	}
	if _, err := s.file.file.WriteAt(rows, int64(s.rows)*int64(stride)); err != nil {
		return ReadError(s.file.file.Name(), err, scratchHint)
	}
	s.rows += len(rows) / stride
	return nil
}

// Name is what messages call the matrix.
func (s *StoredRows) Name() string { return s.name }

// Rows is how many rows have been written.
func (s *StoredRows) Rows() int { return s.rows }

// Width is the number of columns.
func (s *StoredRows) Width() int { return s.width }

// DType is the type of the values.
func (s *StoredRows) DType() safetensors.DType { return s.dtype }

// SHA256 is the matrix's fingerprint. It reads the file, the first time.
func (s *StoredRows) SHA256() (string, error) { return s.sha256() }

// Close removes the temporary file.
func (s *StoredRows) Close() error { return s.file.close() }

// ReadRows reads rows as they were written.
func (s *StoredRows) ReadRows(dst []byte, first, n int) error {
	if err := CheckRows(s, dst, first, n); err != nil {
		return err
	}
	if s.file == nil {
		return s.notKept()
	}
	if read, err := s.file.file.ReadAt(dst, int64(first)*int64(s.width*s.dtype.Size())); read < len(dst) {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return ReadError(s.file.file.Name(), err, "check that nothing else writes the folder for temporary files")
	}
	return nil
}

// StoredBytes are bytes in a temporary file: of a file that was compressed, or that lies elsewhere. Close them after use.
type StoredBytes struct{ file *scratch }

// NewStoredBytes makes the temporary file.
func NewStoredBytes() (*StoredBytes, error) {
	file, err := newScratch()
	return &StoredBytes{file}, err
}

// Write appends bytes.
func (s *StoredBytes) Write(b []byte) (n int, err error) {
	if n, err = s.file.file.Write(b); err != nil {
		err = ReadError(s.file.file.Name(), err, scratchHint)
	}
	return n, err
}

// ReadAt reads what was written.
func (s *StoredBytes) ReadAt(p []byte, at int64) (int, error) { return s.file.file.ReadAt(p, at) }

// Close removes the temporary file.
func (s *StoredBytes) Close() error { return s.file.close() }
