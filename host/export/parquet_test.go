package export_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/quarry-hn/quarry/host/export"
)

// withColumns are the formats that may be Parquet.
var withColumns = []string{"triplet", "n-tuple", "labeled-pair", "labeled-list", "flagembedding"}

// TestParquet writes rows as JSON and as Parquet: their columns, in their order, and what is in them are the same.
func TestParquet(t *testing.T) {
	for _, name := range withColumns {
		for _, scores := range []bool{false, true} {
			o := export.Options{Format: name, Scores: scores, Short: "keep", Separator: " "}
			var lines, file bytes.Buffer
			if _, err := export.Write(data(t), twoQueries(), o, &lines); err != nil {
				t.Fatal(err)
			}
			o.Parquet = true
			written, err := export.Write(data(t), twoQueries(), o, &file)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := parquet.Read[any](bytes.NewReader(file.Bytes()), int64(file.Len()))
			if err != nil || len(rows) != written.Lines {
				t.Fatalf("%s: %d rows of %d, %v", name, len(rows), written.Lines, err)
			}
			i := 0
			for line := range strings.Lines(lines.String()) {
				if got, want := asJSON(t, rows[i]), asJSON(t, json.RawMessage(line)); !reflect.DeepEqual(got, want) {
					t.Errorf("%s, row %d: %v; expected %v", name, i, got, want)
				}
				i++
			}
			f, err := parquet.OpenFile(bytes.NewReader(file.Bytes()), int64(file.Len()))
			if err != nil {
				t.Fatal(err)
			}
			var columns []string
			for _, c := range f.Root().Columns() {
				columns = append(columns, c.Name())
			}
			at := func(column string) int { return strings.Index(lines.String(), `"`+column+`":`) }
			if !slices.IsSortedFunc(columns, func(a, b string) int { return at(a) - at(b) }) {
				t.Errorf("%s: the columns are %v", name, columns)
			}
		}
	}
	if _, err := export.Write(nil, nil, export.Options{IDs: true, Parquet: true}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "needs a row") {
		t.Errorf("no rows: %v", err)
	}
}

// asJSON is what JSON makes of a value.
func asJSON(t *testing.T, value any) (made any) {
	t.Helper()
	b, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(b, &made)
	}
	if err != nil {
		t.Fatal(err)
	}
	return made
}
