package compare

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/run"
	"github.com/quarry-hn/quarry/host/sampler"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// small is a data set in memory: random vectors of one model, and judgements.
type small struct {
	documents, queries map[string][]float32
	ids                [2][]string // of documents, of queries
	texts              map[string]dataset.Text
	judged             map[string][]dataset.Judgement // by split
}

const smallWidth = 6

// newSmall makes a data set of 60 documents and 14 queries. Query i has 1 + i mod 5 positives, which lie near to it. The
// last query has the id of a document and lies near to it, and some queries have positives in both splits.
func newSmall() *small {
	random := rand.New(rand.NewPCG(3, 4))
	s := &small{documents: map[string][]float32{}, queries: map[string][]float32{}, texts: map[string]dataset.Text{}, judged: map[string][]dataset.Judgement{}}
	vector := func(near []float32) []float32 {
		v := make([]float32, smallWidth)
		for i := range v {
			if v[i] = float32(random.NormFloat64()); near != nil {
				v[i] = near[i] + v[i]/2
			}
		}
		return v
	}
	add := func(side int, to map[string][]float32, id string, v []float32) {
		s.ids[side], to[id] = append(s.ids[side], id), v
	}
	for i := range 14 {
		id, v := fmt.Sprintf("q%d", i), vector(nil)
		if i == 13 {
			id, v = "d0", vector(s.documents["d0"])
		}
		add(1, s.queries, id, v)
		for range 1 + i%5 {
			positive := fmt.Sprintf("d%d", len(s.ids[0]))
			add(0, s.documents, positive, vector(v))
			split := "train"
			if len(s.ids[0])%4 == 0 {
				split = "test"
			}
			s.judged[split] = append(s.judged[split], dataset.Judgement{Query: id, Document: positive, Score: 1})
		}
	}
	for len(s.ids[0]) < 60 {
		add(0, s.documents, fmt.Sprintf("d%d", len(s.ids[0])), vector(nil))
	}
	for i, id := range s.ids[0] {
		s.texts[id] = dataset.Text{ID: id, Title: "title", Text: fmt.Sprintf("text  %d", i%7)} // some are equal
	}
	return s
}

func (s *small) OfIDs(ids map[string]bool) (map[string]dataset.Text, error) {
	of := map[string]dataset.Text{}
	for id := range ids {
		if text, ok := s.texts[id]; ok {
			of[id] = text
		}
	}
	return of, nil
}

// EachRow gives the texts of documents.
func (s *small) EachRow(rows map[int]bool, f func(int, dataset.Text) error) error {
	var all dataset.TextsOf
	for _, id := range s.ids[0] {
		all = append(all, s.texts[id])
	}
	return all.EachRow(rows, f)
}

// vectors are the vectors of one side.
type vectors [][]float32

func (vectors) Models() []string { return []string{"made"} }

func (v vectors) Open(model string) (dataset.Matrix, error) { return dataset.NewMatrix(model, v) }

func (s *small) open(t *testing.T) *dataset.Dataset {
	t.Helper()
	var sides [2]dataset.Side
	for i, of := range []map[string][]float32{s.documents, s.queries} {
		ids, err := dataset.IDsOf([]string{"documents", "queries"}[i], s.ids[i]...)
		if err != nil {
			t.Fatal(err)
		}
		var rows vectors
		for _, id := range s.ids[i] {
			rows = append(rows, of[id])
		}
		sides[i] = dataset.Side{IDs: ids, Vectors: rows}
	}
	if sides[0].Texts = s; s.texts == nil {
		sides[0].Texts = nil
	}
	sides[1].Texts = sides[0].Texts
	var qrels []*dataset.Qrels
	for _, split := range slices.Sorted(maps.Keys(s.judged)) {
		qrels = append(qrels, &dataset.Qrels{Split: split, Path: split, Judgements: s.judged[split]})
	}
	data, err := dataset.New("small", sides[0], sides[1], qrels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = data.Close() })
	return data
}

// shared is the engine of all tests, so that its speed is measured once.
var shared = engine.Native(engine.Options{})

// native are options on a native engine: the vectors are compared as they are, and twins are kept unless the options say otherwise.
func native(o Options) Options {
	o.Engine, o.Fit.NoPCA, o.Twins = shared, true, cmp.Or(o.Twins, mining.TwinsKeep)
	return o
}

