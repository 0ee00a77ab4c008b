package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// vector is a vector as pgvector sends it.
func vector(values ...float32) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	b = append(b, 0, 0)
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// halves is a halfvec as pgvector sends it, of the bits of its values.
func halves(bits ...uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(bits)))
	b = append(b, 0, 0)
	for _, v := range bits {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

// shop is a database that can be imported. Each test has its own.
func shop() tables {
	return tables{
		"documents": {columns: [][2]string{{"price", "integer"}, {"id", "integer"}, {"text", "text"}, {"title", "text"}, {"small", "vector"}, {"half", "halfvec"}},
			rows: [][]any{ // id, title, text, half, small
				{"1", "one", "the <first>\n", halves(0x3c00, 0xc000), vector(1, -2.5, 3)},
				{"10", "", "tenth", halves(0x3c00, 0x0001), vector(0, 1e-40, 3)},
				{"é", "", "", halves(0, 0), vector(4, 5, 6)},
			}},
		"queries": {columns: [][2]string{{"id", "text"}, {"small", "vector"}, {"half", "halfvec"}},
			rows: [][]any{{"q1", halves(0x3c00, 0x3c00), vector(7, 8, 9)}}},
		"judgements": {columns: [][2]string{{"query_id", "text"}, {"document_id", "integer"}, {"score", "integer"}, {"split", "text"}},
			rows: [][]any{{"test", "q1", "1", "0"}, {"train", "q1", "10", "1"}, {"train", "q1", "é", "0.5"}}},
	}
}

// standard are the options of the command line's defaults.
func standard() Options {
	return Options{Documents: Source{From: "documents"}, Queries: Source{From: "queries"}, Judgements: Source{From: "judgements"}}
}

// tree is the files of a folder and what is beside it.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestImport imports a database, and reads the folder as every other command does.
func TestImport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := filepath.Join(dir, "mydata")
	url := shop().serve(t)
	got, err := Import(t.Context(), url, folder, standard())
	if err != nil {
		t.Fatal(err)
	}
	want := &Imported{Documents: 3, Queries: 1, Judgements: map[string]int{"test": 1, "train": 2}, Models: []Model{{"half", 2, "F16"}, {"small", 3, "F32"}}, Folder: folder}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, expected %+v", got, want)
	}
	first := tree(t, dir)
	for name, text := range map[string]string{
		"corpus.jsonl":    `{"_id":"1","title":"one","text":"the <first>\n"}` + "\n" + `{"_id":"10","title":"","text":"tenth"}` + "\n" + `{"_id":"é","title":"","text":""}` + "\n",
		"queries.ids":     "q1\n",
		"qrels/train.tsv": "query-id\tcorpus-id\tscore\nq1\t10\t1\nq1\té\t0.5\n",
		"qrels/test.tsv":  "query-id\tcorpus-id\tscore\nq1\t1\t0\n",
	} {
		if first["mydata/"+name] != text {
			t.Errorf("%s holds %q, expected %q", name, first["mydata/"+name], text)
		}
	}
	if names := slices.Sorted(maps.Keys(first)); len(names) != 8 {
		t.Errorf("there are the files %v", names)
	}

	data, err := beir.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	for name, rows := range map[string][]byte{
		"half":  {0x00, 0x3c, 0x00, 0xc0, 0x00, 0x3c, 0x01, 0x00, 0, 0, 0, 0},
		"small": safetensors.OfFloat32("", []float32{1, -2.5, 3, 0, 1e-40, 3, 4, 5, 6}).Data,
	} {
		m, err := data.Vectors(name)
		if err != nil {
			t.Fatal(err)
		}
		read := make([]byte, len(rows))
		if err := m.Documents.ReadRows(read, 0, 3); err != nil || !slices.Equal(read, rows) {
			t.Errorf("%s: rows % x, %v; expected % x", name, read, err, rows)
		}
	}

	if _, err := Import(t.Context(), url, folder, standard()); !errors.Is(err, option.ErrExists) {
		t.Errorf("a second time: %v, expected ErrExists", err)
	}
	again := standard()
	again.Force = true
	if _, err := Import(t.Context(), url, folder, again); err != nil {
		t.Error(err)
	}
	if !maps.Equal(tree(t, dir), first) {
		t.Error("the same database gave other files the second time")
	}
	if err := os.WriteFile(filepath.Join(folder, "notes.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Import(t.Context(), url, folder, again); !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), "notes.txt") {
		t.Errorf("with a file of somebody's: %v, expected ErrExists and its name", err)
	}
}

