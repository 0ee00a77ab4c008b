package export

import (
	"fmt"
	"io"
	"reflect"

	"github.com/parquet-go/parquet-go"
)

// groupRows is how many rows a group of a Parquet file has: as many are in memory.
const groupRows = 10_000

// table writes members as rows of a Parquet file. The first row has its columns: a text is a column of optional strings,
// and so is nil.
type table struct {
	to     io.Writer
	row    reflect.Type
	writer *parquet.GenericWriter[any] // nil before the first row
}

// write writes a row.
func (t *table) write(members []member) error {
	if t.writer == nil {
		var fields []reflect.StructField
		for i, m := range members {
			kind, tag := columnOf(m.value)
			fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: kind, Tag: reflect.StructTag(fmt.Sprintf("parquet:%q", m.name+tag))})
		}
		t.row = reflect.StructOf(fields)
		t.writer = parquet.NewGenericWriter[any](t.to, parquet.SchemaOf(reflect.New(t.row).Interface()), parquet.Compression(&parquet.Snappy),
			parquet.MaxRowsPerRowGroup(groupRows), parquet.CreatedBy("quarry", "", ""))
	}
	row := reflect.New(t.row).Elem()
	for i, m := range members {
		switch value := m.value.(type) {
		case nil:
		case string:
			row.Field(i).Set(reflect.ValueOf(&value))
		default:
			row.Field(i).Set(reflect.ValueOf(value))
		}
	}
	_, err := t.writer.Write([]any{row.Interface()})
	return err
}

// columnOf is how a member's values are held, and the rest of the tag of their column.
func columnOf(value any) (kind reflect.Type, tag string) {
	switch value.(type) {
	case nil, string:
		return reflect.TypeFor[*string](), ",optional"
	case []string, []float64, []int:
		return reflect.TypeOf(value), ",list"
	}
	return reflect.TypeOf(value), ""
}

// close ends the file. One without rows has no columns, and is an error.
func (t *table) close() error {
	if t.writer == nil {
		return errNoRows
	}
	return t.writer.Close()
}
