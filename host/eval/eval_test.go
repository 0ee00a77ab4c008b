package eval

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/option"
)

func readRun(t *testing.T, text string) *Run {
	t.Helper()
	run, err := ReadRun(strings.NewReader(text), "run.trec")
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func readQrels(t *testing.T, text string) Judgements {
	t.Helper()
	judged, err := ReadQrels(strings.NewReader(text), "qrels.tsv")
	if err != nil {
		t.Fatal(err)
	}
	return judged
}

// TestRanking has ranks that lie, equal scores, and scores that are equal only once they are float32.
func TestRanking(t *testing.T) {
	t.Parallel()
	run := readRun(t, "q1 Q0 a 1 0.5 x\nq2 Q0 c 1 1e2 x\nq1\tQ0\tb 2 0.5 x\r\n\nq1 Q0 c 9 .75 x\nq1 Q0 d 0 0.50000000001 x\nq1 Q0 e 3 -inf x\n")
	if want := map[string][]string{"q1": {"c", "d", "b", "a", "e"}, "q2": {"c"}}; !reflect.DeepEqual(run.Rankings, want) {
		t.Errorf("%v, expected %v", run.Rankings, want)
	}
}

// TestMetrics has values worked out by hand: relevant documents of gain 2 at rank 2 and gain 1 at rank 4, and one of gain 3 that was not found.
func TestMetrics(t *testing.T) {
	t.Parallel()
	run := readRun(t, "q1 Q0 a 1 9 x\nq1 Q0 b 2 8 x\nq1 Q0 c 3 7 x\nq1 Q0 d 4 6 x\nq5 Q0 d 4 6 x\n")
	judged := readQrels(t, "q1 0 b 2\nq1 0 d 1\nq1 0 z 3\nq1 0 a 0\nq1 0 c -1\nq2 0 b 1\nq3 0 b 0\n")
	r := Evaluate(run, judged, parse(t, "mrr@1, MRR@10,ndcg@10,ndcg@2,recall@3,p@4,map"))
	log3, log5 := math.Log2(3), math.Log2(5)
	for m, want := range []float64{0, 0.5, (2/log3 + 1/log5) / (3 + 2/log3 + 0.5), (2 / log3) / (3 + 2/log3), 1. / 3, 0.5, (0.5 + 0.5) / 3} {
		if got := r.Values[m]; math.Abs(got[0]-want) > 1e-15 || got[1] != 0 || got[2] != 0 || math.Abs(r.Means[m]-want/3) > 1e-15 {
			t.Errorf("%s: %v, mean %v; expected %v, and 0 for the others", r.Metrics[m], got, r.Means[m], want)
		}
	}
	if r.WithoutRun != 2 || r.WithoutQrel != 1 || len(r.Queries) != 3 {
		t.Errorf("%d queries without results, %d without judgements", r.WithoutRun, r.WithoutQrel)
	}
}

func TestQrelsFormats(t *testing.T) {
	t.Parallel()
	want := Judgements{"q 1": {"d1": 1, "d2": 0}, "q2": {"d1": 0.5}}
	if got := readQrels(t, "query-id\tcorpus-id\tscore\nq 1\td1\t1\nq 1\td2\t0\r\nq2\td1\t0.5\n"); !reflect.DeepEqual(got, want) {
		t.Errorf("BEIR: %v, expected %v", got, want)
	}
	want = Judgements{"q1": {"d1": 1}, "q2": {"d1": 2}}
	for _, text := range []string{"q1 0 d1 1\nq2 0 d1 2\n", "q1\t0\td1\t1\n\nq2\t0  d1\t2", "\xef\xbb\xbfq1 Q0 d1 1 \nq2 0 d1 2\n"} {
		if got := readQrels(t, text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, expected %v", text, got, want)
		}
	}
}

// TestUnsound has files that are refused. Each error names the file, the line, what was found, and what to do.
func TestUnsound(t *testing.T) {
	t.Parallel()
	const run, qrels = "q1 Q0 a 1 0.5 x\n", "q1 0 d1 1\n"
	for _, c := range []struct {
		name, text string
		isRun      bool
		line       int
		says       string
	}{
		{"an empty run", "\n", true, 0, "empty"},
		{"five columns", run + "q1 Q0 a 1 0.5\n", true, 2, "5 columns; expected 6"},
		{"a score that is no number", run + "\nq1 Q0 b 1 high x\n", true, 3, `"high"`},
		{"a score that is NaN", "q1 Q0 b 1 nan x\n", true, 1, `"nan"`},
		{"a document twice", run + "q2 Q0 a 2 0.4 x\nq1 Q0 a 2 0.4 x\n", true, 3, `"a" twice, first in line 1`},
		{"a long line", run + strings.Repeat("x", maxLine+1), true, 2, "longer than"},
		{"no judgements", "query-id\tcorpus-id\tscore\n", false, 0, "no judgements"},
		{"a run for qrels", run, false, 1, "6 columns; expected 4"},
		{"columns that change", qrels + "q1\td2\t1\n", false, 2, "3 columns; expected 4"},
		{"a relevance that is no number", qrels + "q1 0 d2 yes\n", false, 2, `"yes"`},
		{"a pair twice", qrels + "q2 0 d1 1\nq1 0 d1 0\n", false, 3, "judged twice, first in file, line 1"},
		{"an empty id", "q1\t\t1\n", false, 1, "empty"},
		{"a second header", "q1\td\t1\nq\td\tscore\n", false, 2, `"score"`},
	} {
		var err error
		if c.isRun {
			_, err = ReadRun(strings.NewReader(c.text), "file")
		} else {
			_, err = ReadQrels(strings.NewReader(c.text), "file")
		}
		e := (*dataset.Error)(nil)
		if !errors.As(err, &e) || e.Path != "file" || e.Line != c.line || !strings.Contains(e.Problem, c.says) || e.Hint == "" {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestParseMetrics(t *testing.T) {
	t.Parallel()
	for _, names := range []string{"", "mrr@0", "mrr@", "mrr@x", "recall", "p", "bpref", "mrr,mrr", "ndcg@10,ndcg@010", "mrr@-1"} {
		if _, err := ParseMetrics(names); !errors.Is(err, option.ErrOption) {
			t.Errorf("%q: %v", names, err)
		}
	}
}

// results are two results of one metric whose differences are d.
func results(d []float64) (a, b *Result) {
	queries := make([]string, len(d))
	a = &Result{Queries: queries, Metrics: []string{"m"}, Values: [][]float64{d}}
	b = &Result{Queries: queries, Metrics: []string{"m"}, Values: [][]float64{make([]float64, len(d))}}
	return a, b
}

func compare(t *testing.T, d []float64, permutations int, seed uint64) Difference {
	t.Helper()
	a, b := results(d)
	all, err := Compare(a, b, permutations, seed)
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// TestCompareExactly has differences of which all flips can be counted by hand.
func TestCompareExactly(t *testing.T) {
	t.Parallel()
	// Of 8 flips of 1, 2, 3, only two have a sum as far from 0 as 6. No difference can be rejected at 5 %.
	if d := compare(t, []float64{1, 2, 3}, 1, 0); d.P != 0.25 || d.Mean != 2 || !d.Exact || !math.IsInf(d.Interval[0], -1) || !math.IsInf(d.Interval[1], 1) || d.FirstWins != 3 {
		t.Errorf("%+v", d)
	}
	// Flips come in pairs of the same halves. Of 64, 3.2 may reject: the pair seen, which has no halves; the next pair parts 1, or 6, from the rest.
	if d := compare(t, []float64{1, 2, 3, 4, 5, 6}, 1, 0); d.P != 2./64 || d.Interval != [2]float64{1, 6} {
		t.Errorf("%+v", d)
	}
	if d := compare(t, make([]float64, 8), 1, 0); d.P != 1 || d.Interval != [2]float64{} {
		t.Errorf("equal runs: %+v", d)
	}
}

// TestCompareDrawn has more queries than are tried exactly. A seed reproduces; P and the interval agree with the exact ones; the interval
// holds 0 exactly where P is above 0.05.
func TestCompareDrawn(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		d := make([]float64, exactQueries+1+random.IntN(100))
		for i := range d {
			d[i] = 0.3*random.Float64() + random.NormFloat64()
		}
		got := compare(t, d, 999, 5)
		if again := compare(t, d, 999, 5); got != again {
			t.Errorf("the same seed gives %+v and %+v", got, again)
		}
		if rejected := got.Interval[0] > 0 || got.Interval[1] < 0; rejected != (got.P <= level) {
			t.Errorf("P %v, interval %v", got.P, got.Interval)
		}
	}
	d := make([]float64, exactQueries)
	for i := range d {
		d[i] = 0.5 + random.NormFloat64()
	}
	exact, drawn := compare(t, d, 1, 0), paired(append([]float64{0}, d...), 100_000, random)
	if math.Abs(exact.P-drawn.P) > 0.01 {
		t.Errorf("P is %v exactly, and %v drawn", exact.P, drawn.P)
	}
}

// TestIntervalCovers simulates runs that differ by 0.2 on average. The interval holds that in 95 % of 400 simulations, to three standard errors.
func TestIntervalCovers(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	covered, runs := 0, 400
	for range runs {
		d := make([]float64, 25)
		for i := range d {
			d[i] = 0.2 + random.NormFloat64()*0.5
		}
		if got := paired(d, 999, random); got.Interval[0] <= 0.2 && 0.2 <= got.Interval[1] {
			covered++
		}
	}
	if share := float64(covered) / float64(runs); math.Abs(share-0.95) > 0.033 {
		t.Errorf("covered in %v of the simulations", share)
	}
}

func TestCompareRefuses(t *testing.T) {
	t.Parallel()
	a, b := results([]float64{1, 2})
	if _, err := Compare(a, b, 0, 0); !errors.Is(err, option.ErrOption) {
		t.Errorf("no permutations: %v", err)
	}
	b.Queries = []string{"other", "queries"}
	if _, err := Compare(a, b, 10, 0); !errors.Is(err, option.ErrOption) {
		t.Errorf("other queries: %v", err)
	}
}

func FuzzReadRun(f *testing.F) {
	for _, text := range []string{"q1 Q0 a 1 0.5 x\n", "q1 Q0 a 1 1e999 x\nq1 Q0 a 1 2 x", "\xef\xbb\xbf\r\n", "q Q0 d 1 nan x"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		run, err := ReadRun(strings.NewReader(string(text)), "run")
		if e := (*dataset.Error)(nil); err != nil && !errors.As(err, &e) {
			t.Fatalf("%T: %v", err, err)
		} else if err == nil && len(run.Rankings) == 0 {
			t.Fatal("an empty run")
		}
	})
}

func FuzzReadQrels(f *testing.F) {
	for _, text := range []string{"q1 0 d1 1\n", "query-id\tcorpus-id\tscore\nq1\td1\t1\n", "q\t\t1", "q 0 d inf"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		judged, err := ReadQrels(strings.NewReader(string(text)), "qrels")
		if e := (*dataset.Error)(nil); err != nil && !errors.As(err, &e) {
			t.Fatalf("%T: %v", err, err)
		}
		for query, documents := range judged {
			for document, score := range documents {
				if query == "" || document == "" || score-score != 0 {
					t.Fatalf("%q %q %v", query, document, score)
				}
			}
		}
	})
}