func compareSmall(t *testing.T, s *small, o Options) *Report {
	t.Helper()
	r, err := Compare(t.Context(), s.open(t), native(o))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func asJSON(t *testing.T, r *Report) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// brute is the definition of each rule, in float64, without a scan: the negatives of a pair.
type brute struct {
	*small
	excluded map[string]map[string]bool // by query
	top      int
}

type scored struct {
	id        string
	gap, sPDD float64
}

func cosine(a, b []float32) float64 {
	dot, aa, bb := 0.0, 0.0, 0.0
	for i := range a {
		dot, aa, bb = dot+float64(a[i])*float64(b[i]), aa+float64(a[i])*float64(a[i]), bb+float64(b[i])*float64(b[i])
	}
	return dot / math.Sqrt(aa*bb)
}

func (b brute) negatives(rule, query, positive string) (found []scored) {
	q, pd := b.queries[query], b.documents[positive]
	sQPD := cosine(q, pd)
	for id, d := range b.documents {
		sQD, sPDD := cosine(q, d), cosine(pd, d)
		candidate := map[string]bool{
			"dual": sQD > sQPD && sQD > sPDD, "topk": true, "margin": sQD <= sQPD-0.05, "perc": sQD <= 0.95*sQPD, "capped": sQD <= 0.95*sQPD && sQD > sPDD,
		}[rule]
		if candidate && !b.excluded[query][id] && id != query {
			found = append(found, scored{id, sQD - sQPD, sPDD})
		}
	}
	slices.SortFunc(found, func(a, b scored) int { return cmp.Compare(b.gap, a.gap) })
	return found[:min(len(found), b.top)]
}

// judgedBut is all judgements of a data set, without what is hidden.
func (s *small) judgedBut(hidden map[string]map[string]bool) map[string]map[string]bool {
	excluded := map[string]map[string]bool{}
	for _, of := range s.judged {
		for _, j := range of {
			if excluded[j.Query] == nil {
				excluded[j.Query] = map[string]bool{}
			}
			excluded[j.Query][j.Document] = !hidden[j.Query][j.Document]
		}
	}
	return excluded
}

// pairs are the pairs in the order of mining: the train split first.
func (s *small) pairs(splits ...string) (pairs []dataset.Judgement) {
	for _, split := range splits {
		pairs = append(pairs, s.judged[split]...)
	}
	return pairs
}

// TestBruteForce counts every figure of a report again, from the definitions of the rules.
func TestBruteForce(t *testing.T) {
	t.Parallel()
	s := newSmall()
	copied := slices.Clone(s.documents["d1"]) // a near-copy of a positive
	copied[0] *= 1.01
	s.documents["d59"] = copied
	r := compareSmall(t, s, Options{})
	pairs := s.pairs("train", "test")
	if r.Documents != 60 || r.Queries != 14 || r.Pairs != len(pairs) || r.Top != 5 || r.Split != "all" || r.Unmeasured != "" || len(r.Rules) != len(mine.Rules) {
		t.Errorf("the report is %+v", r)
	}
	all := brute{s, s.judgedBut(nil), 5}
	near := 0
	for _, of := range r.Rules {
		var gaps, sPDD []float64
		with, copies, equal := 0, 0, 0
		queries, times := map[string]map[string]bool{}, map[string]int{}
		for _, p := range pairs {
			found := all.negatives(of.Rule, p.Query, p.Document)
			if len(found) > 0 {
				with++
			}
			for _, n := range found {
				gaps, sPDD = append(gaps, n.gap), append(sPDD, n.sPDD)
				if n.sPDD > 0.98 {
					copies++
				}
				if s.texts[n.id].Text == s.texts[p.Document].Text {
					equal++
				}
				if queries[n.id] == nil {
					queries[n.id] = map[string]bool{}
				}
				queries[n.id][p.Query] = true
				times[n.id]++
			}
		}
		near += copies
		if of.Negatives != len(gaps) || of.Yield != float64(with)/float64(len(pairs)) || of.NegativesPerPair != float64(len(gaps))/float64(len(pairs)) {
			t.Errorf("%s: %d negatives, yield %v, %v a pair", of.Rule, of.Negatives, of.Yield, of.NegativesPerPair)
		}
		checkQuantiles(t, of.Rule+" gap", of.Gap, gaps)
		checkQuantiles(t, of.Rule+" s(PD,D)", of.SPDD, sPDD)
		if c := of.NearCopies; c.Count != copies || *c.Share != float64(copies)/float64(len(gaps)) || *c.EqualTexts != equal || *c.EqualShare != float64(equal)/float64(len(gaps)) {
			t.Errorf("%s: copies are %+v, expected %d and %d", of.Rule, c, copies, equal)
		}
		most := slices.MaxFunc(slices.Sorted(maps.Keys(queries)), func(a, b string) int { return cmp.Compare(len(queries[a]), len(queries[b])) })
		if c := of.ChosenOften; c.Documents != len(times) || c.TopPercent != 1 || *c.TopPercentHas != float64(slices.Max(slices.Collect(maps.Values(times))))/float64(len(gaps)) ||
			c.Most[0].Queries != len(queries[most]) || len(queries[c.Most[0].ID]) != c.Most[0].Queries || len(c.Most) != 5 {
			t.Errorf("%s: chosen often are %+v", of.Rule, c)
		}
		for other, share := range of.Overlap {
			if want := overlapByDefinition(all, pairs, of.Rule, other); share == nil || math.Abs(*share-want) > 1e-12 {
				t.Errorf("%s: the overlap with %s is %v, expected %v", of.Rule, other, share, want)
			}
		}
		if len(of.Overlap) != len(mine.Rules)-1 {
			t.Errorf("%s: overlaps with %v", of.Rule, of.Overlap)
		}
	}
	if near == 0 {
		t.Error("no rule takes the near-copy: the data do not show whether it is counted")
	}
}

func overlapByDefinition(b brute, pairs []dataset.Judgement, rule, other string) float64 {
	var shares []float64
	for _, p := range pairs {
		found, others := b.negatives(rule, p.Query, p.Document), b.negatives(other, p.Query, p.Document)
		common := 0.0
		for _, n := range found {
			if slices.ContainsFunc(others, func(o scored) bool { return o.id == n.id }) {
				common++
			}
		}
		if len(found) > 0 {
			shares = append(shares, common/float64(len(found)))
		}
	}
	sum := 0.0
	for _, s := range shares {
		sum += s
	}
	return sum / float64(len(shares))
}

func checkQuantiles(t *testing.T, name string, q *run.Quantiles, values []float64) {
	t.Helper()
	slices.Sort(values)
	if q.Count != len(values) || math.Abs(q.Min-values[0]) > 1e-6 || math.Abs(q.Max-values[len(values)-1]) > 1e-6 ||
		math.Abs(q.Median-values[int(0.5*float64(len(values)-1)+0.5)]) > 1e-6 {
		t.Errorf("%s: quantiles are %+v of %d values from %v to %v", name, q, len(values), values[0], values[len(values)-1])
	}
}

// TestAsMining: the negatives are to the byte those that mining gives for the rule and its parameter.
func TestAsMining(t *testing.T) {
	t.Parallel()
	s := newSmall()
	data := s.open(t)
	p, err := projection.Fit(t.Context(), data, projection.FitOptions{Components: 4})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Rules: []string{"dual", "perc=0.9", "margin=0.2", "perc", "topk", "capped=0.8"}, Projection: p, Split: "train", Top: 3}
	r := compareSmall(t, s, o)
	for i, m := range []mining.Options{{Rule: "dual"}, {Rule: "perc", Parameters: map[string]float64{"perc": 0.9}}, {Rule: "margin", Parameters: map[string]float64{"margin": 0.2}},
		{Rule: "perc"}, {Rule: "topk"}, {Rule: "capped", Parameters: map[string]float64{"perc": 0.8}}} {
		m.Engine, m.Split, m.Top, m.Twins = shared, "train", 3, mining.TwinsKeep
		result, err := mining.Mine(t.Context(), data, p, m)
		if err != nil {
			t.Fatal(err)
		}
		if of := r.Rules[i]; of.Rule != o.Rules[i] || of.NegativesID != result.Manifest.Negatives || of.Tallies != result.Tallies {
			t.Errorf("%s: %s, and mining gives %s (%+v, %+v)", of.Rule, of.NegativesID, result.Manifest.Negatives, of.Tallies, result.Tallies)
		}
		if r.Projection != result.Manifest.Projection.SHA256 || !reflect.DeepEqual(r.Inputs, result.Manifest.Inputs) {
			t.Error("projection or inputs differ")
		}
	}
}

