// Package datasettest is what every format of data sets has to do, as tests.
//
// Input: a function that writes contents in the format and opens them; the tests of a format call Run.
package datasettest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
)

// Contents are what a data set is to hold.
type Contents struct {
	Documents, Queries []dataset.Text // in the order of their rows
	NoTexts            bool           // only the ids are there
	Qrels              []Split        // in any order
	Models             []Vectors      // in any order
}

// Split is the judgements of one split.
type Split struct {
	Name       string
	Judgements []dataset.Judgement
}

// Vectors are one encoder's.
type Vectors struct {
	Name               string
	Documents, Queries [][]float32
}

// Open writes contents in a format and opens them, or gives the error of either. The data set is closed when the test
// ends, by whoever called Open.
type Open func(t *testing.T, c Contents) (*dataset.Dataset, error)

// Run tests a format.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, open Open)
	}{
		{"ids", ids},
		{"many ids", manyIDs},
		{"texts", texts},
		{"ids without texts", idsWithoutTexts},
		{"judgements", judgements},
		{"judgements twice", judgementsTwice},
		{"models", models},
		{"vectors", vectors},
		{"fingerprints", fingerprints},
		{"closed", closed},
		{"refused", refused},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open) })
	}
}

// threeDocuments is sound contents of three documents and two queries.
func threeDocuments() Contents {
	return Contents{
		Documents: []dataset.Text{{ID: "d1", Title: "One", Text: "the first"}, {ID: "d é", Text: "\"quoted\"\tand more"}, {ID: "1.0", Title: "Last"}},
		Queries:   []dataset.Text{{ID: "q2", Text: "which?"}, {ID: "q1", Text: "and this?"}},
		Qrels: []Split{
			{"test", []dataset.Judgement{{Query: "q1", Document: "1.0", Score: 1}}},
			{"dev", []dataset.Judgement{{Query: "q1", Document: "d1", Score: 0.5}}},
			{"train", []dataset.Judgement{{Query: "q2", Document: "d1", Score: 2}, {Query: "q1", Document: "d é", Score: 1}, {Query: "q2", Document: "d é", Score: -1}}},
		},
		Models: []Vectors{
			{"wide", [][]float32{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}}, [][]float32{{0.5, 0, -1}, {1e30, 1e-30, 0}}},
			{"narrow", [][]float32{{1}, {2}, {3}}, [][]float32{{4}, {5}}},
		},
	}
}

