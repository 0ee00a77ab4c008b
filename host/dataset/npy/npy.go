// Package npy reads .npy files, NumPy's format for one array, as vectors; and writes their headers.
//
// Input: a file of a two-dimensional array, output: a dataset.Matrix, whose rows are read as they are asked for.
// Package beir calls it, and whoever writes vectors calls Header.
package npy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// File is the matrix of a .npy file. It may be read by several goroutines at once.
type File struct {
	shape
	path   string
	file   fs.File
	at     io.ReaderAt // the same file
	offset int64       // of the first row, in bytes
	sha256 func() (string, error)
}

// shape is what a header says of the array.
type shape struct {
	rows, width int
	dtype       safetensors.DType
}

// rowBytes is the size of a row.
func (s shape) rowBytes() int64 { return int64(s.width * s.dtype.Size()) }

var _ dataset.Matrix = (*File)(nil)

// Open opens a .npy file of float16, float32 or float64, little endian, two-dimensional, in C order (NumPy's format
// versions 1 to 3). The file system must be able to read at an offset, as those of os.DirFS and embed.FS are. path is
// what messages call the file; hints say what to do where it cannot be read. Close it after use. What is wrong with the
// file is a *dataset.Error.
func Open(fsys fs.FS, name, path string, hints ...string) (_ *File, err error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, dataset.ReadError(path, err, hints...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	f := &File{path: path, file: file}
	f.sha256 = sync.OnceValues(func() (string, error) { return dataset.Fingerprint(f) })
	var ok bool
	if f.at, ok = file.(io.ReaderAt); !ok {
		return nil, dataset.FileError(path, "", "its file system cannot read at an offset")
	}
	info, err := file.Stat()
	if err != nil {
		return nil, dataset.ReadError(path, err)
	}
	header, err := f.readHeader(info.Size(), hints)
	if err != nil {
		return nil, err
	}
	if f.shape, err = parseHeader(path, header); err != nil {
		return nil, err
	}
	if err := f.checkSize(info.Size() - f.offset); err != nil {
		return nil, err
	}
	return f, nil
}

// checkSize fails where the bytes after the header are not those of all rows.
func (f *File) checkSize(have int64) error {
	want := int64(f.rows) * f.rowBytes()
	if have < want {
		e := dataset.FileError(f.path, "write or copy the file again", "cut off: %d bytes of data; %d rows of %d %s take %d", have, f.rows, f.width, f.dtype, want)
		e.Row = int(have / f.rowBytes())
		return e
	}
	if have > want {
		return dataset.FileError(f.path, "write the file again with numpy.save", "%d bytes follow the last row", have-want)
	}
	return nil
}

// Name is the file's path.
func (f *File) Name() string { return f.path }

// Rows is the number of vectors.
func (f *File) Rows() int { return f.rows }

// Width is the number of columns.
func (f *File) Width() int { return f.width }

// DType is the type of the values.
func (f *File) DType() safetensors.DType { return f.dtype }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// SHA256 is the matrix's fingerprint. It reads the file, the first time.
func (f *File) SHA256() (string, error) { return f.sha256() }

// ReadRows reads rows as they lie in the file.
func (f *File) ReadRows(dst []byte, first, n int) error {
	if err := dataset.CheckRows(f, dst, first, n); err != nil {
		return err
	}
	read, err := f.at.ReadAt(dst, f.offset+int64(first)*f.rowBytes())
	if read == len(dst) {
		return nil
	}
	if err == io.EOF {
		err = fmt.Errorf("the file was cut short while it was read: %w", io.ErrUnexpectedEOF)
	}
	return &dataset.Error{Path: f.path, Row: first + read/int(f.rowBytes()), Problem: err.Error(), Hint: "check that nothing else writes the file", Err: err}
}
