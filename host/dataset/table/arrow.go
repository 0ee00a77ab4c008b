package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/flat"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// arrowFile is a file of Arrow's IPC format, or a stream of it.
type arrowFile struct {
	path    string
	file    *flat.File
	stream  bool
	columns []Column
}

// How an Arrow file begins, and how a stream ends.
const arrowMagic, endOfStream = "ARROW1", "\xff\xff\xff\xff\x00\x00\x00\x00"

func openArrow(fsys fs.FS, name, path string) (_ Table, err error) {
	file, err := flat.OpenFile(fsys, name, path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	begin, end := make([]byte, min(file.Bytes, 8)), make([]byte, min(file.Bytes, 8))
	_, err1 := file.ReadAt(begin, 0)
	_, err2 := file.ReadAt(end, file.Bytes-int64(len(end)))
	if err := errors.Join(notEOF(err1), notEOF(err2)); err != nil {
		return nil, dataset.ReadError(path, err)
	}
	a := &arrowFile{path: path, file: file, stream: !bytes.HasPrefix(begin, []byte(arrowMagic))}
	if !a.stream && !bytes.HasSuffix(end, []byte(arrowMagic)) || a.stream && string(end) != endOfStream {
		return nil, dataset.FileError(path, "write or copy the file again", "cut off: it has %d bytes, and does not end as an Arrow file does", file.Bytes)
	}
	if err := a.checkSchema(); err != nil {
		return nil, err
	}
	err = a.open(func(schema *arrow.Schema, _ func() (arrow.RecordBatch, error)) error {
		for _, f := range schema.Fields() {
			a.columns = append(a.columns, columnOf(f))
		}
		return nil
	})
	return a, err
}

func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// columnOf tells what a field holds.
func columnOf(f arrow.Field) Column {
	c := Column{Name: f.Name, Type: f.Type.String()}
	var elements arrow.DataType
	switch t := f.Type.(type) {
	case *arrow.StringType, *arrow.LargeStringType, *arrow.StringViewType, *arrow.NullType:
		c.Kind = Texts
		return c
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type, *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type, *arrow.Uint64Type:
		c.Kind = Numbers
		return c
	case *arrow.DictionaryType: // pandas' categories
		if of := columnOf(arrow.Field{Type: t.ValueType}); of.IsID() {
			c.Kind = of.Kind
		}
		return c
	case *arrow.FixedSizeListType:
		elements = t.Elem()
	case *arrow.ListType:
		elements = t.Elem()
	case *arrow.LargeListType:
		elements = t.Elem()
	default:
		return c
	}
	switch elements.ID() {
	case arrow.FLOAT16:
		c.Kind, c.DType = Vectors, safetensors.F16
	case arrow.FLOAT32:
		c.Kind, c.DType = Vectors, safetensors.F32
	case arrow.FLOAT64:
		c.Kind, c.DType = Vectors, safetensors.F64
	case arrow.STRING, arrow.LARGE_STRING, arrow.STRING_VIEW, arrow.NULL:
		c.Kind = Lists
	}
	return c
}

// open calls f with the file's schema, and with what gives its batches, until io.EOF.
func (a *arrowFile) open(f func(schema *arrow.Schema, next func() (arrow.RecordBatch, error)) error) (err error) {
	defer guard(a.path, &err)
	section := io.NewSectionReader(a.file, 0, a.file.Bytes)
	limits := []ipc.Option{ipc.WithBodySizeLimit(a.file.Bytes), ipc.WithMetadataSizeLimit(a.file.Bytes),
		ipc.WithAllocator(bounded{memory.DefaultAllocator, 1<<20 + 1000*a.file.Bytes})}
	if a.stream {
		r, err := ipc.NewReader(section, limits...)
		if err != nil {
			return asError(a.path, "not a whole Arrow stream", err)
		}
		defer r.Release()
		return f(r.Schema(), r.Read)
	}
	r, err := ipc.NewFileReader(section, limits...)
	if err != nil {
		return asError(a.path, "not a whole Arrow file", err)
	}
	batch := 0
	err = f(r.Schema(), func() (arrow.RecordBatch, error) {
		if batch++; batch > r.NumRecords() {
			return nil, io.EOF
		}
		return r.RecordBatch(batch - 1)
	})
	return errors.Join(err, r.Close())
}

// bounded is memory for arrow-go, up to so many bytes at a time: a compressed file says how long its values are, and Go cannot go on where
// it asked for more memory than there is. The panic comes back as an error, see guard.
type bounded struct {
	memory.Allocator
	most int64
}

func (b bounded) Allocate(size int) []byte {
	b.check(size)
	return b.Allocator.Allocate(size)
}

func (b bounded) Reallocate(size int, old []byte) []byte {
	b.check(size)
	return b.Allocator.Reallocate(size, old)
}

func (b bounded) check(size int) {
	if int64(size) > b.most {
		panic(fmt.Sprintf("it asks for %d bytes of values", size))
	}
}

// eachBatch calls f with a column of each batch.
func (a *arrowFile) eachBatch(column string, f func(arrow.Array) error) error {
	return a.open(func(schema *arrow.Schema, next func() (arrow.RecordBatch, error)) error {
		at := schema.FieldIndices(column)[0]
		for {
			batch, err := next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return asError(a.path, "not a whole Arrow file", err)
			}
			if err := f(batch.Column(at)); err != nil {
				return err
			}
		}
	})
}