// mustOpen opens contents that are sound, and closes them when the test ends.
func mustOpen(t *testing.T, open Open, c Contents) *dataset.Dataset {
	t.Helper()
	d, err := open(t, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

func idsOf(texts []dataset.Text) (ids []string) {
	for _, text := range texts {
		ids = append(ids, text.ID)
	}
	return ids
}

func ids(t *testing.T, open Open) {
	c := threeDocuments()
	d := mustOpen(t, open, c)
	CheckIDs(t, d.Documents, idsOf(c.Documents))
	CheckIDs(t, d.Queries, idsOf(c.Queries))
}

// manyIDs has more bytes of ids than a format should hold in memory: 3 MB.
func manyIDs(t *testing.T, open Open) {
	const n = 1500
	c := threeDocuments()
	c.Documents, c.Models = nil, []Vectors{{Name: "m", Queries: c.Models[1].Queries}}
	for i := range n {
		c.Documents = append(c.Documents, dataset.Text{ID: strings.Repeat("document-", 220) + fmt.Sprint(i*7%n), Text: "x"})
		c.Models[0].Documents = append(c.Models[0].Documents, []float32{float32(i)})
	}
	c.Qrels = []Split{{"train", []dataset.Judgement{{Query: "q1", Document: c.Documents[n-1].ID, Score: 1}}}}
	CheckIDs(t, mustOpen(t, open, c).Documents, idsOf(c.Documents))
}

func texts(t *testing.T, open Open) {
	c := threeDocuments()
	d := mustOpen(t, open, c)
	if !d.HasTexts() {
		t.Error("it is said to have no texts")
	}
	for _, side := range []struct {
		of   dataset.Side
		want []dataset.Text
	}{{d.Documents, c.Documents}, {d.Queries, c.Queries}} {
		for _, from := range [][]dataset.Text{side.want, side.want[:1], side.want[1:], nil} {
			wanted, want := map[string]bool{"not there": true}, map[string]dataset.Text{}
			for _, text := range from {
				wanted[text.ID], want[text.ID] = true, text
			}
			if got, err := side.of.Texts.OfIDs(wanted); err != nil || !maps.Equal(got, want) {
				t.Errorf("texts %q, %v; expected %q", got, err, want)
			}
		}
		for _, rows := range []map[int]bool{nil, {0: true}, {1: true, 7: true, -1: true}, {}} {
			got, want := map[int]dataset.Text{}, map[int]dataset.Text{}
			for row, text := range side.want {
				if rows == nil || rows[row] {
					want[row] = text
				}
			}
			last := -1
			err := side.of.Texts.EachRow(rows, func(row int, text dataset.Text) error {
				if row <= last {
					t.Errorf("row %d comes after row %d", row, last)
				}
				last, got[row] = row, text
				return nil
			})
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("texts of rows %v: %v, %v; expected %v", rows, got, err, want)
			}
		}
		failed := errors.New("enough")
		if err := side.of.Texts.EachRow(nil, func(int, dataset.Text) error { return failed }); !errors.Is(err, failed) {
			t.Errorf("what is done with a text fails: %v", err)
		}
	}
}

func idsWithoutTexts(t *testing.T, open Open) {
	c := threeDocuments()
	c.NoTexts = true
	d := mustOpen(t, open, c)
	CheckIDs(t, d.Documents, idsOf(c.Documents))
	CheckIDs(t, d.Queries, idsOf(c.Queries))
	if d.HasTexts() {
		t.Error("it is said to have texts")
	}
	for _, side := range []dataset.Side{d.Documents, d.Queries} {
		if got, err := side.Texts.OfIDs(map[string]bool{"d1": true, "q1": true}); err == nil {
			t.Errorf("texts %q, and no error", got)
		} else {
			AsError(t, err, d.Name)
		}
		if err := side.Texts.EachRow(nil, func(int, dataset.Text) error { return nil }); err == nil {
			t.Error("there are no texts, and reading them is no error")
		}
	}
}

// judgements come train first, then by the splits' names, and within a split in the source's order.
func judgements(t *testing.T, open Open) {
	c := threeDocuments()
	d := mustOpen(t, open, c)
	var names []string
	for _, q := range d.Qrels {
		names = append(names, q.Split)
		i := slices.IndexFunc(c.Qrels, func(s Split) bool { return s.Name == q.Split })
		if i < 0 {
			continue
		}
		got := slices.Clone(q.Judgements)
		for j := range got {
			got[j].Line = 0
		}
		if q.Path == "" || !slices.Equal(got, c.Qrels[i].Judgements) {
			t.Errorf("split %s of %q is %v; expected %v", q.Split, q.Path, got, c.Qrels[i].Judgements)
		}
	}
	if want := []string{"train", "dev", "test"}; !slices.Equal(names, want) {
		t.Errorf("splits are %q; expected %q", names, want)
	}
}

// judgementsTwice: the same judgement again is no other one. A split has it once, and each split has it that names it.
func judgementsTwice(t *testing.T, open Open) {
	c := threeDocuments()
	once := c.Qrels[2].Judgements
	c.Qrels[2].Judgements = append(slices.Clone(once), once[1], once[0])
	c.Qrels[0].Judgements = append(c.Qrels[0].Judgements, once[0])
	d := mustOpen(t, open, c)
	for i, want := range map[int]int{0: len(once), 2: 2} {
		if got := d.Qrels[i]; len(got.Judgements) != want {
			t.Errorf("split %s has %v; expected %d judgements", got.Split, got.Judgements, want)
		}
	}
}

func models(t *testing.T, open Open) {
	d := mustOpen(t, open, threeDocuments())
	if want := []string{"narrow", "wide"}; !slices.Equal(d.Models, want) {
		t.Errorf("models are %q; expected %q", d.Models, want)
	}
	for _, side := range []dataset.Side{d.Documents, d.Queries} {
		if !slices.Equal(side.Vectors.Models(), d.Models) {
			t.Errorf("one side has the models %q", side.Vectors.Models())
		}
	}
	for _, name := range []string{"", "other", "narrow/../wide"} {
		_, err := d.Vectors(name)
		if err == nil {
			t.Errorf("there are vectors of %q", name)
			continue
		}
		checkProblem(t, "a model that is not there", err, "there is no such model; there are narrow, wide")
	}
}