// TestColumns imports what goes by other names, of a table in a schema and of a query.
func TestColumns(t *testing.T) {
	t.Parallel()
	const clicks = "select user_query as query_id, sku as document_id, 1 as score from clicks -- all of them"
	db := shop()
	db["shop.products"] = &table{columns: [][2]string{{"sku", "text"}, {"title", "text"}, {"embedding", "vector"}, {"sparse", "sparsevec"}},
		rows: [][]any{{"10", "", "a text", vector(1, 2)}}} // title is read as text, and as nothing else
	db["queries"] = &table{columns: [][2]string{{"id", "text"}, {"small", "vector"}}, rows: [][]any{{"q1", vector(3, 4)}}}
	db[clicks] = &table{columns: [][2]string{{"query_id", "text"}, {"document_id", "text"}, {"score", "integer"}}, rows: [][]any{{"train", "q1", "10", "1"}}}
	o := Options{Documents: Source{"shop.products", map[string]string{"id": "sku", "text": "title", "small": "embedding"}},
		Queries: Source{From: "queries"}, Judgements: Source{From: clicks + " ; "}, Models: []string{"small"}}
	dir := t.TempDir()
	got, err := Import(t.Context(), db.serve(t), filepath.Join(dir, "d"), o)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Model{{"small", 2, "F32"}}; !slices.Equal(got.Models, want) {
		t.Errorf("models %v, expected %v", got.Models, want)
	}
	if corpus := tree(t, dir)["d/corpus.jsonl"]; corpus != `{"_id":"10","title":"","text":"a text"}`+"\n" {
		t.Errorf("corpus.jsonl holds %q", corpus)
	}
}

