package beir

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
)

// onDiskOf writes a folder of those files, with vectors for so many documents and queries.
func onDiskOf(t *testing.T, documents, queries int, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	all := map[string][]byte{"vectors/m/docs.npy": npyOf(slices.Repeat([][]float32{{1}}, documents)), "vectors/m/queries.npy": npyOf(slices.Repeat([][]float32{{1}}, queries))}
	for name, text := range files {
		all[name] = []byte(text)
	}
	writeTo(t, dir, all)
	return dir
}

// explain opens a folder, and says how it is read.
func explain(dir string) ([]File, error) {
	data, err := Open(dir)
	if err != nil {
		return nil, err
	}
	files, err := Explain(os.DirFS(dir), data)
	return files, errors.Join(err, data.Close())
}

// TestExplain says of folders of every layout as what their files are read.
func TestExplain(t *testing.T) {
	t.Parallel()
	const corpus, queries = `{"_id":"d","text":"t"}`, `{"id":1,"text":"?"}`
	for name, row := range map[string]struct {
		documents, queries int
		files              map[string]string
		want               []File
	}{
		"BEIR": {1, 1, map[string]string{"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels/train.tsv": "1\td\t1\n1\te\t0\n", "qrels/dev.tsv": "1 0 d 1\n", "docs.ids": "d\n"}, []File{
			{"corpus.jsonl", "texts in JSON lines as BEIR has them: 1 documents"}, {"docs.ids", "ids, one a line: 1 documents"},
			{"queries.jsonl", "texts in JSON lines as BEIR has them: 1 queries"},
			{"qrels/dev.tsv", "judgements of split dev in TREC's four columns: 1 judgements, 1 of them relevant"},
			{"qrels/train.tsv", "judgements of split train in BEIR's three columns: 2 judgements, 1 of them relevant"}}},
		"other members": {1, 1, map[string]string{"corpus.jsonl": `{"_id":"d","title":"t","body":"b"}`, "queries.jsonl": `{"_id":"1","question":"?"}`, "qrels/train.tsv": "1\td\t1\n"}, []File{
			{"corpus.jsonl", `texts in JSON lines as BEIR has them: 1 documents; no line has a text in the member "text", and texts.json may name another`},
			{"queries.jsonl", `texts in JSON lines as BEIR has them: 1 queries; no line has a text in the member "text", and texts.json may name another`},
			{"qrels/train.tsv", "judgements of split train in BEIR's three columns: 1 judgements, 1 of them relevant"}}},
		"MS MARCO": {1, 1, map[string]string{"collection.tsv": "d\tt\n", "queries.tsv": "1\t?\n", "qrels.train.tsv": "1\t0\td\t1\n"}, []File{
			{"collection.tsv", "texts as MS MARCO has them, id and text separated by a tab: 1 documents"},
			{"queries.tsv", "texts as MS MARCO has them, id and text separated by a tab: 1 queries"},
			{"qrels.train.tsv", "judgements of split train in TREC's four columns: 1 judgements, 1 of them relevant"}}},
		"pairs": {2, 1, map[string]string{"dev.jsonl": `{"query":"q","pos":["b"]}`, "train.jsonl": `{"anchor":"q","positive":"a"}`}, []File{
			{"train.jsonl", "pairs of split train: 1 judgements, 1 of them relevant"}, {"dev.jsonl", "pairs of split dev: 1 judgements, 1 of them relevant"},
			{"all pairs", "2 different documents, 1 different queries"}}},
		"chosen": {1, 1, map[string]string{"texts.json": `{"docs":{"path":"in/all.jsonl","id":"pid","text":"body","title":"head"},"queries":{"path":"q.txt","format":"tsv"},"qrels":{"train":"judged.txt"}}`,
			"in/all.jsonl": `{"_id":"no","id":"no","pid":"d","text":"no","body":"t","head":"h"}`, "q.txt": "1\t?\n", "judged.txt": "1 0 d 1\n"}, []File{
			{"texts.json", "says which files and members are read"},
			{"in/all.jsonl", "texts in JSON lines, with the members that texts.json names: 1 documents"},
			{"q.txt", "texts as MS MARCO has them, id and text separated by a tab: 1 queries"},
			{"judged.txt", "judgements of split train in TREC's four columns: 1 judgements, 1 of them relevant"}}},
		"chosen pairs": {1, 1, map[string]string{"texts.json": `{"pairs":{"train":{"path":"x.jsonl","query":"question","positive":"passage"}}}`, "x.jsonl": `{"question":"q","passage":"a"}`}, []File{
			{"texts.json", "says which files and members are read"},
			{"x.jsonl", "pairs of split train: 1 judgements, 1 of them relevant"}, {"all pairs", "1 different documents, 1 different queries"}}},
	} {
		dir := onDiskOf(t, row.documents, row.queries, row.files)
		got, err := explain(dir)
		if err != nil || !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: %q, %v; expected %q", name, got, err, row.want)
		}
	}
}