// TestRefusals: all that is wrong is told together.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		options Options
		says    []string
	}{
		{Options{Rules: []string{"bogus", "dual=1", "perc=x", "perc=2", "topk", "topk"}, Draws: -1, Top: -1},
			[]string{`rule is "bogus"; it is one of dual`, `rule dual takes no value`, `perc: "x" is not a number`, "perc is 2", `"topk" is given twice`, "draws is -1", "top is -1"}},
		{Options{Rules: []string{"adore", "in-batch"}}, []string{"the rules are adore, in-batch", "name one more"}},
		{Options{Draws: maxDraws + 1, Zero: "keep", Missing: "keep", Fit: projection.FitOptions{Variance: 3}},
			[]string{"draws is 1001; it goes from 1 to 1000", `zero is "keep"`, `missing is "keep"`, "variance is 3"}},
		{Options{Rules: []string{""}}, []string{`rule is ""`}},
		{Options{Split: "dev"}, []string{"qrels/dev.tsv"}},
	} {
		_, err := Compare(t.Context(), newSmall().open(t), native(row.options))
		if !errors.Is(err, option.ErrOption) {
			t.Errorf("%+v: %v", row.options, err)
			continue
		}
		for _, part := range row.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%v lacks %q", err, part)
			}
		}
	}
}

