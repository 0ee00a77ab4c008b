package pairs

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
	"github.com/quarry-hn/quarry/host/dataset/lines"
)

// contents is what was read of pairs.
type contents struct {
	Documents, Queries   []string
	Judgements           []dataset.Judgement // without their lines
	DocsSum, QueriesSum  string
	Split, JudgementsSum string
}

// contentsOf reads a split.
func contentsOf(t testing.TB, s Split) (c contents, err error) {
	documents, queries, qrels, err := Read("dir", []Split{s})
	if err != nil {
		return c, err
	}
	c = contents{Documents: textsOf(t, documents), Queries: textsOf(t, queries), Split: qrels[0].Split, JudgementsSum: qrels[0].SHA256}
	for _, j := range qrels[0].Judgements {
		j.Line = 0
		c.Judgements = append(c.Judgements, j)
	}
	if c.DocsSum, err = documents.SHA256(); err == nil {
		c.QueriesSum, err = queries.SHA256()
	}
	return c, err
}

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tables are the files of testdata that hold the rows of a rows.jsonl, with their formats. testdata/make.py writes them with pyarrow.
func tables(t testing.TB) map[string]string {
	t.Helper()
	formats := map[string]string{}
	for ending, format := range map[string]string{"*.parquet": "parquet", "*.arrow": "arrow", "*.arrows": "arrow", "*.feather": "arrow"} {
		for _, folder := range []string{"texts", "lists"} {
			names, err := filepath.Glob("testdata/" + folder + "/" + ending)
			if err != nil || len(names) == 0 {
				t.Fatalf("no file %s in %s, %v", ending, folder, err)
			}
			for _, name := range names {
				formats[folder+"/"+filepath.Base(name)] = format
			}
		}
	}
	return formats
}

// TestTablesOfOtherPrograms reads every table of testdata: documents, queries, judgements and their fingerprints are those of
// the same rows in JSON. Cut at any byte, it is an error that names the file.
func TestTablesOfOtherPrograms(t *testing.T) {
	t.Parallel()
	for name, format := range tables(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, err := contentsOf(t, split("rows.jsonl", "jsonl", testdata(t, path.Dir(name)+"/rows.jsonl"), nil))
			if err != nil {
				t.Fatal(err)
			}
			whole := testdata(t, name)
			got, err := contentsOf(t, split("x", format, whole, nil))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, %v; expected %+v", got, err, want)
			}
			datasettest.EachCut(whole, func(n int, cut []byte) {
				if testing.Short() && n%7 != 0 && n < len(whole)-20 {
					return
				}
				_, err := contentsOf(t, split("x", format, cut, nil))
				if err == nil {
					t.Fatalf("cut at %d of %d: no error", n, len(whole))
				}
				datasettest.AsError(t, err, "dir/x")
			})
		})
	}
}

// TestParts reads the parts that Hugging Face's repositories have, and those that datasets saved, as one split.
func TestParts(t *testing.T) {
	t.Parallel()
	want, err := contentsOf(t, split("rows.jsonl", "jsonl", testdata(t, "texts/rows.jsonl"), nil))
	if err != nil {
		t.Fatal(err)
	}
	for format, pattern := range map[string]string{"parquet": "testdata/parts/train-*.parquet", "arrow": "testdata/parts/saved/*.arrow"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) != 2 {
			t.Fatalf("%q, %v", names, err)
		}
		parts := Split{Name: "train"}
		for _, name := range names {
			parts.Files = append(parts.Files, File{lines.File{FS: os.DirFS("."), Name: filepath.ToSlash(name), Path: name}, format})
		}
		if got, err := contentsOf(t, parts); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; expected %+v", format, got, err, want)
		}
	}
}

