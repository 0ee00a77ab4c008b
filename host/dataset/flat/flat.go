// Package flat reads matrices whose rows lie in a file one after the other, each of the same size, as the formats npy,
// safetensors, FAISS's flat indexes and fvecs have them.
//
// Input: a file and a Layout, which says where the rows lie and what their values are. Output: a dataset.Matrix, whose
// rows are read where they lie as they are asked for. Values of types that quarry has not are converted on the way, by
// rules that have one right answer. The packages of those formats call it.
package flat

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Layout says where the rows of a matrix lie in a file.
type Layout struct {
	Rows, Width int
	Offset      int64 // of the first row's first value, in bytes
	Between     int64 // bytes between two rows; 0 where they touch
	Values
}

// Stride is how many bytes there are from one row to the next.
func (l Layout) Stride() int64 { return l.RowBytes() + l.Between }

// RowBytes is the size of a row's values.
func (l Layout) RowBytes() int64 { return int64(l.Width * l.Type.size()) }

// Size is the bytes of all rows, and of what is between them.
func (l Layout) Size() int64 { return max(0, int64(l.Rows)*l.Stride()-l.Between) }

// The most columns that are read. Rows are at most abi.MaxRows, so no size overflows.
const maxWidth = 1 << 20

// CheckShape fails where a file says that it has no columns, or more rows or columns than are read.
func CheckShape(path string, rows, width int64) error {
	if width < 1 || width > maxWidth || rows < 0 || rows > abi.MaxRows {
		return dataset.FileError(path, "write the file again, with one row for each text", "%d rows of %d columns; up to %d rows of 1 to %d columns are read", rows, width, abi.MaxRows, maxWidth)
	}
	return nil
}

// CheckSize fails where the bytes of a file from the first row on are not those of all rows. again says how to write the
// file.
func (l Layout) CheckSize(path string, have int64, again string) error {
	want := l.Size()
	if have < want {
		e := dataset.FileError(path, "write or copy the file again", "cut off: %d bytes of data; %d rows of %d %s take %d", max(0, have), l.Rows, l.Width, l.Type, want)
		e.Row = int(max(0, have) / l.Stride())
		return e
	}
	if have > want {
		return dataset.FileError(path, again, "%d bytes follow the last row", have-want)
	}
	return nil
}

// File is an open file whose rows are read at offsets.
type File struct {
	fs.File
	io.ReaderAt
	Bytes int64 // its size
}

// OpenFile opens a file. Its file system must be able to read at an offset, as those of os.DirFS and embed.FS are. path is
// what messages call the file; hints say what to do where it cannot be read.
func OpenFile(fsys fs.FS, name, path string, hints ...string) (*File, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, dataset.ReadError(path, err, hints...)
	}
	at, ok := file.(io.ReaderAt)
	info, err := file.Stat()
	switch {
	case err != nil:
		err = dataset.ReadError(path, err)
	case !ok:
		err = dataset.FileError(path, "", "its file system cannot read at an offset")
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &File{file, at, info.Size()}, nil
}

// matrix is the rows of a file.
type matrix struct {
	Layout
	path   string
	at     io.ReaderAt
	closes io.Closer
	sha256 func() (string, error)
}

// New is a matrix of rows in a file. Whoever closes it closes closes, which may be nil.
func New(path string, at io.ReaderAt, closes io.Closer, l Layout) dataset.Matrix {
	m := &matrix{Layout: l, path: path, at: at, closes: closes}
	m.sha256 = sync.OnceValues(func() (string, error) { return dataset.Fingerprint(m) })
	return m
}

func (m *matrix) Name() string             { return m.path }
func (m *matrix) Rows() int                { return m.Layout.Rows }
func (m *matrix) Width() int               { return m.Layout.Width }
func (m *matrix) DType() safetensors.DType { return m.Type.dtype() }
func (m *matrix) SHA256() (string, error)  { return m.sha256() }

func (m *matrix) Close() error {
	if m.closes == nil {
		return nil
	}
	return m.closes.Close()
}

// ReadRows reads rows as they lie in the file, and converts them where that is needed.
func (m *matrix) ReadRows(dst []byte, first, n int) error {
	if err := dataset.CheckRows(m, dst, first, n); err != nil || n == 0 {
		return err
	}
	if m.plain() && m.Between == 0 {
		return m.read(dst, first)
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	stride, out := int(m.Stride()), len(dst)/n
	for block := max(1, bufferBytes/stride); n > 0; {
		rows := min(block, n)
		size := rows*stride - int(m.Between)
		if cap(*buffer) < size {
			*buffer = make([]byte, size)
		}
		from := (*buffer)[:size]
		if err := m.read(from, first); err != nil {
			return err
		}
		for i := range rows {
			m.Convert(dst[i*out:(i+1)*out], from[i*stride:][:m.RowBytes()], first+i)
		}
		dst, first, n = dst[rows*out:], first+rows, n-rows
	}
	return nil
}

// bufferBytes is about how much is read at a time where values are converted.
const bufferBytes = 256 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, bufferBytes); return &b }}

// read fills b with what lies in the file from a row on.
func (m *matrix) read(b []byte, row int) error {
	read, err := m.at.ReadAt(b, m.Offset+int64(row)*m.Stride())
	if read == len(b) {
		return nil
	}
	if err == io.EOF {
		err = fmt.Errorf("the file was cut short while it was read: %w", io.ErrUnexpectedEOF)
	}
	return &dataset.Error{Path: m.path, Row: row + read/int(m.Stride()), Problem: err.Error(), Hint: "check that nothing else writes the file", Err: err}
}
