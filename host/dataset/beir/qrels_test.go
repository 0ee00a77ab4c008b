package beir

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
)

var threeColumns = regexp.MustCompile(`^([^\t]+)\t([^\t]+)\t([^\t]*)$`)

// What a header has first, or last.
var (
	queryHeading = regexp.MustCompile(`^\s*"*(query[-_]?id|qid)"*\s*$`)
	scoreHeading = regexp.MustCompile(`^"*(score|relevance|rel|label|grade)"*$`)
)

// simpleQrels reads judgements as the README describes them, in UTF-8: query-id, corpus-id and a finite score, separated
// by tabs, or four columns separated by white space, as the first line has them. The first line that is not empty may be
// a header. A pair has one score.
func simpleQrels(data []byte) (js []dataset.Judgement, fault int) {
	lines := simpleLines(data)
	trec := len(lines) > 0 && strings.Count(lines[0].text, "\t") != 2
	for _, l := range lines {
		fields := threeColumns.FindStringSubmatch(l.text)
		if words := strings.Fields(l.text); trec && len(words) == 4 {
			fields = []string{"", words[0], words[2], words[3]}
		} else if trec {
			fields = nil
		}
		if !utf8.ValidString(l.text) {
			return nil, l.number
		}
		if columns := strings.Split(l.text, "\t"); l == lines[0] && (fields != nil || !trec) {
			if trec {
				columns = strings.Fields(l.text)
			}
			last := strings.TrimSpace(columns[len(columns)-1])
			if !finite(last) && last != "" && (queryHeading.MatchString(strings.ToLower(columns[0])) || scoreHeading.MatchString(strings.ToLower(last))) {
				continue
			}
		}
		if fields == nil {
			return nil, l.number
		}
		third := strings.TrimSpace(fields[3])
		if !finite(third) {
			return nil, l.number
		}
		score, _ := strconv.ParseFloat(third, 64)
		at := slices.IndexFunc(js, func(j dataset.Judgement) bool { return j.Query == fields[1] && j.Document == fields[2] })
		if at >= 0 && js[at].Score != score {
			return nil, l.number
		}
		if at < 0 {
			js = append(js, dataset.Judgement{Query: fields[1], Document: fields[2], Score: score, Line: l.number})
		}
	}
	return js, good
}

func finite(text string) bool {
	x, err := strconv.ParseFloat(text, 64)
	return err == nil && x-x == 0
}

// readFolder reads a folder qrels/ of those files.
func readFolder(t testing.TB, files map[string][]byte) (qrels []*dataset.Qrels, err error) {
	t.Helper()
	fsys, size := fstest.MapFS{}, 0
	for name, data := range files {
		fsys["qrels/"+name] = &fstest.MapFile{Data: data}
		size += len(data)
	}
	f := &folder{fsys, "dir"}
	datasettest.Allocates(t, 64*size+(1+len(files))<<18, func() {
		var splits []split
		if splits, err = f.qrelsFiles(nil); err == nil {
			qrels, err = f.readQrels(splits)
		}
	})
	return qrels, err
}

func checkQrels(t testing.TB, data []byte) {
	t.Helper()
	want, fault := simpleQrels(data)
	qrels, err := readFolder(t, map[string][]byte{"train.tsv": data})
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
	// The same judgements are now in two files, and each split has them.
	qrels, err = readFolder(t, map[string][]byte{"train.tsv": data, "dev.tsv": data})
	if err != nil || len(qrels) != 2 || !slices.Equal(qrels[0].Judgements, want) || !slices.Equal(qrels[1].Judgements, want) {
		t.Fatalf("in two files: %v, %v", qrels, err)
	}
}

// someTREC is judgements as TREC has them; MS MARCO separates them by tabs.
const someTREC = "q1 0 d1 1\r\n\nq1\t0\td2\t0.5\nq1 0 d1 1.0\n"

const someQrels = "query-id\tcorpus-id\tscore\r\nq1\td1\t1\n\nq1\td2\t0.5\nq é\td1\t-10\n"

// TestQrelsCutAnywhere cuts judgements at every byte. Where the cut leaves a line without a score, the error is at that
// line. A cut between lines, or within a number (10 becomes 1), leaves a sound file, which cannot be told from a whole
// one.
func TestQrelsCutAnywhere(t *testing.T) {
	datasettest.EachCut([]byte(someQrels), func(n int, cut []byte) {
		checkQrels(t, cut)
		last := cut[strings.LastIndex(string(cut), "\n")+1:]
		third := strings.TrimPrefix(string(last[strings.LastIndex(string(last), "\t")+1:]), "-")
		if _, err := readFolder(t, map[string][]byte{"train.tsv": cut}); len(last) > 0 && (strings.Count(string(last), "\t") < 2 || third == "") && err == nil {
			t.Fatalf("cut at %d, before a score: no error", n)
		}
	})
	datasettest.EachCut([]byte(someTREC), func(n int, cut []byte) {
		checkQrels(t, cut)
		last := cut[strings.LastIndex(string(cut), "\n")+1:]
		if _, err := readFolder(t, map[string][]byte{"train.tsv": cut}); len(last) > 0 && len(strings.Fields(string(last))) != 4 && err == nil {
			t.Fatalf("cut at %d, before a relevance: no error", n)
		}
	})
}