// TestRefused has databases that cannot be imported. The error names table, column and id, and says what to do; nothing is left.
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(tables, *Options)
		says   []string
	}{
		"a null vector":        {func(ts tables, _ *Options) { ts["documents"].rows[1][4] = nil }, []string{"table documents", `"small"`, `id "10"`, "null"}},
		"NaN":                  {func(ts tables, _ *Options) { ts["documents"].rows[1][4] = vector(1, 2, float32(math.NaN())) }, []string{"table documents", `"small"`, `id "10"`, "value 2"}},
		"an infinite half":     {func(ts tables, _ *Options) { ts["queries"].rows[0][1] = halves(0x7c00, 1) }, []string{"table queries", `"half"`, `id "q1"`, "value 0"}},
		"two widths":           {func(ts tables, _ *Options) { ts["documents"].rows[2][4] = vector(1, 2) }, []string{"table documents", `"small"`, `id "é"`, "2 values", "3"}},
		"widths of two sides":  {func(ts tables, _ *Options) { ts["queries"].rows[0][2] = vector(1) }, []string{"table queries", "table documents", `"small"`, "1 values", "of 3"}},
		"no vector":            {func(ts tables, _ *Options) { ts["queries"].rows[0][2] = []byte{0, 9, 0, 0, 1} }, []string{"table queries", `"small"`, `id "q1"`, "no vector of 9"}},
		"an id twice":          {func(ts tables, _ *Options) { ts["documents"].rows[1][0] = "1" }, []string{"table documents", `"id"`, `id "1"`, "twice"}},
		"an id that is null":   {func(ts tables, _ *Options) { ts["documents"].rows[2][0] = nil }, []string{"table documents", `"id"`, "null"}},
		"an empty id":          {func(ts tables, _ *Options) { ts["documents"].rows[0][0] = "" }, []string{"table documents", `"id"`, "empty"}},
		"an id of two lines":   {func(ts tables, _ *Options) { ts["queries"].rows[0][0] = "a\nb" }, []string{"table queries", `"a\nb"`, "line's end"}},
		"a text in Latin-1":    {func(ts tables, _ *Options) { ts["documents"].rows[0][2] = "caf\xe9" }, []string{"table documents", `"text"`, `id "1"`, "UTF-8"}},
		"an unknown document":  {func(ts tables, _ *Options) { ts["judgements"].unknown = []any{"7", "q1", "7"} }, []string{"table judgements", `"query_id"`, `"7"`, "table queries"}},
		"two scores":           {func(ts tables, _ *Options) { ts["judgements"].twice = []any{"q1", "1", "0", "2"} }, []string{"table judgements", `"score"`, `"q1"`, `"1"`, "0 and 2"}},
		"no score":             {func(ts tables, _ *Options) { ts["judgements"].rows[0][3] = nil }, []string{"table judgements", `"score"`, `"q1"`, `"1"`}},
		"a score of NaN":       {func(ts tables, _ *Options) { ts["judgements"].rows[0][3] = "NaN" }, []string{"table judgements", `"score"`, "NaN"}},
		"a split outside":      {func(ts tables, _ *Options) { ts["judgements"].rows[0][0] = "../x" }, []string{"table judgements", `"split"`, `"../x"`}},
		"no documents":         {func(ts tables, _ *Options) { ts["documents"].rows = nil }, []string{"table documents", "empty", "--docs"}},
		"no judgements":        {func(ts tables, _ *Options) { ts["judgements"].rows = nil }, []string{"table judgements", "empty", "--qrels"}},
		"rows that come":       {func(ts tables, _ *Options) { ts["documents"].counted = -1 }, []string{"table documents", "3 rows", "2 when"}},
		"rows that go":         {func(ts tables, _ *Options) { ts["queries"].counted = 1 }, []string{"table queries", "1 rows", "2 when"}},
		"a sparse vector":      {func(ts tables, _ *Options) { ts["documents"].columns[4][1] = "sparsevec" }, []string{"table documents", `"small"`, "sparsevec", "--models"}},
		"bits":                 {func(ts tables, _ *Options) { ts["documents"].columns[4][1] = "bit" }, []string{"table documents", `"small"`, "bit", "--models"}},
		"no column of vectors": {func(ts tables, _ *Options) { ts["queries"].columns = ts["queries"].columns[:1] }, []string{"table queries", "vector or halfvec", "::vector"}},
		"a model of one side":  {func(ts tables, _ *Options) { ts["queries"].columns[1][0] = "other" }, []string{"table queries", `"small"`, "--queries-columns small=COLUMN"}},
		"a model's name":       {func(ts tables, _ *Options) { ts["documents"].columns[4][0] = "a/b" }, []string{"table documents", `"a/b"`, "--docs-columns 'NAME=a/b'"}},
		"an unknown model":     {func(_ tables, o *Options) { o.Models = []string{"mpnet"} }, []string{"table documents", `"mpnet"`, "small, half"}},
		"a model of prices":    {func(_ tables, o *Options) { o.Models = []string{"price"} }, []string{"table documents", `"price"`, "vector or halfvec"}},
		"no id":                {func(ts tables, _ *Options) { ts["queries"].columns[0][0] = "name" }, []string{"table queries", `"id"`, "name, small, half", "--queries-columns id=COLUMN"}},
		"no score column":      {func(ts tables, _ *Options) { ts["judgements"].columns[2][0] = "grade" }, []string{"table judgements", `"score"`, "--qrels-columns score=COLUMN"}},
		"no such column":       {func(_ tables, o *Options) { o.Documents.Columns = map[string]string{"text": "body"} }, []string{"table documents", `"body"`, "title"}},
		"no such table":        {func(_ tables, o *Options) { o.Documents.From = "Products" }, []string{"table Products", "does not exist", "schema.table"}},
		"no right":             {func(ts tables, _ *Options) { ts["queries"].refuses = "42501 permission denied for table queries" }, []string{"table queries", "permission denied", "grant"}},
		"a wrong query": {func(ts tables, o *Options) {
			o.Judgements.From = "select 1"
			ts["select 1"] = &table{refuses: "42601 syntax error"}
		}, []string{"the query of --qrels", "syntax error", "psql"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, o, dir := shop(), standard(), t.TempDir()
			row.change(db, &o)
			_, err := Import(t.Context(), db.serve(t), filepath.Join(dir, "d"), o)
			checkError(t, err, row.says...)
			if left := tree(t, dir); len(left) > 0 {
				t.Errorf("files were left: %v", slices.Sorted(maps.Keys(left)))
			}
		})
	}
}

// checkError fails where an error is not one of an input with a hint, lacks a word, or tells the password.
func checkError(t *testing.T, err error, says ...string) {
	t.Helper()
	e := (*dataset.Error)(nil)
	if !errors.As(err, &e) || e.Hint == "" {
		t.Fatalf("%v is not a *dataset.Error with a hint", err)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), password) {
		t.Errorf("the error tells the password: %v", err)
	}
}