// TestChosenTexts reads what texts.json names, and nothing of the usual names.
func TestChosenTexts(t *testing.T) {
	t.Parallel()
	open := func(choices string) *dataset.Dataset {
		d, err := Open(onDiskOf(t, 1, 1, map[string]string{"texts.json": choices,
			"all.jsonl": `{"_id":"7","id":"no","pid":7,"text":"no","body":"t","head":"h"}`, "queries.jsonl": `{"_id":"q","text":"?"}`, "qrels/train.tsv": "q\t7\t1\n"}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	d := open(`{"docs":{"path":"all.jsonl","id":"pid","text":"body","title":"head"}}`)
	of, err := d.Documents.Texts.OfIDs(map[string]bool{"7": true})
	if want := (dataset.Text{ID: "7", Title: "h", Text: "t"}); err != nil || of["7"] != want {
		t.Errorf("%v, %v", of, err)
	}
	sums := map[string]bool{}
	for _, d := range []*dataset.Dataset{d, open(`{"docs":{"path":"all.jsonl"}}`), open(`{"docs":{"path":"all.jsonl","text":"body"}}`)} {
		sum, err := d.Documents.SHA256()
		if sums[sum] = true; err != nil {
			t.Error(err)
		}
	}
	if len(sums) != 3 {
		t.Errorf("three ways to read a file have the fingerprints %v", sums)
	}
}

// TestChoicesThatAreNotSound: an error names the file and says what it should be.
func TestChoicesThatAreNotSound(t *testing.T) {
	t.Parallel()
	for text, file := range map[string]string{
		`{"docs":`: "texts.json", `{"corpus":{}}`: "texts.json", `{"docs":{"format":"csv"}}`: "texts.json", `{"docs":{"id":"i"},"pairs":{"a":{"path":"b"}}}`: "texts.json",
		`{"pairs":{"train":{"path":"none.jsonl"}}}`: "none.jsonl", `{"docs":{"path":"none.jsonl"}}`: "none.jsonl", `{"qrels":{"train":"../none"}}`: "texts.json", `{"pairs":{"train":{}}}`: "texts.json",
	} {
		dir := onDiskOf(t, 1, 1, map[string]string{"texts.json": text, "corpus.jsonl": `{"_id":"d"}`, "queries.jsonl": `{"_id":"q"}`, "qrels/train.tsv": "q\td\t1\n"})
		_, err := Open(dir)
		datasettest.AsError(t, err, filepath.Join(dir, file))
	}
}

// TestChoicesThatNothingHas: an error says which name in texts.json is that of no member, or why the file cannot be read.
func TestChoicesThatNothingHas(t *testing.T) {
	t.Parallel()
	const corpus = "corpus.jsonl"
	for text, want := range map[string][2]string{
		`{"docs":{"text":"body"}}`:                               {corpus, `no line has the member "body"`},
		`{"docs":{"title":"heading"}}`:                           {corpus, `no line has the member "heading"`},
		`{"docs":{"id":"pid"}}`:                                  {corpus, "no pid"},
		`{"queries":{"path":"q.tsv","id":"pid"}}`:                {choicesFile, `"q.tsv" is id and text, separated by a tab, and has no members`},
		`{"queries":{"path":"q.tsv","format":"jsonl"}}`:          {"q.tsv", "not a JSON object"},
		`{"pairs":{"train":{"path":"p.jsonl","negative":"ha"}}}`: {"p.jsonl", `no line has the member "ha"`},
		`{"pairs":{"train":{"path":"p.jsonl","query":"qu"}}}`:    {"p.jsonl", `no query in "qu"`},
		`{} x`:                      {choicesFile, "after top-level value"},
		`[]`:                        {choicesFile, "it is an array"},
		`{"docs":{"path":["a"]}}`:   {choicesFile, `"docs/path" is an array`},
		`{"Docs":{}}`:               {choicesFile, `"Docs" is not known`},
		`{"docs":{},"docs":{}}`:     {choicesFile, "duplicate"},
		"\xef\xbb\xbf{\"docs\":{}}": {},
	} {
		dir := onDiskOf(t, 1, 1, map[string]string{choicesFile: text, corpus: `{"_id":"d","text":"t"}`, "queries.jsonl": `{"_id":"q"}`, "q.tsv": "q\t?\n",
			"p.jsonl": `{"query":"q","positive":"a","negative":"b"}`, "qrels/train.tsv": "q\td\t1\n"})
		d, err := Open(dir)
		if want == [2]string{} {
			if err != nil {
				t.Errorf("%s: %v", text, err)
			} else {
				_ = d.Close()
			}
			continue
		}
		if e := datasettest.AsError(t, err, filepath.Join(dir, want[0])); !strings.Contains(e.Problem, want[1]) || e.Hint == "" || strings.Contains(e.Problem, "Go") {
			t.Errorf("%s: %v; expected %q", text, e, want[1])
		}
	}
	dir := onDiskOf(t, 1, 1, map[string]string{choicesFile: `{"docs":{"text":"body"}}`, "docs.ids": "d\n", "queries.ids": "q\n", "qrels/train.tsv": "q\td\t1\n"})
	_, err := Open(dir)
	datasettest.AsError(t, err, filepath.Join(dir, choicesFile))
}

func FuzzChoices(f *testing.F) {
	f.Add(`{"docs":{"path":"corpus.jsonl","id":"pid"},"qrels":{"train":"qrels/train.tsv"}}`)
	f.Add(`{"pairs":{"train":{"path":"corpus.jsonl","query":"_id"}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		files := layout{}.files(t, datasettest.Contents{Documents: []dataset.Text{{ID: "d"}}, Queries: []dataset.Text{{ID: "q"}},
			Qrels:  []datasettest.Split{{Name: "train", Judgements: []dataset.Judgement{{Query: "q", Document: "d", Score: 1}}}},
			Models: []datasettest.Vectors{{Name: "m", Documents: [][]float32{{1}}, Queries: [][]float32{{1}}}}})
		files[choicesFile] = []byte(text)
		d, err := OpenFS(inMemory(files), "dir")
		if e := (*dataset.Error)(nil); err != nil && (!errors.As(err, &e) || !strings.HasPrefix(e.Path, "dir")) {
			t.Errorf("%#v", err)
		} else if err == nil {
			_ = d.Close()
		}
	})
}
