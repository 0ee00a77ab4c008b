package pairs

import (
	"encoding/json"
	"errors"
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
	for i, want := range []string{"a", "n", "b", "é"} {
		if got := documents.Texts.(dataset.TextsOf)[i].Text; got != want {
			t.Errorf("document %d is %q; expected %q", i, got, want)
		}
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
	texts, asked := documents.Texts.(dataset.TextsOf), queries.Texts.(dataset.TextsOf)
	if len(texts) != 3 || texts[0].Text != "a" || texts[1].Text != "b" || texts[2].Text != "n" || len(asked) != 1 || asked[0].Text != "q" {
		t.Errorf("documents %v, queries %v", texts, asked)
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
	var got []string
	for _, text := range documents.Texts.(dataset.TextsOf) {
		got = append(got, text.Text)
	}
	if want := "p n a b c"; strings.Join(got, " ") != want {
		t.Errorf("documents %q; expected %q", got, want)
	}
	documents, _, _, err = read([]byte(line), Members("", "", "negative_2"))
	if texts, ok := documents.Texts.(dataset.TextsOf); err != nil || !ok || len(texts) != 2 || texts[1].Text != "b" {
		t.Errorf("%v, %v", documents.Texts, err)
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
	if texts, asked := documents.Texts.(dataset.TextsOf), queries.Texts.(dataset.TextsOf); len(texts) != 1 || texts[0].Text != "a" || asked[0].Text != "q" {
		t.Errorf("documents %v, queries %v", texts, asked)
	}
	if _, _, _, err := read([]byte(`{"query":"q","Positive":"a"}`), nil); err == nil || !strings.Contains(err.Error(), "no positive") {
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
