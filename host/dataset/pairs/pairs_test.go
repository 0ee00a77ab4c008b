package pairs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
	"github.com/quarry-hn/quarry/host/dataset/lines"
)

func read(data []byte, members lines.Names) (documents, queries dataset.Side, qrels []*dataset.Qrels, err error) {
	return Read("dir", []Split{split("train.jsonl", "jsonl", data, members)})
}

// split is a split of one file.
func split(name, format string, data []byte, members lines.Names) Split {
	file := File{lines.File{FS: fstest.MapFS{name: {Data: data}}, Name: name, Path: "dir/" + name}, format}
	return Split{Name: "train", File: name, Path: file.Path, Files: []File{file}, Members: members}
}

// textsOf are the texts of a side, whose n-th has the n-th id.
func textsOf(t testing.TB, side dataset.Side) (texts []string) {
	t.Helper()
	ids := datasettest.List(t, side)
	err := side.Texts.EachRow(nil, func(row int, text dataset.Text) error {
		if row != len(texts) || text.ID != ids[row] {
			t.Errorf("row %d has the id %q; expected row %d of %q", row, text.ID, len(texts), ids)
		}
		texts = append(texts, text.Text)
		return nil
	})
	if err != nil || len(texts) != len(ids) {
		t.Fatalf("%d texts of %d ids, %v", len(texts), len(ids), err)
	}
	return texts
}

const some = `{"query":"q","positive":"a","negative":"n"}
{"anchor":"r","answer":"b","score":NaN}

{"query":"q","pos":["b","a"],"neg":["n","é"]}
`

// TestRead reads lines of every kind. A text has one id, wherever it is.
func TestRead(t *testing.T) {
	t.Parallel()
	documents, queries, qrels, err := read([]byte(some), nil)
	if err != nil {
		t.Fatal(err)
	}
	datasettest.CheckIDs(t, documents, []string{"d0", "d1", "d2", "d3"})
	datasettest.CheckIDs(t, queries, []string{"q0", "q1"})
	if got := textsOf(t, documents); !slices.Equal(got, []string{"a", "n", "b", "é"}) {
		t.Errorf("documents are %q", got)
	}
	var got []string
	for _, j := range qrels[0].Judgements {
		got = append(got, j.Query+" "+j.Document)
	}
	if want := "q0 d0,q1 d2,q0 d2"; strings.Join(got, ",") != want {
		t.Errorf("judgements %v; expected %s", got, want)
	}
}

// TestNames reads members that the file calls otherwise. A member of the usual name is not read then.
func TestNames(t *testing.T) {
	t.Parallel()
	members := Members("question", "contexts", "")
	documents, queries, _, err := read([]byte(`{"question":"q","query":"no","answer":"no","contexts":["a","","b"],"negative":"n","score":NaN}`), members)
	if err != nil {
		t.Fatal(err)
	}
	if texts, asked := textsOf(t, documents), textsOf(t, queries); !slices.Equal(texts, []string{"a", "b", "n"}) || !slices.Equal(asked, []string{"q"}) {
		t.Errorf("documents %q, queries %q", texts, asked)
	}
	if _, _, _, err := read([]byte(`{"query":"q","contexts":"a"}`), members); err == nil || !strings.Contains(err.Error(), "no query") {
		t.Error(err)
	}
}

// TestNumbered reads negative_1 and so on in the order of their numbers, and null as none. Of a member that is there twice the last
// counts.
func TestNumbered(t *testing.T) {
	t.Parallel()
	const line = `{"query":"q","positive":"p","negative_10":"c","negative_2":"b","negative_1":"no","negative_1":"a","negative_3":null,"negative_x":"no","negative_1_score":1,"1":"no","negative":"n","NaN":NaN}`
	documents, _, _, err := read([]byte(line), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := textsOf(t, documents); !slices.Equal(got, []string{"p", "n", "a", "b", "c"}) {
		t.Errorf("documents %q", got)
	}
	if documents, _, _, err = read([]byte(line), Members("", "", "negative_2")); err != nil {
		t.Fatal(err)
	}
	if got := textsOf(t, documents); !slices.Equal(got, []string{"p", "b"}) {
		t.Errorf("documents %q", got)
	}
}

// TestLinesThatAreNone: an error says of the member what it is.
func TestLinesThatAreNone(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		`{"query":["q"],"positive":"a"}`: `member "query": not a text`, `{"query":"q","pos":[1]}`: `member "pos": neither a text nor an array of texts`,
		`{"query":"q","positive":{"text":"a"}}`: `member "positive": neither a text nor`, `["q","a"]`: "it is an array", `{"query":"q","positive":"a"`: "unexpected EOF", `{"query":"q","positive":"a"} {}`: "after top-level value",
	} {
		_, _, _, err := read([]byte(line), nil)
		if e := datasettest.AsError(t, err, "dir/train.jsonl"); !strings.Contains(e.Problem, says) || strings.Contains(e.Problem, "Go") || e.Line != 1 || e.Hint != Hint {
			t.Errorf("%s: %v; expected %q", line, e, says)
		}
	}
}

