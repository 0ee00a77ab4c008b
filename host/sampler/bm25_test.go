package sampler

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/demo"
)

// TestBM25AsBM25S compares the ten best documents of the demo, for each query, with those of bm25s (Python), which testdata/oracle/bm25s_top.py
// made: the scores, and, where no other document has a score within rounding, the document.
func TestBM25AsBM25S(t *testing.T) {
	file, err := os.ReadFile("../../testdata/oracle/bm25s_top.json")
	if err != nil {
		t.Fatal(err)
	}
	var oracle struct {
		Runs []struct {
			K1, B float64
			Top   [][][2]float64 // of each query: document and score
		}
	}
	if err := json.Unmarshal(file, &oracle); err != nil || len(oracle.Runs) != 2 {
		t.Fatalf("%d runs, %v", len(oracle.Runs), err)
	}
	s := demoSampling(t, "topk")
	x, err := NewIndex(t.Context(), s.data, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[int]bool{}
	for row := range s.data.Queries.Len() {
		rows[row] = true
	}
	ids, err := s.data.Queries.OfRows(rows)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := textsOf(s.data.Queries, ids)
	if err != nil {
		t.Fatal(err)
	}
	scores := make([]float64, len(x.lengths))
	compared := 0
	for _, run := range oracle.Runs {
		for q, want := range run.Top {
			got := x.search(tokenize(texts[ids[q]]), 10, run.K1, run.B, nil, scores)
			if len(got) != len(want) {
				t.Fatalf("query %d: %d documents; bm25s has %d", q, len(got), len(want))
			}
			for rank, w := range want {
				document, score := int64(w[0]), w[1]
				near := func(other float64) bool { return math.Abs(score-other) < 1e-9 }
				alone := rank+1 < len(want) && !near(want[rank+1][1]) && (rank == 0 || !near(want[rank-1][1]))
				if !near(got[rank].score) || alone && got[rank].document != document {
					t.Errorf("query %d, rank %d, k1 %v, b %v: document %d with %v; bm25s has %d with %v", q, rank+1, run.K1, run.B, got[rank].document,
						got[rank].score, document, score)
				}
				if alone {
					compared++
				}
			}
		}
	}
	if compared < 1000 || slices.ContainsFunc(scores, func(x float64) bool { return x != 0 }) {
		t.Errorf("%d documents were compared by id, or scores were left behind", compared)
	}
}

// TestBM25ByHand has the scores of a small index, worked out from the formula.
func TestBM25ByHand(t *testing.T) {
	x := &Index{postings: map[string][]posting{}}
	for _, text := range []string{"The cache, the CACHE of x!", "a cache_line", "cache", "", "été numéro 10"} {
		x.add(tokenize(text))
	}
	x.finish()
	if want := []float64{5, 1, 1, 0, 3}; !slices.Equal(x.lengths, want) || x.mean != 2 {
		t.Fatalf("the lengths are %v with the mean %v; expected %v", x.lengths, x.mean, want)
	}
	scores := make([]float64, 5)
	// "cache" is in 2 of 5 documents: idf is ln(1 + 3.5/2.5). Document 0 has it twice among 5 terms, document 2 once, alone.
	idf := math.Log(2.4)
	long, short := idf*2/(2+1.2*(0.25+0.75*2.5)), idf*1/(1+1.2*(0.25+0.75*0.5))
	got := x.search([]string{"cache", "cache", "absent"}, 5, 1.2, 0.75, nil, scores)
	want := []scored{{2, 2 * short}, {0, 2 * long}}
	if long > short {
		slices.Reverse(want)
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %v; expected %v", got, want)
	}
	if got := x.search([]string{"cache"}, 1, 1.2, 0.75, []int64{want[0].document}, scores); len(got) != 1 || got[0].document != want[1].document {
		t.Errorf("without the best: %v", got)
	}
	if got := x.search([]string{"the"}, 5, 0, 0, nil, scores); len(got) != 1 || got[0].score != math.Log(1+4.5/1.5) {
		t.Errorf("without saturation: %v", got)
	}
}

// TestCheckTexts: BM25, alone and in a sum, needs the texts of both sides; other rules need none.
func TestCheckTexts(t *testing.T) {
	missing := errors.New("there are no texts")
	for _, side := range []func(*dataset.Dataset) *dataset.Side{
		func(d *dataset.Dataset) *dataset.Side { return &d.Documents },
		func(d *dataset.Dataset) *dataset.Side { return &d.Queries },
	} {
		data, err := demo.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer data.Close()
		if err := CheckTexts(data, ruleOf(t, "dual+bm25")); err != nil {
			t.Errorf("with texts: %v", err)
		}
		side(data).Texts = dataset.NoTexts{Err: missing}
		for rule, want := range map[string]error{"bm25": missing, "dual+bm25": missing, "dual+random": nil} {
			if err := CheckTexts(data, ruleOf(t, rule)); !errors.Is(err, want) {
				t.Errorf("%s without texts: %v; expected %v", rule, err, want)
			}
		}
	}
}