// TestSame: a report depends neither on threads, the engine's block size and the batches in which texts are read, nor on
// how often it is made; another seed gives other draws.
func TestSame(t *testing.T) {
	s := newSmall()
	want := asJSON(t, compareSmall(t, s, Options{Seed: 7}))
	defer func(n int) { textsAtOnce = n }(textsAtOnce)
	textsAtOnce = 3
	for _, c := range []mining.Compute{{Threads: 1}, {Threads: 3, BlockRows: 7}} {
		if got := asJSON(t, compareSmall(t, s, Options{Seed: 7, Compute: c})); got != want {
			t.Errorf("with %+v the report is\n%s\nexpected\n%s", c, got, want)
		}
	}
	other := compareSmall(t, s, Options{Seed: 8})
	if asJSON(t, other) == want {
		t.Error("another seed gives the same report")
	}
}

// TestWithoutTexts has no count of equal texts, not 0.
func TestWithoutTexts(t *testing.T) {
	t.Parallel()
	s := newSmall()
	s.texts = nil
	r := compareSmall(t, s, Options{Rules: []string{"topk"}})
	if c := r.Rules[0].NearCopies; c.EqualTexts != nil || c.EqualShare != nil || !strings.Contains(asJSON(t, r), `"equal_texts":null`) {
		t.Errorf("%+v", c)
	}
}

// TestNoNegatives: a rule that takes nothing has no shares, and nothing is divided by 0.
func TestNoNegatives(t *testing.T) {
	t.Parallel()
	r := compareSmall(t, newSmall(), Options{Rules: []string{"margin=2", "topk"}})
	of := r.Rules[0]
	if of.Yield != 0 || of.Negatives != 0 || of.Gap != nil || of.SPDD != nil || of.NearCopies.Share != nil || of.ChosenOften.TopPercentHas != nil || of.Overlap["topk"] != nil ||
		*r.Rules[1].Overlap["margin=2"] != 0 || of.HiddenPositives.TakenShare != 0 {
		t.Errorf("%s", asJSON(t, r))
	}
}

// TestMemory: where memory is too little, the error says how much is enough, for the test of hidden positives too.
func TestMemory(t *testing.T) {
	t.Parallel()
	data, budget := newSmall().open(t), option.Budget{Bytes: 1 << 20}
	for try := 0; ; try++ {
		_, err := Compare(t.Context(), data, native(Options{Rules: []string{"topk"}, Compute: mining.Compute{Memory: budget, Threads: 1}}))
		little := (*option.MemoryError)(nil)
		if !errors.As(err, &little) {
			if err != nil || try != 2 {
				t.Errorf("after %d errors: %v", try, err)
			}
			return
		}
		if little.Given != budget.Bytes || little.Enough <= budget.Bytes {
			t.Fatalf("%d were given: %+v", budget.Bytes, little)
		}
		budget.Bytes = little.Enough
	}
}

