package beir

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
)

// simpleQrels reads judgements as the README describes them: query-id, corpus-id and a finite score, separated by tabs,
// in UTF-8. Each pair comes once. The first line may be a header.
func simpleQrels(data []byte) (js []dataset.Judgement, fault int) {
	for _, l := range simpleLines(data) {
		fields := strings.Split(l.text, "\t")
		if len(fields) != 3 || !utf8.ValidString(l.text) {
			return nil, l.number
		}
		third := strings.TrimSpace(fields[2])
		score, err := strconv.ParseFloat(third, 64)
		if l.number == 1 && slices.Contains([]string{"score", "relevance", "rel", "label"}, strings.ToLower(third)) {
			continue
		}
		sound := err == nil && score-score == 0 && fields[0] != "" && fields[1] != ""
		if !sound || slices.ContainsFunc(js, func(j dataset.Judgement) bool { return j.Query == fields[0] && j.Document == fields[1] }) {
			return nil, l.number
		}
		js = append(js, dataset.Judgement{Query: fields[0], Document: fields[1], Score: score, Line: l.number})
	}
	return js, good
}

// readJudgements reads a folder qrels/ of those files.
func readJudgements(t testing.TB, files map[string][]byte) (qrels []*dataset.Qrels, err error) {
	t.Helper()
	fsys, size := fstest.MapFS{}, 0
	for name, data := range files {
		fsys["qrels/"+name] = &fstest.MapFile{Data: data}
		size += len(data)
	}
	f := &folder{fsys, "dir"}
	datasettest.Allocates(t, 64*size+(1+len(files))<<18, func() { qrels, err = f.readQrels() })
	return qrels, err
}

func checkQrels(t testing.TB, data []byte) {
	t.Helper()
	want, fault := simpleQrels(data)
	qrels, err := readJudgements(t, map[string][]byte{"train.tsv": data})
	if fault != good {
		if e := datasettest.AsError(t, err, "dir/qrels/train.tsv"); e.Line != fault || e.Hint == "" {
			t.Fatalf("%#v, expected an error at line %d, and a hint", e, fault)
		}
		return
	}
	sum := sha256.Sum256(data)
	if err != nil || len(qrels) != 1 || qrels[0].Split != "train" || qrels[0].SHA256 != hex.EncodeToString(sum[:]) {
		t.Fatalf("%v, %v", qrels, err)
	}
	if !slices.Equal(qrels[0].Judgements, want) {
		t.Fatalf("%v; expected %v", qrels[0].Judgements, want)
	}
	// The same pairs are now in two files. The error is in the file that is read second.
	_, err = readJudgements(t, map[string][]byte{"train.tsv": data, "dev.tsv": data})
	if len(want) == 0 {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if e := datasettest.AsError(t, err, "dir/qrels/train.tsv"); e.Line != want[0].Line || !strings.Contains(e.Problem, "dir/qrels/dev.tsv, line "+strconv.Itoa(want[0].Line)) {
		t.Fatalf("%v: expected line %d of both files", err, want[0].Line)
	}
}

const someQrels = "query-id\tcorpus-id\tscore\r\nq1\td1\t1\n\nq1\td2\t0.5\nq é\td1\t-10\n"

// TestQrelsCutAnywhere cuts judgements at every byte. Where the cut leaves a line without a score, the error is at that
// line. A cut between lines, or within a number (10 becomes 1), leaves a sound file, which cannot be told from a whole
// one.
func TestQrelsCutAnywhere(t *testing.T) {
	datasettest.EachCut([]byte(someQrels), func(n int, cut []byte) {
		checkQrels(t, cut)
		last := cut[strings.LastIndex(string(cut), "\n")+1:]
		third := strings.TrimPrefix(string(last[strings.LastIndex(string(last), "\t")+1:]), "-")
		if _, err := readJudgements(t, map[string][]byte{"train.tsv": cut}); len(last) > 0 && (strings.Count(string(last), "\t") < 2 || third == "") && err == nil {
			t.Fatalf("cut at %d, before a score: no error", n)
		}
	})
}

// TestQrelsFiles reads the files in the order of their names, and leaves out those that are not a split.
func TestQrelsFiles(t *testing.T) {
	qrels, err := readJudgements(t, map[string][]byte{"z.tsv": nil, "train.tsv": []byte("q\td\t1"), "a.tsv": []byte("q\te\t1"), "a.txt": []byte("no"), "b.tsv/c": nil})
	if err != nil {
		t.Fatal(err)
	}
	var splits []string
	for _, q := range qrels {
		splits = append(splits, q.Split)
	}
	if !slices.Equal(splits, []string{"a", "train", "z"}) {
		t.Errorf("splits are %v", splits)
	}
	_, err = readJudgements(t, map[string][]byte{"a.txt": []byte("no")})
	datasettest.AsError(t, err, "dir/qrels")
	_, err = readJudgements(t, nil)
	datasettest.AsError(t, err, "dir/qrels")
}

func FuzzQrels(f *testing.F) {
	f.Add([]byte(someQrels))
	f.Add([]byte("q\td\tscore\nq\td\t0x1p-2\nq\td\t2\n"))
	f.Add([]byte("q\td\t1\nq\te\tscore\n"))
	f.Add([]byte("\xef\xbb\xbfq\td\tinf"))
	f.Fuzz(func(t *testing.T, data []byte) { checkQrels(t, data) })
}