// TestQrelsFiles reads the files of both layouts in the order of their splits, and leaves out hidden ones.
func TestQrelsFiles(t *testing.T) {
	t.Parallel()
	f := &folder{inMemory(map[string][]byte{"qrels/z.tsv": nil, "qrels/train.tsv": []byte("q\td\t1"), "qrels/a.tsv.gz": zip(t, []byte("q\te\t1"), 9),
		"qrels.b.tsv": []byte("q\tf\t1"), "qrels.c.tsv.gz": zip(t, []byte("q\tg\t1"), 9), "qrels/.train.tsv": []byte("no"), "qrels/._z.tsv": []byte("no")}), "dir"}
	splits, err := f.qrelsFiles(nil)
	if err != nil {
		t.Fatal(err)
	}
	qrels, err := f.readQrels(splits)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, q := range qrels {
		name := q.Split
		for _, j := range q.Judgements {
			name += " " + j.Document
		}
		got = append(got, name)
	}
	if want := []string{"a e", "b f", "c g", "train d", "z"}; !slices.Equal(got, want) {
		t.Errorf("splits and their documents are %q; expected %q", got, want)
	}
}

// TestQrelsNames: what lies where judgements are looked for, and is not named as they are, is an error that names it, not left out.
func TestQrelsNames(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{
		"qrels/dev.TSV": "qrels/dev.TSV", "qrels/dev.txt": "qrels/dev.txt", "qrels/dev.qrels": "qrels/dev.qrels", "qrels/sub/dev.tsv": "qrels/sub", "qrels/b.tsv/c": "qrels/b.tsv",
		"qrels/.tsv.gz": "", "qrels/train.tsv.gz": "qrels/train.tsv", "qrels.train.tsv": "qrels.train.tsv", "qrels.dev.txt": "qrels.dev.txt", "qrels.tsv": "qrels.tsv", "qrels.dev.tsv/a": "qrels.dev.tsv",
	} {
		f := &folder{inMemory(map[string][]byte{"qrels/train.tsv": []byte("q\td\t1"), name: []byte("q\te\t1")}), "dir"}
		splits, err := f.qrelsFiles(nil)
		if at == "" {
			if err != nil || len(splits) != 1 {
				t.Errorf("%s: %v, %v", name, splits, err)
			}
		} else if e := datasettest.AsError(t, err, "dir/"+at); e.Hint == "" {
			t.Errorf("%s: %v has no hint", name, e)
		}
	}
	for _, files := range []map[string][]byte{nil, {"qrels": nil}, {"qrels/.x": nil}, {"qrels": nil, "qrels.train.tsv": nil}} {
		_, err := (&folder{inMemory(files), "dir"}).qrelsFiles(nil)
		if e := datasettest.AsError(t, err, "dir/qrels"); e.Hint != qrelsHint {
			t.Errorf("%q: %v", files, e)
		}
	}
}

// TestQrelsHeaders reads files whose first line names the columns, in each format, and refuses one that names none that is known.
func TestQrelsHeaders(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"query-id\tcorpus-id\tscore", "query_id\tdoc_id\tgrade", "\"query-id\"\t\"corpus-id\"\t\"score\"", "Query-ID\tCorpus-ID\tx", "qid\tdocid\trelevance",
		"query iter doc rel", "query_id\tQ0\tdoc\trank", "\n\r\nquery-id\tcorpus-id\tscore", "\xef\xbb\xbf\nq\td\tLabel"} {
		line := "q\td\t1\n"
		if strings.Count(header, "\t") != 2 {
			line = "q 0 d 1\n"
		}
		checkQrels(t, []byte(header+"\n"+line))
		qrels, err := readFolder(t, map[string][]byte{"train.tsv": []byte(header + "\n" + line)})
		if err != nil || len(qrels[0].Judgements) != 1 {
			t.Errorf("%q: %v, %v", header, qrels, err)
		}
	}
	for _, header := range []string{"question\tpassage\tpoints", "query-id\tcorpus-id\t", "q\td\t1\nquery-id\tcorpus-id\tscore"} {
		checkQrels(t, []byte(header+"\nq\td\t1\n"))
		_, err := readFolder(t, map[string][]byte{"train.tsv": []byte(header + "\nq\td\t1\n")})
		if e := datasettest.AsError(t, err, "dir/qrels/train.tsv"); !strings.Contains(e.Hint, "score, relevance, rel, label or grade") {
			t.Errorf("%q: %v", header, e)
		}
	}
}

func FuzzQrels(f *testing.F) {
	f.Add([]byte(someQrels))
	f.Add([]byte("q\td\tscore\nq\td\t0x1p-2\nq\td\t2\n"))
	f.Add([]byte("q\td\t1\nq\te\tscore\n"))
	f.Add([]byte("q 0 d 1\nq\t0 e  2\nq 0 d 1.0\nq 0 d 2"))
	f.Add([]byte("q\td\t1\nq\td\t1e0\n"))
	f.Add([]byte("\xef\xbb\xbfq\td\tinf"))
	f.Fuzz(func(t *testing.T, data []byte) { checkQrels(t, data) })
}