// TestInterrupted: a comparison whose context has ended gives no report.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	o := native(Options{Rules: []string{"topk", "dual"}})
	o.Progress = func(stage string, done, total int64) {
		if stage == "hide positives" && 2*done > total { // of the second rule
			cancel()
		}
	}
	if r, err := Compare(ctx, newSmall().open(t), o); !errors.Is(err, context.Canceled) || r != nil {
		t.Errorf("%v, %v", r, err)
	}
}

// plainly is a rule that is no drawer, as a sampler is.
type plainly struct {
	Source
	name string
}

func (p plainly) Name() string { return p.name }

// shortened is a source that lacks the last pair.
type shortened struct{ plainly }

func (s shortened) Negatives(ctx context.Context, data *dataset.Dataset) (*negatives.Result, error) {
	r, err := s.plainly.Negatives(ctx, data)
	if err == nil {
		r.Pairs = r.Pairs[:len(r.Pairs)-1]
	}
	return r, err
}

// ruleOf is a rule that is ready to mine.
func ruleOf(t *testing.T, data *dataset.Dataset, text string, o Options) *rule {
	t.Helper()
	return sourceOf(t, data, text, o).(*rule)
}

// sourceOf is a rule, or a sampler, that is ready to mine.
func sourceOf(t *testing.T, data *dataset.Dataset, text string, o Options) Source {
	t.Helper()
	o.Rules = []string{text}
	o, rules, err := native(o).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if o.Projection, err = projection.Fit(t.Context(), data, projection.FitOptions{NoPCA: true}); err != nil {
		t.Fatal(err)
	}
	return o.source(rules[0], 0, 1)
}

// TestSources: a source that is mined anew for each draw gives what a rule gives, which mines all draws at once. Sources
// of other pairs are refused.
func TestSources(t *testing.T) {
	t.Parallel()
	data := newSmall().open(t)
	o, _, err := native(Options{Seed: 5}).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	r := ruleOf(t, data, "topk", o)
	report, err := compare(t.Context(), data, []Source{r, plainly{r, "sampled"}}, o)
	if err != nil {
		t.Fatal(err)
	}
	a, b := report.Rules[0], report.Rules[1]
	if !reflect.DeepEqual(a.HiddenPositives, b.HiddenPositives) || a.HiddenPositives.TakenShare == 0 || *a.Overlap["sampled"] != 1 {
		t.Errorf("%+v and %+v", a.HiddenPositives, b.HiddenPositives)
	}
	if _, err := compare(t.Context(), data, []Source{r, shortened{plainly{r, "short"}}}, o); err == nil || !strings.Contains(err.Error(), "short: it has 39 pairs") {
		t.Error(err)
	}
}

// TestSamplers: what is no window rule alone is measured as one. A range of the first ranks is the rule itself, and what training adds
// changes nothing. A rule that only training has is named.
func TestSamplers(t *testing.T) {
	t.Parallel()
	r := compareSmall(t, newSmall(), Options{Rules: []string{"topk", "topk:1-5", "adore", "topk+in-batch", "random", "bm25", "star", "dual+topk:2-3"}, Draws: 3, Seed: 4})
	if fmt.Sprint(r.OnlyTrained) != "[adore]" || len(r.Rules) != 7 {
		t.Fatalf("%v, %d rules", r.OnlyTrained, len(r.Rules))
	}
	topk := r.Rules[0]
	for _, same := range []int{1, 2} {
		of := *r.Rules[same]
		if *of.Overlap["topk"] != 1 || !reflect.DeepEqual(of.HiddenPositives, topk.HiddenPositives) || of.HiddenPositives.TakenShare == 0 || of.NegativesPerPair != topk.NegativesPerPair {
			t.Errorf("%s: %+v, %+v; expected %+v", of.Rule, of, of.HiddenPositives, topk.HiddenPositives)
		}
	}
	for _, of := range r.Rules[3:] {
		if of.HiddenPositives == nil || of.HiddenPositives.Draws != 3 || of.Yield == 0 {
			t.Errorf("%s: %+v", of.Rule, of)
		}
	}
	data := newSmall().open(t)
	for _, name := range []string{"random", "bm25", "star", "dual+topk:2-3"} {
		s := sourceOf(t, data, name, Options{Draws: 3, Seed: 4}).(*sampled)
		test := testOf(t, data, ruleOf(t, data, "topk", Options{}), Options{Draws: 3, Seed: 4})
		draws, err := s.ofDraws(t.Context(), test)
		if err != nil {
			t.Fatal(err)
		}
		for i, draw := range draws {
			m := s.options
			m.Rule = name
			result, err := sampler.Sample(t.Context(), test.draws[i].data, s.projection, m, s.sampler)
			if err != nil || fmt.Sprint(choices(result.Pairs)) != fmt.Sprint(draw) {
				t.Errorf("%s, draw %d: %v, and %v of the draw's own data", name, i, draw, err)
			}
		}
	}
}

