package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// folderOf is a data folder of seven documents and queries. Each side of model a is a file that pyarrow or json wrote, of the testdata of
// package vectors.
func folderOf(t *testing.T, docs, queries string) fstest.MapFS {
	t.Helper()
	folder := fstest.MapFS{"qrels/train.tsv": {Data: []byte("d0\td1\t1\n")}}
	for i := range 7 {
		id := fmt.Sprintf("d%d", i)
		for _, name := range []string{"docs.ids", "queries.ids"} {
			if folder[name] == nil {
				folder[name] = &fstest.MapFile{}
			}
			folder[name].Data = append(folder[name].Data, id+"\n"...)
		}
	}
	for side, file := range map[string]string{"docs": docs, "queries": queries} {
		b, err := os.ReadFile("../dataset/vectors/testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		folder["vectors/a/"+side+path.Ext(file)] = &fstest.MapFile{Data: b}
	}
	return folder
}

// TestTables reads the vectors of tables to their end, and converts none: there is no folder for temporary files.
func TestTables(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/none")
	var told []string
	i, err := In(t.Context(), folderOf(t, "parquet/list.parquet", "jsonl/json.jsonl"), "data", ".", func(stage string, done, total int64) {
		told = append(told, fmt.Sprintf("%s %d/%d", stage, done, total))
	})
	if err != nil || i.Kind != "data" || len(i.Problems) > 0 {
		t.Errorf("%v, %v", i, err)
	}
	if want := []string{"check data/vectors/a/docs.parquet 7/7", "check data/vectors/a/queries.jsonl 7/7"}; !slices.Equal(told, want) {
		t.Errorf("told %q; expected %q", told, want)
	}
	for file, says := range map[string]string{
		"parquet/missing.parquet": `docs.parquet: no row has the id "d5" of data/docs.ids`,
		"parquet/twice.parquet":   `docs.parquet, row 7 (the first is 0): id "d2" is given twice, first in row 2`,
		"parquet/null.parquet":    "docs.parquet, row 1 (the first is 0): the vector, or a value of it, is null or empty",
		"parquet/ragged.parquet":  "docs.parquet, row 1 (the first is 0): 1 values; the first row has 2",
		"arrow/null.arrow":        "docs.arrow, row 1 (the first is 0): the vector is null",
	} {
		i, err := In(t.Context(), folderOf(t, file, "jsonl/json.jsonl"), "data", ".", nil)
		if err != nil || len(i.Problems) != 1 || !strings.HasPrefix(i.Problems[0], "data/vectors/a/"+says) || !strings.Contains(i.Problems[0], "\n  hint: ") {
			t.Errorf("%s: %v, %v; expected %q", file, i, err, says)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := In(stopped, folderOf(t, "parquet/list.parquet", "jsonl/json.jsonl"), "data", ".", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