// TestNoPasswordInErrors: whatever is wrong with a connection string, its password is in no error, and neither is a part of one that
// has characters which should have been escaped.
func TestNoPasswordInErrors(t *testing.T) {
	t.Parallel()
	at := strings.TrimPrefix(shop().serve(t), "postgres://reader:"+password+"@")
	none, err := os.MkdirTemp("", "quarry")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(none)
	for _, row := range []struct{ url, says string }{
		{"postgres://reader:" + password + "wrong@" + at, "password authentication failed"},
		{"postgres://reader@" + at + "&password=wrong" + password, "password authentication failed"},
		{"postgres://reader:" + password + "@/shop?host=" + none, "failed to connect"},
		{"postgres://reader:" + password + "@localhost:99999/shop", "port"},
		{"postgres://reader:" + password + "@localhost/shop?sslmode=" + password, "sslmode"},
		{"postgres://reader@localhost/shop?sslmode=x&password=" + password, "sslmode"},
		{"postgres://reader:%zz" + password + "@localhost/shop", "not a URL"},
		{"postgres://reader:a/" + password + "@localhost/shop", "not a URL"},
		{"postgres://reader:1/" + password + "@localhost/shop", "where none can be"},
		{"postgres://reader:1?" + password + "@localhost/shop", "where none can be"},
		{"postgres://reader:1#" + password + "@localhost/shop", "where none can be"},
		{"postgres://reader:" + password + "#@localhost/shop", "not a URL"},
	} {
		_, err := Import(t.Context(), row.url, filepath.Join(t.TempDir(), "d"), standard())
		checkError(t, err, row.says)
	}
}

// TestInterrupted ends the context while documents are read. Nothing is left.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	dir, o := t.TempDir(), standard()
	ctx, stop := context.WithCancel(t.Context())
	o.Progress = func(stage string, _, _ int64) {
		if stage == "read docs" {
			stop()
		}
	}
	if _, err := Import(ctx, shop().serve(t), filepath.Join(dir, "d"), o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, expected context.Canceled", err)
	}
	if left := tree(t, dir); len(left) > 0 {
		t.Errorf("files were left: %v", slices.Sorted(maps.Keys(left)))
	}
}

// TestOptions has options that are wrong whatever the database holds. All that is wrong is reported together, and nothing is connected to.
func TestOptions(t *testing.T) {
	t.Parallel()
	o := Options{Documents: Source{"documents", map[string]string{"id": "a", "text": "a"}}, Queries: Source{From: " "},
		Judgements: Source{"judgements", map[string]string{"grade": "x"}}, Models: []string{""}}
	_, err := Import(t.Context(), "mysql://reader:"+password+"@localhost", "s3://bucket/d", o)
	if !errors.Is(err, option.ErrOption) {
		t.Fatalf("%v, expected ErrOption", err)
	}
	for _, part := range []string{"postgres://", "s3://bucket/d", "--docs-columns", "--queries is empty", `"grade"`, "--models"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), password) {
		t.Errorf("the error tells the password: %v", err)
	}
}

// TestStatements: names are identifiers whatever is in them, and a query is one whatever it ends with.
func TestStatements(t *testing.T) {
	for name, want := range map[string]string{
		"documents":     `"documents"`,
		`a"; drop x --`: `"a""; drop x --"`,
		"Two Words":     `"Two Words"`,
	} {
		if got := identifier(name); got != want {
			t.Errorf("%s is %s, expected %s", name, got, want)
		}
	}
	for from, want := range map[string]bool{"selected": false, "select": false, "select 1": true, " WITH x as (select 1) select 1": true, "table documents": true, "tables.documents": false, "values\n(1)": true} {
		if isQuery(from) != want {
			t.Errorf("%q is a query: %v, expected %v", from, isQuery(from), want)
		}
	}
}

// FuzzVector decodes what a server might send by a second, slow reader.
func FuzzVector(f *testing.F) {
	f.Add(vector(1, -2.5, 1e-40), false)
	f.Add(vector(float32(math.Inf(1))), false)
	f.Add(vector(), false)
	f.Add(halves(0x3c00, 0x7bff, 0x8001), true)
	f.Add(halves(0x7e00), true)
	f.Add([]byte{0, 2, 0, 0, 1, 2, 3}, false)
	f.Add([]byte{0}, true)
	f.Fuzz(func(t *testing.T, sent []byte, half bool) {
		dtype, size := safetensors.F32, 4
		if half {
			dtype, size = safetensors.F16, 2
		}
		var want []byte
		sound := len(sent) > 4 && (len(sent)-4)%size == 0 && int(sent[0])<<8+int(sent[1]) == (len(sent)-4)/size
		for at := 4; sound && at < len(sent); at += size {
			value := slices.Clone(sent[at : at+size])
			slices.Reverse(value)
			if half {
				sound = value[1]&0x7c != 0x7c
			} else if v := float64(math.Float32frombits(binary.LittleEndian.Uint32(value))); math.IsNaN(v) || math.IsInf(v, 0) {
				sound = false
			}
			want = append(want, value...)
		}
		got, problem := appendVector(nil, sent, dtype)
		if sound != (problem == "") || sound && !slices.Equal(got, want) {
			t.Errorf("% x: % x %q; expected % x, sound %v", sent, got, problem, want, sound)
		}
	})
}
