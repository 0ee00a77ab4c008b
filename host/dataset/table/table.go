// Package table reads columns of files that hold tables: Parquet, Arrow IPC (files and streams, so the folders of Hugging
// Face's datasets too) and jsonl.
//
// Input: a file. Output: its columns; the rows of one that holds vectors, in order, to be stored where they can be read at
// an offset; and the ids and texts of others. Packages vectors and pairs call it. Parquet is read by parquet-go, Arrow by
// arrow-go. Neither holds more than a piece of the file in memory: a page of Parquet, a batch of Arrow, a line of jsonl.
package table

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Table is an open file with columns. It is read by one goroutine at a time.
type Table interface {
	// Columns are all of the file's, in its order. Those of jsonl are the fields of the lines that were read: of the first, until more are.
	Columns() []Column
	// ReadVectors reads the vectors of a column, from the first row to the last.
	ReadVectors(column string, to To) error
	// ReadTexts reads a column of texts, whole numbers or lists of texts, from the first row to the last, until f fails. line
	// is 0 where the file has no lines. The texts are valid only during the call: one, those of a list, or none where the row
	// has none. A text of a list that is null is left out.
	ReadTexts(column string, f func(line int, texts [][]byte) error) error
	Close() error
}

// Column is a column of a file.
type Column struct {
	Name  string
	Kind  Kind
	Type  string            // as the file has it, for messages
	DType safetensors.DType // of vectors
	Line  int               // of jsonl: the first that has the field
}

// Kind is what a column holds.
type Kind int

// The kinds. A column of any other type is not read.
const (
	Other   Kind = iota
	Vectors      // lists of numbers
	Texts        // or nulls alone, of no other type
	Lists        // of texts
	Numbers      // whole ones
)

// IsID tells whether the values of a column can be ids.
func (c Column) IsID() bool { return c.Kind == Texts || c.Kind == Numbers }

// Open opens a file of a format: "parquet", "arrow" or "jsonl". path is what messages call it. Close it after use.
func Open(format string, fsys fs.FS, name, path string) (t Table, err error) {
	defer guard(path, &err)
	switch format {
	case "parquet":
		return openParquet(fsys, name, path)
	case "arrow":
		return openArrow(fsys, name, path)
	case "jsonl":
		return openJSONL(fsys, name, path)
	}
	return nil, fmt.Errorf("no table is of format %s", excerpt.Quote(format))
}

// guard makes an error of a library's panic: about a file that is not sound, or about one that the library cannot read, such
// as a page of Parquet's second version without values.
func guard(path string, err *error) {
	if p := recover(); p != nil {
		*err = dataset.FileError(path, "write or copy the file again, of Parquet with data_page_version 1.0", "the library that reads it failed: %v", excerpt.Text(fmt.Sprint(p)))
	}
}

// To takes the rows of a column as they are read.
type To interface {
	// Rows takes n whole rows of width values, each little endian. They are valid only during the call.
	Rows(dtype safetensors.DType, width, n int, values []byte) error
}

// rowWriter cuts the values of a column into rows and hands them on, many at once.
type rowWriter struct {
	path  string
	dtype safetensors.DType
	to    To

	width  int    // of all rows; 0 until the first is whole
	rows   int    // that are whole
	line   int    // of the row, where the file has lines
	values []byte // rows that are whole and not handed on yet, and then the one that is not
	whole  int    // bytes of those that are whole
}

// flushBytes is about how much is handed on at a time.
const flushBytes = 1 << 20

// add adds values to the row that is not whole.
func (w *rowWriter) add(values []byte) error {
	w.values = append(w.values, values...)
	if size := len(w.values) - w.whole; size > 8<<20 || w.width > 0 && size > w.width*w.dtype.Size() {
		return w.wrongWidth("more")
	}
	return nil
}

// end ends a row.
func (w *rowWriter) end() error {
	size := len(w.values) - w.whole
	width := size / w.dtype.Size()
	if w.width == 0 && width > 0 {
		w.width = width
	}
	if width == 0 || width != w.width {
		return w.wrongWidth(fmt.Sprint(width))
	}
	w.whole = len(w.values)
	if w.rows++; w.rows > math.MaxInt32 {
		return dataset.FileError(w.path, "cut it into parts", "more than %d rows", math.MaxInt32)
	}
	if w.whole >= flushBytes {
		return w.flush()
	}
	return nil
}

// many adds n rows that are whole, while none is begun.
func (w *rowWriter) many(width, n int, values []byte) error {
	if w.width == 0 {
		w.width = width
	}
	if width != w.width {
		return w.wrongWidth(fmt.Sprint(width))
	}
	if err := w.flush(); err != nil || n == 0 {
		return err
	}
	w.rows += n
	return w.to.Rows(w.dtype, width, n, values)
}

func (w *rowWriter) flush() error {
	if w.whole == 0 {
		return nil
	}
	err := w.to.Rows(w.dtype, w.width, w.whole/(w.width*w.dtype.Size()), w.values[:w.whole])
	w.values = append(w.values[:0], w.values[w.whole:]...)
	w.whole = 0
	return err
}