// TestGiven: negatives that were mined already are measured as those of a rule, whatever distances they came with, but for hidden positives.
func TestGiven(t *testing.T) {
	t.Parallel()
	s := newSmall()
	data := s.open(t)
	p, err := projection.Fit(t.Context(), data, projection.FitOptions{Components: 4})
	if err != nil {
		t.Fatal(err)
	}
	mined, err := mining.Mine(t.Context(), data, p, mining.Options{Compute: mining.Compute{Engine: shared}, Rule: "perc", Split: "all", Top: 7, Twins: mining.TwinsKeep})
	if err != nil {
		t.Fatal(err)
	}
	foreign := slices.Clone(mined.Pairs)
	for i := range foreign {
		foreign[i].DQPD, foreign[i].Negatives = 0, slices.Clone(foreign[i].Negatives)
		for j := range foreign[i].Negatives {
			foreign[i].Negatives[j].DQD, foreign[i].Negatives[j].DPDD = 0, 0
		}
	}
	kept := map[string][]negatives.Pair{}
	r := compareSmall(t, s, Options{Rules: []string{"perc"}, Projection: p, Draws: 2, Given: []Given{{"mine", "n.jsonl", foreign}},
		Found: func(name string, r *negatives.Result) { kept[name] = r.Pairs }})
	rule, of := *r.Rules[0], *r.Rules[1]
	if of.NegativesID != rule.NegativesID || of.Yield != rule.Yield || !reflect.DeepEqual(of.Gap, rule.Gap) || *of.Overlap["perc"] != 1 || of.Rule != "mine" {
		t.Errorf("%+v; expected %+v", of, rule)
	}
	if of.HiddenPositives != nil || rule.HiddenPositives == nil || !strings.Contains(of.Unmeasured, "mined already") {
		t.Errorf("hidden positives: %+v, %q", of.HiddenPositives, of.Unmeasured)
	}
	if len(kept) != 2 || !reflect.DeepEqual(kept["mine"], kept["perc"]) || len(kept["mine"][0].Negatives) > 5 {
		t.Errorf("what was found is %v", kept)
	}

	first := foreign[0]
	with := func(change func(*negatives.Pair)) []negatives.Pair {
		own := first
		own.Negatives = slices.Clone(first.Negatives)
		change(&own)
		return []negatives.Pair{own}
	}
	for says, pairs := range map[string][]negatives.Pair{
		`n.jsonl, line 1: negative "none" is not in`: with(func(p *negatives.Pair) { p.Negatives[0].ID = "none" }),
		"is judged relevant to query":                with(func(p *negatives.Pair) { p.Negatives[1].ID = p.PositiveID }),
		"is there twice":                             with(func(p *negatives.Pair) { p.Negatives[1].ID = p.Negatives[0].ID }),
		"line 2: query":                              {first, first},
		"none of its 1 pairs is a pair of":           with(func(p *negatives.Pair) { p.QueryID = "none" }),
	} {
		_, err := Compare(t.Context(), data, native(Options{Rules: []string{"topk"}, Projection: p, Given: []Given{{"mine", "n.jsonl", pairs}}}))
		if problem := (*dataset.Error)(nil); !errors.As(err, &problem) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v; expected %q", err, says)
		}
	}
	if _, err := Compare(t.Context(), data, native(Options{Rules: []string{"topk"}, Given: []Given{{"topk", "n.jsonl", foreign}}})); !errors.Is(err, option.ErrOption) {
		t.Errorf("a name twice: %v", err)
	}
}

// TestReportIsJSON: a report that is read back is the same.
func TestReportIsJSON(t *testing.T) {
	t.Parallel()
	r := compareSmall(t, newSmall(), Options{Rules: []string{"dual", "topk"}})
	var back Report
	d := json.NewDecoder(bytes.NewReader([]byte(asJSON(t, r))))
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil || !reflect.DeepEqual(&back, r) {
		t.Errorf("%v: %+v", err, back)
	}
}
