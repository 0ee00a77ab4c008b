package compare

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
)

func TestThirdOf(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{2: 1, 3: 1, 4: 1, 5: 2, 6: 2, 7: 2, 8: 3, 300: 100} {
		if got := thirdOf(n); got != want || got >= n {
			t.Errorf("a third of %d is %d, expected %d", n, got, want)
		}
	}
}

// testOf is the test of hidden positives of a small data set.
func testOf(t *testing.T, data *dataset.Dataset, r *rule, o Options) *hiddenTest {
	t.Helper()
	o, _, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	result, err := r.Negatives(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	return newHiddenTest(data, choices(result.Pairs), o)
}

// TestDraws: each draw hides a third of the positives of each query that has two or more in the split, and never all.
func TestDraws(t *testing.T) {
	t.Parallel()
	s := newSmall()
	data := s.open(t)
	r := ruleOf(t, data, "topk", Options{})
	test := testOf(t, data, r, Options{Seed: 9})
	if len(test.queries) != 11 || len(test.draws) != DefaultDraws {
		t.Fatalf("%d queries, %d draws", len(test.queries), len(test.draws))
	}
	differ := false
	for i, d := range test.draws {
		hidden, judged := 0, 0
		for _, query := range test.queries {
			hidden += len(d.hidden[query])
			for document := range d.hidden[query] {
				if !test.relevant[query][document] {
					t.Errorf("draw %d hides %s of %s, which is not judged relevant", i, document, query)
				}
			}
			if len(d.hidden[query]) != thirdOf(len(test.relevant[query])) {
				t.Errorf("draw %d hides %d of %d positives", i, len(d.hidden[query]), len(test.relevant[query]))
			}
		}
		for _, q := range d.data.Qrels {
			judged += len(q.Judgements)
		}
		if hidden != test.hidden || judged != len(test.pairs)-hidden {
			t.Errorf("draw %d hides %d and leaves %d judgements of %d", i, hidden, judged, len(test.pairs))
		}
		differ = differ || !reflect.DeepEqual(d.hidden, test.draws[0].hidden)
	}
	if !differ {
		t.Error("all draws are the same")
	}
}

// TestHiddenByBruteForce counts what each draw takes from the definition of each rule.
func TestHiddenByBruteForce(t *testing.T) {
	t.Parallel()
	s := newSmall()
	report := compareSmall(t, s, Options{Seed: 4, Draws: 3})
	data := s.open(t)
	test := testOf(t, data, ruleOf(t, data, "topk", Options{}), Options{Seed: 4, Draws: 3})
	some := false
	for _, of := range report.Rules {
		h := of.HiddenPositives
		if h.Draws != 3 || len(h.TakenOfDraws) != 3 {
			t.Fatalf("%s: %+v", of.Rule, h)
		}
		sum, all, relevant := 0.0, 0, 0
		for i, d := range test.draws {
			b := brute{s, s.judgedBut(d.hidden), 5}
			taken, first := map[string]bool{}, map[string]bool{}
			for _, p := range test.pairs {
				if d.hidden[p.query][p.positive] {
					continue
				}
				for rank, n := range b.negatives(of.Rule, p.query, p.positive) {
					all++
					if d.hidden[p.query][n.id] {
						relevant++
						taken[p.query+n.id] = true
						if rank == 0 {
							first[p.query+n.id] = true
						}
					}
				}
			}
			if h.TakenOfDraws[i] != float64(len(taken))/float64(test.hidden) || h.FirstOfDraws[i] != float64(len(first))/float64(test.hidden) {
				t.Errorf("%s, draw %d: %v and %v of %d, expected %d and %d", of.Rule, i, h.TakenOfDraws[i], h.FirstOfDraws[i], test.hidden, len(taken), len(first))
			}
			sum += h.TakenOfDraws[i] / 3
			some = some || len(first) > 0
		}
		if *h.OfNegatives != float64(relevant)/float64(all) {
			t.Errorf("%s: %v of the negatives are hidden positives, expected %d of %d", of.Rule, *h.OfNegatives, relevant, all)
		}
		if math.Abs(h.TakenShare-sum) > 1e-12 || h.TakenInterval[0] > h.TakenShare || h.TakenInterval[1] < h.TakenShare {
			t.Errorf("%s: %+v, and the mean is %v", of.Rule, h, sum)
		}
	}
	if !some {
		t.Error("no rule takes a hidden positive: the data show nothing")
	}
}

// counting is an engine that counts the scans that its instances finish.
type counting struct {
	engine.Engine
	scans *int
}

type countingInstance struct {
	engine.Instance
	scans *int
}

func (c counting) Open(ctx context.Context) (engine.Instance, error) {
	i, err := c.Engine.Open(ctx)
	return countingInstance{i, c.scans}, err
}

func (c countingInstance) Call(ctx context.Context, op abi.Op, n int) ([]byte, error) {
	if op == abi.OpFinish {
		*c.scans++
	}
	return c.Instance.Call(ctx, op, n)
}

// TestDrawsAtOnce: what one scan gives for all draws is what mining gives for each draw's own data set. It is so where a
// query has the id of a document, has positives in another split, or has more positives than a scan can keep.
func TestDrawsAtOnce(t *testing.T) {
	zeros := func(s *small) {
		s.documents["d5"], s.queries["q6"] = make([]float32, smallWidth), make([]float32, smallWidth)
		s.judged["train"] = append(s.judged["train"], dataset.Judgement{Query: "q1", Document: "gone", Score: 1})
	}
	for _, row := range []struct {
		name   string
		change func(*small)
		o      Options
		kept   int
		scans  int // of topk
	}{
		{"all", nil, Options{Draws: 3}, 4096, 1},
		{"a split", nil, Options{Draws: 3, Split: "train", Top: 2}, 4096, 1},
		{"zero vectors and missing documents", zeros, Options{Draws: 3, Zero: "skip", Missing: "skip"}, 4096, 1},
		{"few are kept", nil, Options{Draws: 3}, 7, 4},
		{"no more than Top are kept", nil, Options{Draws: 3}, 1, 4},
	} {
		t.Run(row.name, func(t *testing.T) {
			defer func(n int) { mostKept = n }(mostKept)
			mostKept = row.kept
			s := newSmall()
			if row.change != nil {
				row.change(s)
			}
			data := s.open(t)
			for _, name := range mine.RuleNames() {
				r := ruleOf(t, data, name, row.o)
				test := testOf(t, data, r, row.o)
				scans := 0
				r.options.Engine, r.options.Threads = counting{shared, &scans}, 1
				got, err := r.ofDraws(t.Context(), test)
				if err != nil {
					t.Fatal(err)
				}
				if name == "topk" && scans != row.scans {
					t.Errorf("%d scans, expected %d", scans, row.scans)
				}
				for i, d := range test.draws {
					result, err := r.Negatives(t.Context(), d.data)
					if err != nil {
						t.Fatal(err)
					}
					if want := choices(result.Pairs); fmt.Sprint(got[i]) != fmt.Sprint(want) {
						t.Fatalf("%s, draw %d: one scan gives\n%v\nmining gives\n%v", name, i, got[i], want)
					}
				}
			}
		})
	}
}

// TestNothingToHide: where no query has two positives, the report says so and has null, not 0.
func TestNothingToHide(t *testing.T) {
	t.Parallel()
	s := newSmall()
	seen := map[string]bool{}
	for split, judged := range s.judged {
		s.judged[split] = nil
		for _, j := range judged {
			if !seen[j.Query] {
				s.judged[split], seen[j.Query] = append(s.judged[split], j), true
			}
		}
	}
	r := compareSmall(t, s, Options{Rules: []string{"topk"}})
	if r.Rules[0].HiddenPositives != nil || r.MultiPositiveQueries != 0 || !strings.Contains(r.Unmeasured, "cannot be measured") ||
		!strings.Contains(asJSON(t, r), `"hidden_positives":null`) {
		t.Errorf("%s", asJSON(t, r))
	}
}

// TestOneDraw has no standard deviation.
func TestOneDraw(t *testing.T) {
	t.Parallel()
	h := compareSmall(t, newSmall(), Options{Rules: []string{"topk"}, Draws: 1}).Rules[0].HiddenPositives
	if h.TakenSD != nil || h.FirstSD != nil || h.TakenShare != h.TakenOfDraws[0] {
		t.Errorf("%+v", h)
	}
}

// TestBootstrap compares intervals with what is known: nothing varies, or each query is a coin of 30 %, for which the
// interval is that of the binomial distribution. Where ten queries always go together, it is wider by the square root of
// ten.
func TestBootstrap(t *testing.T) {
	t.Parallel()
	same := []float64{2, 2, 2}
	if got := bootstrap(same, []float64{4, 4, 4}, 1); got != [2]float64{0.5, 0.5} {
		t.Errorf("nothing varies, and the interval is %v", got)
	}
	for _, size := range []float64{1, 10} {
		n := 400 / int(size)
		counts, sizes := make([]float64, n), make([]float64, n)
		for i := range counts {
			sizes[i] = size
			if i%10 < 3 {
				counts[i] = size
			}
		}
		half := 1.96 * math.Sqrt(0.3*0.7/float64(n))
		got := bootstrap(counts, sizes, 1)
		if math.Abs(got[0]-(0.3-half)) > half/5 || math.Abs(got[1]-(0.3+half)) > half/5 {
			t.Errorf("clusters of %v: the interval is %v, expected 0.3 and %v to either side", size, got, half)
		}
		if again := bootstrap(counts, sizes, 1); again != got {
			t.Errorf("the same seed gives %v", again)
		}
	}
}

// TestProgress: both stages go up, for all rules together, and end where all is done.
func TestProgress(t *testing.T) {
	t.Parallel()
	last, ends := map[string]int64{}, map[string]int64{}
	var mutex sync.Mutex
	o := Options{Rules: []string{"topk", "dual", "perc+dual"}, Draws: 2}
	o.Threads = 1
	o.Progress = func(stage string, done, total int64) {
		mutex.Lock()
		defer mutex.Unlock()
		if done < last[stage] || ends[stage] != 0 && ends[stage] != total {
			t.Errorf("%s is at %d of %d, after %d of %d", stage, done, total, last[stage], ends[stage])
		}
		last[stage], ends[stage] = done, total
	}
	compareSmall(t, newSmall(), o)
	want := map[string]int64{"mine": 3 * 60, "hide positives": 3 * 60}
	if !reflect.DeepEqual(last, want) || !reflect.DeepEqual(ends, want) {
		t.Errorf("the stages end at %v of %v, expected %v", last, ends, want)
	}
}
