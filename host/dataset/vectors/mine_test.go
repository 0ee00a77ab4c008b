package vectors_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
	"github.com/quarry-hn/quarry/host/dataset/vectors"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// TestOneTable has ids, titles, texts and the vectors of two models in one table, and nothing else but judgements.
func TestOneTable(t *testing.T) {
	for _, ending := range []string{".parquet", ".arrows"} {
		b, err := os.ReadFile("testdata/shared/docs" + ending)
		if err != nil {
			t.Fatal(err)
		}
		data, err := beir.OpenFS(fstest.MapFS{"vectors/docs" + ending: {Data: b}, "vectors/queries" + ending: {Data: b}, "qrels/train.tsv": {Data: []byte("d0\td3\t1\n")}}, "data")
		if err != nil {
			t.Fatal(err)
		}
		texts, err := data.Documents.Texts.OfIDs(map[string]bool{"d2": true, "d6": true, "x": true})
		if want := (map[string]dataset.Text{"d2": {ID: "d2", Title: "A", Text: "text of d2"}, "d6": {ID: "d6", Text: "text of d6"}}); err != nil || !maps.Equal(texts, want) {
			t.Errorf("%s: texts %v, %v; expected %v", ending, texts, err, want)
		}
		if rows, err := data.Queries.Rows(map[string]bool{"d5": true, "d3": true}); err != nil || !maps.Equal(rows, map[string]int{"d5": 0, "d3": 6}) {
			t.Errorf("%s: rows %v, %v", ending, rows, err)
		}
		for model, dtype := range map[string]safetensors.DType{"m": safetensors.F16, "n": safetensors.F64} {
			m, err := data.Vectors(model)
			if err != nil || m.Documents.Rows() != 7 || m.Queries.DType() != dtype {
				t.Errorf("%s: model %s: %v, %v", ending, model, m, err)
			}
		}
		first := make([]byte, 4*8) // of d5, whose first value is 11/8
		if m, err := data.Vectors("n"); err != nil || m.Documents.ReadRows(first, 0, 1) != nil || math.Float64frombits(binary.LittleEndian.Uint64(first)) != 11.0/8 {
			t.Errorf("%s: the first row is %v, %v", ending, first, err)
		}
		if err := data.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOneTableMessages has tables whose ids or texts cannot be read: they are not taken for tables that have none.
func TestOneTableMessages(t *testing.T) {
	open := func(docs ...string) (*dataset.Dataset, error) {
		data := []byte(strings.Join(docs, "\n"))
		return beir.OpenFS(fstest.MapFS{"vectors/docs.jsonl": {Data: data}, "vectors/queries.jsonl": {Data: data}, "qrels/train.tsv": {Data: []byte("d0\td0\t1\n")}}, "data")
	}
	for _, row := range []struct {
		docs []string
		line int
		says string
	}{
		{[]string{`{"id": "d0", "text": "x", "m": [1]}`, `{"text": "y", "m": [1]}`}, 2, "there is no id"},
		{[]string{`{"_id": {}, "id": "d0", "text": "x", "m": [1]}`}, 0, `column "_id" is of type an object, which is not read as ids`},
		{[]string{`{"id": "d0", "text": "x", "m": [1]}`, `{"id": "d1", "title": "t", "text": "x", "m": [1]}`}, 2, `it has a column "title", and the rows before have none`},
	} {
		_, err := open(row.docs...)
		if e := datasettest.AsError(t, err, "data/vectors/docs.jsonl"); e.Line != row.line || e.Problem != row.says || e.Hint == "" {
			t.Errorf("%v; expected line %d: %s", err, row.line, row.says)
		}
	}
	for docs, says := range map[string]string{
		`{"id": "d0", "text": ["x"], "m": [1]}`:                 `column "text" is of type an array, which is not read as texts`,
		`{"id": "d0", "text": "x", "title": true, "m": [1]}`:    `column "title" is of type true or false, which is not read as texts`,
		`{"id": "d0", "body": "x", "title": "title", "m": [1]}`: "there are no texts, only ids",
	} {
		data, err := open(docs)
		if err != nil {
			t.Fatal(err)
		}
		_, err = data.Documents.Texts.OfIDs(map[string]bool{"d0": true})
		if e := datasettest.AsError(t, err, "data/vectors/docs.jsonl"); e.Problem != says || e.Hint == "" {
			t.Errorf("%v; expected %s", err, says)
		}
		if err := data.Close(); err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile("testdata/ids/dictionary.arrows")
	if err != nil {
		t.Fatal(err)
	}
	data, err := beir.OpenFS(fstest.MapFS{"vectors/docs.arrows": {Data: b}, "vectors/queries.arrows": {Data: b}, "qrels/train.tsv": {Data: []byte("d0\td3\t1\n")}}, "data")
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	if texts, err := data.Documents.Texts.OfIDs(map[string]bool{"d2": true}); err != nil || texts["d2"].Text != "text of d2" {
		t.Errorf("texts of a dictionary: %v, %v", texts, err)
	}
}

// TestSameNegatives mines the matrix of testdata from every file that holds it: the negatives are the same bytes in every format.
func TestSameNegatives(t *testing.T) {
	native, err := engine.LoadNative(t.Context(), engine.WasmOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer native.Close(t.Context())
	mine := func(folder fstest.MapFS) []byte {
		data, err := beir.OpenFS(folder, "data")
		if err != nil {
			t.Fatal(err)
		}
		defer data.Close()
		p, err := host.Fit(t.Context(), data, host.FitOptions{NoCenter: true, Variance: 1, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		o := host.MineOptions{}
		o.Engine, o.Threads = native, 1
		result, err := host.Mine(t.Context(), data, p, o)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := result.WriteNegatives(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	var first []byte
	for name, folder := range vectors.MinedFolders(t) {
		folder["docs.ids"] = &fstest.MapFile{Data: []byte("d0\nd1\nd2\nd3\nd4\nd5\nd6\n")}
		folder["queries.ids"] = folder["docs.ids"]
		folder["qrels/train.tsv"] = &fstest.MapFile{Data: []byte("d0\td3\t1\nd1\td5\t1\nd6\td2\t1\n")}
		got := mine(folder)
		if first == nil {
			first = got
			if n := bytes.Count(got, []byte(`"rank"`)); n < 3 {
				t.Fatalf("%s: %d negatives: %s", name, n, got)
			}
		}
		if !bytes.Equal(got, first) {
			t.Errorf("%s: %s; expected %s", name, got, first)
		}
	}
}