// TestColumnNames reads columns that the file calls otherwise. A column of the usual name is not read then.
func TestColumnNames(t *testing.T) {
	t.Parallel()
	parquet := testdata(t, "texts/plain.parquet")
	for _, row := range []struct {
		members lines.Names
		want    string // documents
		fails   string
	}{
		{nil, "a n b c é", ""},
		{Members("anchor", "negative", "positive"), "", "no positive"}, // in row 1
		{Members("anchor", "", "anchor"), "a q b r c q é", ""},
		{Members("question", "", ""), "", `there is no column "question"; there are: negative, anchor, score, positive, neg, answer`},
		{Members("", "", "hard"), "", `there is no column "hard"; there are: negative, anchor, score, positive, neg, answer`},
		{Members("score", "", ""), "", `column "score" is of type DOUBLE; it holds a text in each row`},
	} {
		documents, _, _, err := Read("dir", []Split{split("x.parquet", "parquet", parquet, row.members)})
		if row.fails != "" {
			if e := datasettest.AsError(t, err, "dir/x.parquet"); !strings.HasPrefix(e.Problem, row.fails) || !strings.Contains(e.Hint, "texts.json") {
				t.Errorf("%v: %v; expected %q", row.members, err, row.fails)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, text := range textsOf(t, documents) {
			got = append(got, strings.Fields(text)[0])
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%v: documents %q; expected %q", row.members, got, row.want)
		}
	}
}

// TestTablesThatAreNotSound: an error names the file, the column or the row, and what to do.
func TestTablesThatAreNotSound(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"numbers.parquet":     `column "query" is of type INT64; it holds a text in each row`,
		"numbers.arrow":       `column "query" is of type int64; it holds a text in each row`,
		"several.parquet":     `column "query" is of type lists of STRING; it holds a text in each row`,
		"several.arrow":       `column "query" is of type list<item: utf8, nullable>; it holds a text in each row`,
		"groups.parquet":      `column "positive" is of type a group of columns; it holds a text or a list of texts in each row`,
		"groups.arrow":        `column "positive" is of type struct<text: utf8 nullable, score: float64 nullable>; it holds`,
		"objects.parquet":     `column "positive" is of type a group of columns; it holds a text or a list of texts in each row`,
		"objects.arrow":       `column "positive" is of type list<item: struct<text: utf8 nullable>, nullable>; it holds`,
		"vectors.parquet":     `column "negative" is of type lists of DOUBLE; it holds`,
		"vectors.arrow":       `column "negative" is of type list<item: float64, nullable>; it holds`,
		"other.parquet":       `there is no column query or anchor; there are: question, positive`,
		"other.arrow":         `there is no column query or anchor; there are: question, positive`,
		"no-positive.parquet": `there is no column positive or answer or pos; there are: query, document`,
		"null-query.parquet":  `row 1 (the first is 0): no query`,
		"null-query.arrow":    `row 1 (the first is 0): no query`,
		"no-texts.parquet":    `row 2 (the first is 0): no positive`,
		"no-texts.arrow":      `row 2 (the first is 0): no positive`,
		"not-utf-8.parquet":   `row 1 (the first is 0): column "positive": not UTF-8: "\xff"`,
		"not-utf-8.arrow":     `column "positive" is of type binary; it holds a text or a list of texts in each row`,
	} {
		_, _, _, err := Read("dir", []Split{split(name, strings.TrimPrefix(path.Ext(name), "."), testdata(t, "unsound/"+name), nil)})
		if e := datasettest.AsError(t, err, "dir/"+name); !strings.Contains(e.Error(), says) || !strings.Contains(e.Hint, "texts.json") {
			t.Errorf("%s: %v; expected %q", name, err, says)
		}
	}
}

// TestRowsOfParquet has a file that is said to have more rows than its columns.
func TestRowsOfParquet(t *testing.T) {
	t.Parallel()
	whole := testdata(t, "texts/plain.parquet")
	const rows, sixRows = "\x16\x0a\x19", "\x16\x0c\x19" // in Thrift, between the schema and the row groups
	if bytes.Count(whole, []byte(rows)) != 1 {
		t.Fatalf("%d fields look like the number of rows", bytes.Count(whole, []byte(rows)))
	}
	_, err := contentsOf(t, split("x", "parquet", bytes.Replace(whole, []byte(rows), []byte(sixRows), 1), nil))
	if e := datasettest.AsError(t, err, "dir/x"); !strings.HasSuffix(e.Problem, "the file is said to have 6") {
		t.Error(err)
	}
}

func FuzzParquet(f *testing.F) { fuzz(f, "parquet") }
func FuzzArrow(f *testing.F)   { fuzz(f, "arrow") }

// fuzz reads any bytes as a table of pairs.
func fuzz(f *testing.F, format string) {
	for name, of := range tables(f) {
		if of == format {
			f.Add(testdata(f, name))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := contentsOf(t, split("x", format, data, nil)); err != nil {
			datasettest.AsError(t, err, "dir/x")
		}
	})
}
