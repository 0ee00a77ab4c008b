package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/flat"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// parquetFile is a Parquet file. A column of vectors is one of lists, which have one leaf column of numbers.
type parquetFile struct {
	path    string
	file    *flat.File
	parquet *parquet.File
	columns []Column
	leaves  map[string]*parquet.Column // by the column's name
}

func openParquet(fsys fs.FS, name, path string) (_ Table, err error) {
	file, err := flat.OpenFile(fsys, name, path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	if err := checkFooter(file, path); err != nil {
		return nil, err
	}
	p := &parquetFile{path: path, file: file, leaves: map[string]*parquet.Column{}}
	p.parquet, err = parquet.OpenFile(file, file.Bytes, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(64<<10))
	if err != nil {
		return nil, asError(path, "not a whole Parquet file", err)
	}
	for _, c := range p.parquet.Root().Columns() {
		leaf := c
		for !leaf.Leaf() && len(leaf.Columns()) == 1 {
			leaf = leaf.Columns()[0]
		}
		column := Column{Name: c.Name(), Type: "a group of columns"}
		const listDepth = 3 // of the values of a list: the column, its rows' lists, their elements
		if leaf.Leaf() && len(leaf.Path()) <= listDepth {
			column.setKind(leaf, leaf == c, p.isHalf(leaf))
		}
		p.columns = append(p.columns, column)
		p.leaves[c.Name()] = leaf
	}
	return p, nil
}

// isHalf tells whether the values of a leaf are float16, which parquet-go's types do not tell from other values of two bytes.
func (p *parquetFile) isHalf(leaf *parquet.Column) bool {
	n := -1
	for _, e := range p.parquet.Metadata().Schema {
		if e.Type.Valid { // a leaf
			n++
		}
		if n == leaf.Index() {
			_, half := e.LogicalType.Value.(*format.Float16Type)
			return half
		}
	}
	return false
}

// logicalOf is what a type says of its values beyond how they are stored; nil where it says nothing.
func logicalOf(t parquet.Type) format.LogicalTypeValue {
	if l := t.LogicalType(); l != nil {
		return l.Value
	}
	return nil
}

// isText tells whether the values of a type are texts: bytes that are not said to be anything else, too.
func isText(t parquet.Type) bool {
	switch logicalOf(t).(type) {
	case nil, *format.StringType, *format.EnumType, *format.JsonType:
		return t.Kind() == parquet.ByteArray
	}
	return t.Kind() == parquet.NullType.Kind()
}

// setKind tells what a column holds whose values lie in a leaf. flat says that the column is the leaf; half that its values are float16.
func (c *Column) setKind(leaf *parquet.Column, flat, half bool) {
	of := leaf.Type()
	c.Type = of.String()
	if leaf.MaxRepetitionLevel() > 0 {
		c.Type = "lists of " + c.Type
	}
	kind := of.Kind()
	_, whole := logicalOf(of).(*format.IntType)
	switch levels := leaf.MaxRepetitionLevel(); {
	case levels == 0 && flat && isText(of):
		c.Kind = Texts
	case levels == 0 && flat && whole:
		c.Kind = Numbers
	case levels != 1:
	case isText(of):
		c.Kind = Lists
	case kind == parquet.Float:
		c.Kind, c.DType = Vectors, safetensors.F32
	case kind == parquet.Double:
		c.Kind, c.DType = Vectors, safetensors.F64
	case kind == parquet.FixedLenByteArray && of.Length() == 2 && half:
		c.Kind, c.DType = Vectors, safetensors.F16
	}
}

// checkFooter fails where a file does not end as Parquet does, or its footer is longer than the file.
func checkFooter(file *flat.File, path string) error {
	const least = 12
	end := make([]byte, min(file.Bytes, 8))
	if _, err := file.ReadAt(end, file.Bytes-int64(len(end))); err != nil && err != io.EOF {
		return dataset.ReadError(path, err)
	}
	switch {
	case file.Bytes < least || string(end[4:]) != "PAR1":
		return dataset.FileError(path, "write or copy the file again", "cut off: it has %d bytes, and does not end as a Parquet file does", file.Bytes)
	case int64(binary.LittleEndian.Uint32(end)) > file.Bytes-least:
		return dataset.FileError(path, "write or copy the file again", "not a Parquet file: its footer of %d bytes is longer than the file", binary.LittleEndian.Uint32(end))
	}
	return nil
}

func (p *parquetFile) Columns() []Column { return p.columns }
func (p *parquetFile) Close() error      { return p.file.Close() }

// unsound is a library's error about a column.
func (p *parquetFile) unsound(leaf *parquet.Column, err error) error {
	return asError(p.path, "column "+strconv.Quote(leaf.Path()[0]), err)
}

// codecs are the compressions that are read. LZ4 is not: parquet-go 0.32 uncompresses a page into new memory where three times its
// compressed size is more than there is, and then keeps the memory from before, which has other values (its issue 608).
var codecs = []format.CompressionCodec{format.Uncompressed, format.Snappy, format.Gzip, format.Brotli, format.Zstd}

// checkCodecs fails where a piece of a column is compressed as none is that is read.
func (p *parquetFile) checkCodecs(leaf *parquet.Column) error {
	for _, group := range p.parquet.Metadata().RowGroups {
		if codec := group.Columns[leaf.Index()].MetaData.Codec; !slices.Contains(codecs, codec) {
			return dataset.FileError(p.path, "write it again with compression='zstd'", "column %s is compressed with %s, which is not read", excerpt.Quote(leaf.Path()[0]), codec)
		}
	}
	return nil
}

// eachPage calls f for each page of a column.
func (p *parquetFile) eachPage(leaf *parquet.Column, f func(parquet.Page) error) error {
	if err := p.checkCodecs(leaf); err != nil {
		return err
	}
	for _, group := range p.parquet.RowGroups() {
		pages := group.ColumnChunks()[leaf.Index()].Pages()
		for {
			page, err := pages.ReadPage()
			if err == io.EOF {
				break
			}
			if err != nil {
				return errors.Join(p.unsound(leaf, err), pages.Close())
			}
			err = f(page)
			parquet.Release(page)
			if err != nil {
				return errors.Join(err, pages.Close())
			}
		}
		if err := pages.Close(); err != nil {
			return p.unsound(leaf, err)
		}
	}
	return nil
}

func (p *parquetFile) ReadVectors(column string, to To) (err error) {
	defer guard(p.path, &err)
	c, err := find(p.path, p.columns, column, true)
	if err != nil {
		return err
	}
	leaf := p.leaves[column]
	w := &rowWriter{path: p.path, dtype: c.DType, to: to}
	begun := false // a row
	var found []byte
	err = p.eachPage(leaf, func(page parquet.Page) error {
		repetitions, definitions := page.RepetitionLevels(), page.DefinitionLevels()
		if err := p.checkNulls(w, leaf, repetitions, definitions); err != nil {
			return err
		}
		values := valuesOf(page, w.dtype.Size(), &found)
		if len(values) != len(repetitions)*w.dtype.Size() {
			return dataset.FileError(p.path, "write or copy the file again", "a page has %d bytes of values, and %d values", len(values), len(repetitions))
		}
		for at := 0; at < len(repetitions); {
			if repetitions[at] == 0 {
				if begun {
					if err := w.end(); err != nil {
						return err
					}
				}
				begun = true
			}
			next := bytes.IndexByte(repetitions[at+1:], 0)
			end := at + 1 + next
			if next < 0 {
				end = len(repetitions)
			}
			if err := w.add(values[at*w.dtype.Size() : end*w.dtype.Size()]); err != nil {
				return err
			}
			at = end
		}
		return nil
	})
	if err != nil {
		return err
	}
	if begun {
		if err := w.end(); err != nil {
			return err
		}
	}
	if err := p.checkRows(column, w.rows); err != nil {
		return err
	}
	return w.flush()
}

// checkRows fails where a column has not the rows that the file is said to have.
func (p *parquetFile) checkRows(column string, rows int) error {
	if int64(rows) != p.parquet.NumRows() {
		return dataset.FileError(p.path, "write or copy the file again", "%d rows of column %s; the file is said to have %d", rows, excerpt.Quote(column), p.parquet.NumRows())
	}
	return nil
}

// checkNulls fails where a vector, or a value of one, is not there.
func (p *parquetFile) checkNulls(w *rowWriter, leaf *parquet.Column, repetitions, definitions []byte) error {
	most := byte(leaf.MaxDefinitionLevel())
	if bytes.Count(definitions, []byte{most}) == len(definitions) {
		return nil
	}
	missing := *w
	for i, level := range definitions {
		if i < len(repetitions) && repetitions[i] == 0 {
			missing.rows++
		}
		if level != most {
			break
		}
	}
	if len(w.values) == w.whole { // no row was begun before
		missing.rows--
	}
	return missing.errorf("make the vectors again", "the vector, or a value of it, is null or empty")
}

// valuesOf is the values of a page, little endian. Those of a dictionary are looked up, into a buffer that is used again.
func valuesOf(page parquet.Page, size int, found *[]byte) []byte {
	data := page.Data()
	values, _ := data.Data()
	if page.Dictionary() == nil {
		return values
	}
	all := page.Dictionary().Page().Data()
	entries, _ := all.Data()
	*found = (*found)[:0]
	for _, i := range data.Int32() {
		*found = append(*found, entries[int(i)*size:(int(i)+1)*size]...)
	}
	return *found
}

func (p *parquetFile) ReadTexts(column string, f func(line int, texts [][]byte) error) (err error) {
	defer guard(p.path, &err)
	if _, err := find(p.path, p.columns, column, false); err != nil {
		return err
	}
	leaf := p.leaves[column]
	whole, _ := logicalOf(leaf.Type()).(*format.IntType)
	unsigned := whole != nil && !whole.IsSigned
	values := make([]parquet.Value, 512)
	var row texts // the last that was begun
	rows := 0
	err = p.eachPage(leaf, func(page parquet.Page) error {
		for from := page.Values(); ; {
			n, err := from.ReadValues(values)
			for _, v := range values[:n] {
				if v.RepetitionLevel() == 0 || rows == 0 {
					if rows > 0 {
						if err := f(0, row); err != nil {
							return err
						}
					}
					rows++
					row = row[:0]
				}
				if !v.IsNull() {
					row.add(func(memory []byte) []byte { return appendValue(memory, v, unsigned) })
				}
			}
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return p.unsound(leaf, err)
			}
		}
	})
	if err == nil {
		err = p.checkRows(column, rows)
	}
	if err != nil || rows == 0 {
		return err
	}
	return f(0, row)
}

// appendValue appends a text, or a number in decimal.
func appendValue(text []byte, v parquet.Value, unsigned bool) []byte {
	switch {
	case v.Kind() == parquet.ByteArray:
		return append(text, v.ByteArray()...)
	case v.Kind() == parquet.Int32 && unsigned:
		return strconv.AppendUint(text, uint64(v.Uint32()), 10)
	case v.Kind() == parquet.Int32:
		return strconv.AppendInt(text, int64(v.Int32()), 10)
	case unsigned:
		return strconv.AppendUint(text, v.Uint64(), 10)
	}
	return strconv.AppendInt(text, v.Int64(), 10)
}
