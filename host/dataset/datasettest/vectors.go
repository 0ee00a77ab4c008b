package datasettest

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// checkProblem wants a *dataset.Error that says what is wrong, and where.
func checkProblem(t *testing.T, what string, err error, says string) {
	t.Helper()
	var e *dataset.Error
	if !errors.As(err, &e) || e.Path == "" || !strings.Contains(e.Problem, says) {
		t.Errorf("%s: %v; expected a *dataset.Error that names a source and says %q", what, err, says)
	}
}

// vectors reads every range of rows of every matrix, and some that are not there.
func vectors(t *testing.T, open Open) {
	c := threeDocuments()
	d := mustOpen(t, open, c)
	for _, want := range c.Models {
		m, err := d.Vectors(want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := d.Vectors(want.Name); err != nil || again != m || m.Name != want.Name {
			t.Errorf("a second time %s gives %v, %v; expected %v", want.Name, again, err, m)
		}
		checkMatrix(t, m.Documents, want.Documents)
		checkMatrix(t, m.Queries, want.Queries)
	}
}

func checkMatrix(t *testing.T, x dataset.Matrix, want [][]float32) {
	t.Helper()
	if x.Name() == "" || x.Rows() != len(want) || x.Width() != len(want[0]) || x.DType() != safetensors.F32 {
		t.Fatalf("%q has %d rows of %d %s; expected %d of %d F32", x.Name(), x.Rows(), x.Width(), x.DType(), len(want), len(want[0]))
	}
	stride := 4 * x.Width()
	var readers sync.WaitGroup
	for first := range want {
		for n := range len(want) - first + 1 {
			readers.Go(func() {
				var expected []byte
				for _, row := range want[first : first+n] {
					expected = append(expected, safetensors.OfFloat32("", row).Data...)
				}
				got := make([]byte, n*stride)
				if err := x.ReadRows(got, first, n); err != nil || !bytes.Equal(got, expected) {
					t.Errorf("%s, %d rows from %d: %x, %v; expected %x", x.Name(), n, first, got, err, expected)
				}
			})
		}
	}
	readers.Wait()
	for _, asked := range []struct{ size, first, n int }{{stride, len(want), 1}, {stride, -1, 1}, {2 * stride, len(want) - 1, 2}, {stride - 1, 0, 1}, {0, 0, -1}} {
		if err := x.ReadRows(make([]byte, asked.size), asked.first, asked.n); err == nil {
			t.Errorf("%s, %d rows from %d into %d bytes: no error", x.Name(), asked.n, asked.first, asked.size)
		}
	}
	expected, err := dataset.Fingerprint(x)
	if got, err2 := x.SHA256(); err != nil || err2 != nil || got != expected {
		t.Errorf("%s has the fingerprint %s, %v; expected %s, %v", x.Name(), got, err2, expected, err)
	}
}

// fingerprints are the same for the same contents, and others where what they are of is another.
func fingerprints(t *testing.T, open Open) {
	sums := func(change func(c *Contents)) map[string]string {
		t.Helper()
		c := threeDocuments()
		change(&c)
		d := mustOpen(t, open, c)
		var opened []dataset.Model
		for _, name := range d.Models {
			m, err := d.Vectors(name)
			if err != nil {
				t.Fatal(err)
			}
			opened = append(opened, m)
		}
		sums, err := d.Fingerprints(2, opened)
		if err != nil {
			t.Fatal(err)
		}
		return sums
	}
	same := func(*Contents) {}
	before := sums(same)
	for what, sum := range before {
		if len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" {
			t.Errorf("of %s: %q", what, sum)
		}
	}
	for changed, change := range map[string]func(c *Contents){
		"":                       same,
		"corpus":                 func(c *Contents) { c.Documents[1].Text = "other" },
		"queries":                func(c *Contents) { c.Queries[0].Text = "other" },
		"qrels/train":            func(c *Contents) { c.Qrels[2].Judgements[0].Score = 3 },
		"qrels/dev":              func(c *Contents) { c.Qrels[1].Judgements[0].Score = 0.25 },
		"qrels/test":             func(c *Contents) { c.Qrels[0].Judgements[0].Score = -1 },
		"vectors/wide/docs":      func(c *Contents) { c.Models[0].Documents[2][2] = math.Pi },
		"vectors/wide/queries":   func(c *Contents) { c.Models[0].Queries[0][0] = -0.5 },
		"vectors/narrow/docs":    func(c *Contents) { c.Models[1].Documents[0][0] = 0 },
		"vectors/narrow/queries": func(c *Contents) { c.Models[1].Queries[1][0] = 0 },
	} {
		after := sums(change)
		if len(after) != len(before) {
			t.Errorf("%d fingerprints, then %d", len(before), len(after))
		}
		for what := range before {
			if (after[what] != before[what]) != (what == changed) {
				t.Errorf("%q is changed: the fingerprint of %s was %s and is %s", changed, what, before[what], after[what])
			}
		}
	}
	if len(before) != 9 {
		t.Errorf("fingerprints are of %v", before)
	}
}

// closed closes a data set whose vectors are open, twice.
func closed(t *testing.T, open Open) {
	d := mustOpen(t, open, threeDocuments())
	if _, err := d.Vectors("wide"); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// refused has contents that are not sound. Some are found when they are opened, some when their vectors are.
func refused(t *testing.T, open Open) {
	for says, change := range map[string]func(c *Contents){
		`id "d1" is given twice`: func(c *Contents) { c.Documents[2].ID = "d1" },
		`id "q2" is given twice`: func(c *Contents) { c.Queries[1].ID = "q2" },
		"judged twice":           func(c *Contents) { c.Qrels[0].Judgements[0] = dataset.Judgement{Query: "q2", Document: "d1", Score: 1} },
		"judged twice,": func(c *Contents) {
			again := c.Qrels[2].Judgements[0] // in one split
			again.Score++
			c.Qrels[2].Judgements[2] = again
		},
		"is not a number":  func(c *Contents) { c.Qrels[2].Judgements[0].Score = math.NaN() },
		"2 rows":           func(c *Contents) { c.Models[0].Documents = c.Models[0].Documents[:2] },
		"1 rows":           func(c *Contents) { c.Models[0].Queries = c.Models[0].Queries[:1] },
		"2 columns":        func(c *Contents) { c.Models[0].Queries = [][]float32{{1, 2}, {3, 4}} },
		" (no queries)":    func(c *Contents) { c.Queries = nil },
		" (no documents)":  func(c *Contents) { c.Documents = nil },
		" (no judgements)": func(c *Contents) { c.Qrels = nil },
		" (no models)":     func(c *Contents) { c.Models = nil },
	} {
		c := threeDocuments()
		change(&c)
		d, err := open(t, c)
		if err == nil {
			_, err = d.Vectors("wide")
			if e := d.Close(); e != nil {
				t.Error(e)
			}
		}
		says, _, _ = strings.Cut(says, "  ")
		if strings.HasPrefix(says, " ") {
			says = "" // each format says it in its own words
		}
		checkProblem(t, says, err, says)
	}
}
