// Package faiss reads vectors of files of FAISS: flat indexes (IndexFlatIP, IndexFlatL2), and fvecs, bvecs and ivecs.
//
// Input: a file; output: a dataset.Matrix, whose rows are read where they lie. Package vectors calls it.
package faiss

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/flat"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// open opens a file as a matrix, by a function that reads its layout.
func open(fsys fs.FS, name, path string, layout func(at io.ReaderAt, size int64, path string) (flat.Layout, error)) (dataset.Matrix, error) {
	f, err := flat.OpenFile(fsys, name, path)
	if err != nil {
		return nil, err
	}
	l, err := layout(f, f.Bytes, path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return flat.New(path, f, f, l), nil
}

// OpenIndex opens a flat index that faiss.write_index wrote. Close the matrix after use.
func OpenIndex(fsys fs.FS, name, path string) (dataset.Matrix, error) {
	return open(fsys, name, path, indexLayout)
}

// OpenVecs opens a file of fvecs (float32), bvecs (uint8) or ivecs (int32): each row is its number of columns, as an
// int32, and its values, little endian. Close the matrix after use.
func OpenVecs(fsys fs.FS, name, path string, values flat.Type) (dataset.Matrix, error) {
	return open(fsys, name, path, func(at io.ReaderAt, size int64, path string) (flat.Layout, error) {
		return vecsLayout(at, size, path, values)
	})
}

// The header of a flat index: its type, columns, rows, two numbers that are not used, whether it is trained, the metric
// and how many float32 follow.
const (
	indexHeader  = 4 + 4 + 8 + 8 + 8 + 1 + 4 + 8
	metricOffset = 33
)

const (
	indexHint = "write a flat index: faiss.write_index(faiss.IndexFlatIP(...), path); of another index, take index.reconstruct_n(0, index.ntotal) and numpy.save"
	idMapHint = "its rows are in the order in which they were added: write a table, such as Parquet, with a column id of faiss.vector_to_array(index.id_map), and a column of faiss.downcast_index(index.index).reconstruct_n(0, index.ntotal)"
)

func indexLayout(at io.ReaderAt, size int64, path string) (l flat.Layout, err error) {
	h := make([]byte, min(size, indexHeader))
	if _, err := at.ReadAt(h, 0); err != nil && err != io.EOF {
		return l, dataset.ReadError(path, err)
	}
	if len(h) < 4 || h[0] != 'I' {
		return l, dataset.FileError(path, indexHint, "not an index of FAISS")
	}
	switch kind := string(h[:4]); kind {
	case "IxFI", "IxF2", "IxFl":
	case "IxMp", "IxM2":
		return l, dataset.FileError(path, idMapHint, "an index of FAISS with ids of its own (%s); flat indexes are read", kind)
	default:
		return l, dataset.FileError(path, indexHint, "an index of FAISS of type %s; flat indexes are read", excerpt.Quote(kind))
	}
	if len(h) < indexHeader {
		return l, dataset.FileError(path, "write or copy the file again", "cut off: %d bytes, the header takes %d", len(h), indexHeader)
	}
	width, rows := int64(int32(binary.LittleEndian.Uint32(h[4:]))), int64(binary.LittleEndian.Uint64(h[8:]))
	if metric := binary.LittleEndian.Uint32(h[metricOffset:]); metric > 1 {
		return l, dataset.FileError(path, indexHint, "metric %d; inner product (0) and L2 (1) are read", metric)
	}
	if err := flat.CheckShape(path, rows, width); err != nil {
		return l, err
	}
	l = flat.Layout{Rows: int(rows), Width: int(width), Offset: indexHeader, Values: flat.Values{Type: flat.F32}}
	if n := binary.LittleEndian.Uint64(h[indexHeader-8:]); n != uint64(rows*width) {
		return l, dataset.FileError(path, indexHint, "%d values; %d rows of %d columns have %d", n, rows, width, rows*width)
	}
	return l, l.CheckSize(path, size-indexHeader, indexHint)
}

const vecsHint = "each row is its number of columns, as an int32, and as many values: write the file again"

func vecsLayout(at io.ReaderAt, size int64, path string, values flat.Type) (l flat.Layout, err error) {
	l.Values, l.Offset, l.Between = flat.Values{Type: values}, 4, 4
	start := make([]byte, min(size, 4))
	if _, err := at.ReadAt(start, 0); err != nil && err != io.EOF {
		return l, dataset.ReadError(path, err)
	}
	if len(start) < 4 {
		return l, dataset.FileError(path, vecsHint, "cut off: %d bytes, the first row begins with 4", len(start))
	}
	width := int64(int32(binary.LittleEndian.Uint32(start)))
	if err := flat.CheckShape(path, 0, width); err != nil {
		return l, err
	}
	l.Width = int(width)
	rows := size / l.Stride()
	if err := flat.CheckShape(path, rows, width); err != nil {
		return l, err
	}
	l.Rows = int(rows)
	if rest := size - rows*l.Stride(); rest != 0 {
		return l, &dataset.Error{Path: path, Row: l.Rows, Problem: "cut off, or its rows have not all the same number of columns", Hint: vecsHint}
	}
	return l, checkWidths(at, path, l)
}

// checkWidths looks at the number of columns of some rows, from the first to the last: it is that of the first row, or the
// file has rows of several widths.
func checkWidths(at io.ReaderAt, path string, l flat.Layout) error {
	const looks = 1000
	b := make([]byte, 4)
	for i := range min(looks, l.Rows) {
		row := i
		if l.Rows > looks {
			row = i * (l.Rows - 1) / (looks - 1)
		}
		if _, err := at.ReadAt(b, int64(row)*l.Stride()); err != nil && err != io.EOF {
			return dataset.ReadError(path, err)
		}
		if n := int32(binary.LittleEndian.Uint32(b)); int(n) != l.Width {
			return &dataset.Error{Path: path, Row: row, Problem: "the row does not begin with the number of columns of the first", Hint: vecsHint}
		}
	}
	return nil
}

// LooksLikeVecs tells whether a file of size bytes that begins so can be fvecs: its size is that of whole rows.
func LooksLikeVecs(start []byte, size int64) bool {
	if len(start) < 8 {
		return false
	}
	width := int64(int32(binary.LittleEndian.Uint32(start)))
	return flat.CheckShape("", 0, width) == nil && size%(4+4*width) == 0
}