func (w *rowWriter) wrongWidth(values string) error {
	return w.errorf("one model makes all rows: make the vectors again", "%s values; the first row has %d", values, w.width)
}

// errorf is an error at the row that is not whole yet.
func (w *rowWriter) errorf(hint, format string, args ...any) error {
	e := dataset.FileError(w.path, hint, format, args...)
	if e.Line = w.line; e.Line == 0 {
		e.Row = w.rows
	}
	return e
}

// find finds a column that holds vectors, or what ReadTexts reads. Two columns of the name are an error: which one is meant, nothing says.
func find(path string, columns []Column, name string, vectors bool) (Column, error) {
	named := 0
	for _, c := range columns {
		if c.Name == name {
			named++
		}
	}
	if named > 1 {
		return Column{}, dataset.FileError(path, "write the file again with names that differ", "%d columns have the name %s", named, excerpt.Quote(name))
	}
	i := slices.IndexFunc(columns, func(c Column) bool {
		return c.Name == name && c.Kind != Other && (c.Kind == Vectors) == vectors
	})
	if i >= 0 {
		return columns[i], nil
	}
	what := "texts"
	if vectors {
		what = "vectors"
	}
	return Column{}, dataset.FileError(path, "name another in vectors.json", "there is no column %s of %s", excerpt.Quote(name), what)
}

// texts are those of a row of a column. Their memory is used again for the next row.
type texts [][]byte

// add adds a text, which appendTo appends to the memory that it is given.
func (x *texts) add(appendTo func(memory []byte) []byte) {
	n := len(*x)
	if n == cap(*x) {
		*x = append(*x, []byte{})
	}
	*x = (*x)[:n+1]
	(*x)[n] = appendTo((*x)[n][:0])
}

// errEnough ends ReadTexts before the last row.
var errEnough = errors.New("the rows that were wanted have been read")

// ReadRows reads columns of texts side by side, from the first row to the last, until f fails. The first is that of the ids,
// which each row has; of the others, an empty name gives no text. A text that is not UTF-8 is an error. The texts are valid only
// during the call.
func ReadRows(t Table, path string, columns []string, f func(line int, texts [][]byte) error) error {
	texts := make([][]byte, len(columns))
	row := 0
	return ReadLists(t, path, columns, func(line int, lists [][][]byte) error {
		for i, list := range lists {
			if texts[i] = nil; len(list) > 0 {
				texts[i] = list[0]
			}
			if !utf8.Valid(texts[i]) {
				return rowError(path, line, row, "write the texts as UTF-8", "column %s: not UTF-8: %.80q", excerpt.Quote(columns[i]), texts[i])
			}
		}
		if texts[0] == nil {
			return rowError(path, line, row, "give each row an id", "there is no id")
		}
		row++
		return f(line, texts)
	})
}

// ReadLists reads what ReadTexts gives of columns side by side, from the first row to the last, until f fails. But for the
// first, an empty name gives no texts. The texts are valid only during the call.
func ReadLists(t Table, path string, columns []string, f func(line int, lists [][][]byte) error) error {
	lists := make([][][]byte, len(columns))
	errs := make([]error, len(columns))
	next := make([]func() ([][]byte, bool), len(columns))
	for i, column := range columns[1:] {
		if column != "" {
			pull, stop := iter.Pull(each(t, column, &errs[i+1]))
			defer stop()
			next[i+1] = pull
		}
	}
	row := 0
	return t.ReadTexts(columns[0], func(line int, first [][]byte) error {
		lists[0] = first
		for i := range columns {
			if next[i] == nil {
				continue
			}
			list, ok := next[i]()
			if !ok {
				return cmp.Or(errs[i], error(dataset.FileError(path, "write or copy the file again", "column %s has %d rows; column %s has more", excerpt.Quote(columns[i]), row, excerpt.Quote(columns[0]))))
			}
			lists[i] = list
		}
		row++
		return f(line, lists)
	})
}

// each is a column of texts. *err is set where it cannot be read to the end.
func each(t Table, column string, err *error) iter.Seq[[][]byte] {
	return func(yield func([][]byte) bool) {
		*err = t.ReadTexts(column, func(_ int, texts [][]byte) error {
			if !yield(texts) {
				return errEnough
			}
			return nil
		})
	}
}

// rowError is an error about a row, or a line where the file has lines.
func rowError(path string, line, row int, hint, format string, args ...any) error {
	e := dataset.FileError(path, hint, format, args...)
	if e.Line = line; line == 0 {
		e.Row = row
	}
	return e
}

// asError gives a library's error the file's name.
func asError(path, what string, err error) error {
	if e := (*dataset.Error)(nil); err == nil || errors.As(err, &e) {
		return err
	}
	return &dataset.Error{Path: path, Row: -1, Problem: what + ": " + excerpt.Text(err.Error()), Hint: "write or copy the file again", Err: err}
}
