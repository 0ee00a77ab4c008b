package beir

import (
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
)

// TestMSMARCO opens a folder of MS MARCO's files, plain and compressed.
func TestMSMARCO(t *testing.T) {
	t.Parallel()
	const collection, queries = "7\tthe first \"text\"\n0\t\n", "q\twhich?\n"
	for _, end := range []string{"", ".gz"} {
		texts := func(s string) *fstest.MapFile {
			if end == "" {
				return &fstest.MapFile{Data: []byte(s)}
			}
			return &fstest.MapFile{Data: zip(t, []byte(s), 5)}
		}
		d, err := OpenFS(fstest.MapFS{"collection.tsv" + end: texts(collection), "queries.tsv" + end: texts(queries), "qrels.train.tsv": {Data: []byte("q\t0\t7\t1\n")},
			"vectors/m/docs.npy": {Data: npyOf([][]float32{{1}, {2}})}, "vectors/m/queries.npy": {Data: npyOf([][]float32{{3}})}}, "folder")
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		datasettest.CheckIDs(t, d.Documents, []string{"7", "0"})
		of, err := d.Documents.Texts.OfIDs(map[string]bool{"7": true})
		if want := (dataset.Text{ID: "7", Text: "the first \"text\""}); err != nil || of["7"] != want {
			t.Errorf("%v, %v", of, err)
		}
		if len(d.Qrels) != 1 || d.Qrels[0].Split != "train" || len(d.Qrels[0].Judgements) != 1 {
			t.Errorf("judgements %v", d.Qrels)
		}
	}
}

// TestPairs opens a folder of pairs: row n of the vectors is of the n-th text, train first.
func TestPairs(t *testing.T) {
	t.Parallel()
	d, err := OpenFS(fstest.MapFS{"dev.jsonl": {Data: []byte("{\"query\":\"q\",\"positive\":\"c\"}\n")}, "train.jsonl": {Data: []byte("{\"query\":\"q\",\"pos\":[\"a\",\"b\"]}\n")},
		"vectors/m/docs.npy": {Data: npyOf([][]float32{{1}, {2}, {3}})}, "vectors/m/queries.npy": {Data: npyOf([][]float32{{3}})}}, "folder")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Vectors("m"); err != nil {
		t.Error(err)
	}
	of, err := d.Documents.Texts.OfIDs(map[string]bool{"d0": true, "d2": true})
	if err != nil || of["d0"].Text != "a" || of["d2"].Text != "c" || len(d.Qrels) != 2 || d.Qrels[0].Split != "train" {
		t.Errorf("%v, %v, %v", of, d.Qrels, err)
	}
}

// simpleRowID is the id of a line of two columns.
func simpleRowID(text string) (string, bool) {
	columns := strings.Split(text, "\t")
	return columns[0], len(columns) == 2 && utf8.ValidString(text)
}

func checkRows(t testing.TB, data []byte) error {
	t.Helper()
	ids, err := oneFile("collection.tsv", data).readIDs("collection.tsv", nil, rowID)
	checkIDs(t, ids, err, "dir/collection.tsv", data, simpleRowID)
	return err
}

const someRows = "7\tone\r\n\nd\t\n1.0\té\n"

// TestRowsCutAnywhere cuts a table at every byte. A cut before the tab of a line is an error there.
func TestRowsCutAnywhere(t *testing.T) {
	t.Parallel()
	datasettest.EachCut([]byte(someRows), func(n int, cut []byte) {
		last := string(cut[strings.LastIndex(string(cut), "\n")+1:])
		if err := checkRows(t, cut); err == nil && last != "" && !strings.Contains(last, "\t") {
			t.Fatalf("cut at %d, before a tab: no error", n)
		}
	})
}

func FuzzRows(f *testing.F) {
	f.Add([]byte(someRows))
	f.Add([]byte("a\tb\tc\n"))
	f.Add([]byte("a\tb\na\tc"))
	f.Fuzz(func(t *testing.T, data []byte) { _ = checkRows(t, data) })
}