func (a *arrowFile) Columns() []Column { return a.columns }
func (a *arrowFile) Close() error      { return a.file.Close() }

func (a *arrowFile) ReadVectors(column string, to To) error {
	c, err := find(a.path, a.columns, column, true)
	if err != nil {
		return err
	}
	w := &rowWriter{path: a.path, dtype: c.DType, to: to}
	err = a.eachBatch(column, func(lists arrow.Array) error { return addLists(w, lists) })
	if err != nil {
		return err
	}
	return w.flush()
}

// valuesIn are the values of a column, one after the other, and which of them a row has: one, or, of lists, those from begin to
// end, which may be any numbers.
func valuesIn(column arrow.Array) (values arrow.Array, bounds func(row int) (begin, end int64)) {
	if lists, ok := column.(array.ListLike); ok {
		return lists.ListValues(), lists.ValueOffsets
	}
	return column, func(row int) (int64, int64) { return int64(row), int64(row) + 1 }
}

// addLists adds the rows of a column of lists. The lengths that a file gives are checked before they are used.
func addLists(w *rowWriter, lists arrow.Array) error {
	values, bounds := valuesIn(lists)
	fixed := 0
	if t, ok := lists.DataType().(*arrow.FixedSizeListType); ok {
		fixed = int(t.Len())
	}
	size := int64(w.dtype.Size())
	begin := int64(values.Data().Offset()) * size
	var b []byte
	if buffers := values.Data().Buffers(); len(buffers) > 1 && buffers[1] != nil {
		b = buffers[1].Bytes()
	}
	for i := range lists.Len() {
		if lists.IsNull(i) {
			return w.errorf("make the vectors again", "the vector is null")
		}
		first, end := bounds(i)
		if first < 0 || end < first || end > int64(values.Len()) || begin+end*size > int64(len(b)) {
			return w.errorf("write or copy the file again", "values %d to %d; the batch has %d", first, end, values.Len())
		}
		if values.NullN() > 0 {
			for v := first; v < end; v++ {
				if values.IsNull(int(v)) {
					return w.errorf("make the vectors again", "value %d of the vector is null", v-first)
				}
			}
		} else if fixed > 0 && i == 0 && lists.NullN() == 0 && begin+(first+int64(lists.Len())*int64(fixed))*size <= int64(len(b)) {
			return w.many(fixed, lists.Len(), b[begin+first*size:][:int64(lists.Len())*int64(fixed)*size])
		}
		if err := w.add(b[begin+first*size : begin+end*size]); err != nil {
			return err
		}
		if err := w.end(); err != nil {
			return err
		}
	}
	return nil
}

func (a *arrowFile) ReadTexts(column string, f func(line int, texts [][]byte) error) error {
	if _, err := find(a.path, a.columns, column, false); err != nil {
		return err
	}
	var row texts
	return a.eachBatch(column, func(of arrow.Array) error {
		values, bounds := valuesIn(of)
		for i := range of.Len() {
			row = row[:0]
			begin, end := bounds(i)
			if of.IsNull(i) || values.DataType().ID() == arrow.NULL { // of that type, no length need be true
				end = begin
			}
			if begin < 0 || end < begin || end > int64(values.Len()) {
				return dataset.FileError(a.path, "write or copy the file again", "a row of column %s has values %d to %d; the batch has %d", excerpt.Quote(column), begin, end, values.Len())
			}
			for v := int(begin); v < int(end); v++ {
				if of, at, ok := entryOf(values, v); ok {
					row.add(func(memory []byte) []byte { return append(memory, of.ValueStr(at)...) })
				}
			}
			if err := f(0, row); err != nil {
				return err
			}
		}
		return nil
	})
}

// entryOf is where a value lies, which is in the dictionary where the column has one. ok is false where it is null.
func entryOf(values arrow.Array, i int) (of arrow.Array, at int, ok bool) {
	if values.IsNull(i) {
		return nil, 0, false
	}
	if d, is := values.(*array.Dictionary); is {
		return entryOf(d.Dictionary(), d.GetValueIndex(i))
	}
	return values, i, true
}