// TestExactNames: a member whose name has other upper and lower case is another member.
func TestExactNames(t *testing.T) {
	t.Parallel()
	documents, queries, _, err := read([]byte(`{"query":"q","Query":"no","positive":"a","Positive":5,"NEG":["no"]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if texts, asked := textsOf(t, documents), textsOf(t, queries); !slices.Equal(texts, []string{"a"}) || !slices.Equal(asked, []string{"q"}) {
		t.Errorf("documents %q, queries %q", texts, asked)
	}
	if _, _, _, err := read([]byte(`{"query":"q","Positive":"a"}`), nil); err == nil || !strings.Contains(err.Error(), "no positive") {
		t.Error(err)
	}
}

// TestMemory: what is held of 8 MB of texts is far less. No other test runs meanwhile.
func TestMemory(t *testing.T) {
	var b bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&b, `{"query":"q","pos":["%d %s"]}`+"\n", i, strings.Repeat("x", 8000))
	}
	held := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := held()
	documents, queries, qrels, err := read(b.Bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if after := held(); after > before+1<<20 {
		t.Errorf("%d bytes are held", after-before)
	}
	runtime.KeepAlive([]any{&b, documents, queries, qrels})
}

// TestTextsAreReadAgain reads the texts of some rows, up to the last of them. One that is not there any more is left out.
func TestTextsAreReadAgain(t *testing.T) {
	t.Parallel()
	file := fstest.MapFS{"train.jsonl": {Data: []byte(some)}}
	s := split("train.jsonl", "jsonl", nil, nil)
	s.Files[0].FS = file
	documents, queries, _, err := Read("dir", []Split{s, s})
	if err != nil {
		t.Fatal(err)
	}
	of, err := documents.Texts.OfIDs(map[string]bool{"d0": true, "d3": true, "d4": true})
	if want := map[string]dataset.Text{"d0": {ID: "d0", Text: "a"}, "d3": {ID: "d3", Text: "é"}}; err != nil || !maps.Equal(of, want) {
		t.Errorf("%v, %v; expected %v", of, err, want)
	}
	changed := strings.Replace(some, `"n"}`, `"new"}`, 1)
	file["train.jsonl"].Data = []byte(changed[:len(changed)-10]) // within the last line
	var rows []int
	each := func(row int, _ dataset.Text) error { rows = append(rows, row); return nil }
	if err := documents.Texts.EachRow(map[int]bool{0: true, 2: true}, each); err != nil || !slices.Equal(rows, []int{0, 2}) {
		t.Errorf("rows %v, %v", rows, err)
	}
	if of, err := queries.Texts.OfIDs(map[string]bool{"q1": true}); err != nil || of["q1"].Text != "r" {
		t.Errorf("%v, %v", of, err)
	}
	datasettest.AsError(t, documents.Texts.EachRow(map[int]bool{1: true}, each), "dir/train.jsonl")
	stop := errors.New("stop")
	if err := documents.Texts.EachRow(nil, func(int, dataset.Text) error { return stop }); err != stop {
		t.Error(err)
	}
}

// check wants pairs or an error that names file, line and what to do.
func check(t *testing.T, data []byte) error {
	t.Helper()
	_, _, _, err := read(data, nil)
	if e := (*dataset.Error)(nil); err != nil && (!errors.As(err, &e) || e.Path != "dir/train.jsonl" || e.Line == 0 || e.Hint == "") {
		t.Fatalf("%v", err)
	}
	return err
}

// TestCutAnywhere cuts pairs at every byte. A cut within a line is an error there.
func TestCutAnywhere(t *testing.T) {
	t.Parallel()
	datasettest.EachCut([]byte(some), func(n int, cut []byte) {
		last := cut[strings.LastIndex(string(cut), "\n")+1:]
		if err := check(t, cut); err == nil && len(last) > 0 && !strings.HasSuffix(string(last), "}") {
			t.Fatalf("cut at %d, within a line: no error", n)
		}
	})
}

func FuzzPairs(f *testing.F) {
	f.Add([]byte(some))
	f.Add([]byte(`{"query":1}`))
	f.Add([]byte("{\"query\":\"q\",\"pos\":[null,\"\"]}\n[]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if check(t, data) != nil {
			return
		}
		for line := range strings.Lines(strings.TrimPrefix(string(data), "\xef\xbb\xbf")) {
			if text := strings.TrimRight(line, "\r\n"); text != "" && !strings.Contains(text, "N") && !strings.Contains(text, "I") && !json.Valid([]byte(text)) {
				t.Fatalf("%q is no JSON and is read", text)
			}
		}
	})
}
