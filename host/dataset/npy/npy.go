// Package npy reads .npy files, NumPy's format for one array, as vectors; and writes their headers.
//
// Input: a file of a two-dimensional array, output: a dataset.Matrix, whose rows are read as they are asked for. An array
// in Fortran order is converted once, to a temporary file. Package vectors calls it, and whoever writes vectors calls
// Header.
package npy

import (
	"errors"
	"io"
	"io/fs"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/flat"
)

// File is the matrix of a .npy file. It may be read by several goroutines at once.
type File struct {
	dataset.Matrix
	Type    flat.Type // of the values in the file
	Fortran bool      // the file has column after column, and was converted
}

// Close closes the file.
func (f *File) Close() error { return f.Matrix.(io.Closer).Close() }

// Open opens a .npy file of a two-dimensional array (NumPy's format versions 1 to 3) of float16, float32, float64,
// bfloat16 as ml_dtypes saves it, or int8 and uint8 with a scale beside the file (see ScaleOf); in C or Fortran order, of
// either byte order. The file system must be able to read at an offset, as those of os.DirFS and embed.FS are. path is what
// messages call the file; w watches the conversion of Fortran order; hints say what to do where the file cannot be read.
// Close it after use. What is wrong with the file is a *dataset.Error.
func Open(fsys fs.FS, name, path string, w dataset.Watch, hints ...string) (*File, error) {
	file, err := flat.OpenFile(fsys, name, path, hints...)
	if err != nil {
		return nil, err
	}
	f, err := Read(file, file.Bytes, path, file, w, func(l flat.Layout) (*flat.Scale, error) { return ScaleOf(fsys, name, path, l) }, hints...)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return f, nil
}

// Read is Open for a file of size bytes that is open. Closing the File closes closes, which may be nil. scale gives the
// scale of the values, as ScaleOf does; it is nil where there can be none.
func Read(at io.ReaderAt, size int64, path string, closes io.Closer, w dataset.Watch, scale func(flat.Layout) (*flat.Scale, error), hints ...string) (*File, error) {
	h, err := readHeader(at, size, path, hints)
	if err != nil {
		return nil, err
	}
	if err := h.CheckSize(path, size-h.Offset, "write the file again with numpy.save"); err != nil {
		return nil, err
	}
	if scale == nil {
		if h.Type.Scaled() {
			return nil, dataset.FileError(path, "save the array of integers by numpy.save, and its scale beside it", "values are %s, and there is no place for their scale", h.Type)
		}
	} else if h.Scale, err = scale(h.Layout); err != nil {
		return nil, err
	}
	f := &File{Type: h.Type, Fortran: h.fortran}
	if !h.fortran || h.Rows < 2 || h.Width < 2 { // of one row or column, both orders are the same
		f.Matrix = flat.New(path, at, closes, h.Layout)
		return f, nil
	}
	if w.Dry {
		f.Matrix = &converted{dataset.CountedRows(path, h.DType(), h.Width, h.Rows), closes}
		return f, nil
	}
	rows, err := transposed(at, path, h.Layout, w)
	if err != nil {
		return nil, err
	}
	f.Matrix = &converted{rows, closes}
	return f, nil
}

// converted is an array in Fortran order, and the file that it was in.
type converted struct {
	*dataset.StoredRows
	closes io.Closer
}

func (c *converted) Close() error {
	err := c.StoredRows.Close()
	if c.closes != nil {
		err = errors.Join(err, c.closes.Close())
	}
	return err
}

// transposeBytes is about how much of an array in Fortran order is in memory at a time. It is a variable so that tests can
// lower it.
var transposeBytes = 8 << 20

// transposed reads an array in Fortran order, a range of rows at a time, and writes it to a temporary file.
func transposed(at io.ReaderAt, path string, l flat.Layout, w dataset.Watch) (_ *dataset.StoredRows, err error) {
	rows, err := dataset.NewStoredRows(path, l.DType(), l.Width)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, rows.Close())
		}
	}()
	size, width := l.ValueBytes(), l.Width
	block := min(max(1, transposeBytes/(width*size)), l.Rows)
	column, from := make([]byte, block*size), make([]byte, block*width*size)
	to := make([]byte, block*width*l.DType().Size())
	for first := 0; first < l.Rows; first += block {
		n := min(block, l.Rows-first)
		if err := w.Err(); err != nil {
			return nil, err
		}
		for c := range width {
			if _, err := at.ReadAt(column[:n*size], l.Offset+(int64(c)*int64(l.Rows)+int64(first))*int64(size)); err != nil && err != io.EOF {
				return nil, dataset.ReadError(path, err)
			}
			for r := range n {
				copy(from[(r*width+c)*size:], column[r*size:(r+1)*size])
			}
		}
		out := width * l.DType().Size()
		for r := range n {
			l.Convert(to[r*out:(r+1)*out], from[r*width*size:(r+1)*width*size], first+r)
		}
		if err := rows.Write(to[:n*out]); err != nil {
			return nil, err
		}
		w.Progress.Report("convert "+path, int64(first+n), int64(l.Rows))
	}
	return rows, nil
}
