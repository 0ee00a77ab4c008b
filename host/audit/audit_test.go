package audit

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
)

// made is a small data set. A vector is an angle in degrees, in two models.
type made struct {
	documents, queries []madeText
	qrels              string
}

type madeText struct {
	id, text, source string
	degrees          [2]float64 // in model a and model b; NaN for a zero vector
}

// vectorsOf are vectors in memory, by model.
type vectorsOf map[string]dataset.Matrix

func (v vectorsOf) Models() []string { return slices.Sorted(maps.Keys(v)) }

func (v vectorsOf) Open(model string) (dataset.Matrix, error) { return v[model], nil }

func side(t *testing.T, name string, texts []madeText) dataset.Side {
	t.Helper()
	var ids []string
	var of dataset.TextsOf
	vectors := vectorsOf{}
	var rows [2][][]float32
	for _, text := range texts {
		ids = append(ids, text.id)
		of = append(of, dataset.Text{ID: text.id, Text: text.text, Source: dataset.Source{Place: text.source}})
		for model, degrees := range text.degrees {
			sin, cos := math.Sincos(degrees * math.Pi / 180)
			if math.IsNaN(degrees) {
				sin, cos = 0, 0
			}
			rows[model] = append(rows[model], []float32{float32(cos), float32(sin)})
		}
	}
	for model, name := range []string{"a", "b"} {
		x, err := dataset.NewMatrix(name, rows[model])
		if err != nil {
			t.Fatal(err)
		}
		vectors[name] = x
	}
	stored, err := dataset.IDsOf(name, ids...)
	if err != nil {
		t.Fatal(err)
	}
	return dataset.Side{IDs: stored, Texts: of, Vectors: vectors}
}

func (m made) open(t *testing.T) *dataset.Dataset {
	t.Helper()
	qrels := &dataset.Qrels{Split: "train", Path: "train"}
	for _, line := range strings.Split(strings.TrimSpace(m.qrels), "\n") {
		columns := strings.Split(line, "\t")
		qrels.Judgements = append(qrels.Judgements, dataset.Judgement{Query: columns[0], Document: columns[1], Score: float64(columns[2][0] - '0')})
	}
	data, err := dataset.New("made", side(t, "documents", m.documents), side(t, "queries", m.queries), []*dataset.Qrels{qrels})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// small has a negative for each signal. Query q1 has the positive p1. Of the documents, "far" has none of the signals.
func small() made {
	return made{
		qrels: "q1\tp1\t1\nq2\tp1\t1\nq2\tshared\t1\nq3\tcopy of q3\t1\nq1\trefused\t0\nq3\tlost\t1\n",
		documents: []madeText{
			{"p1", "the cat sat on the mat and slept all day long", "guide/page.md#3", [2]float64{30, 30}},
			{"near", "something else", "guide/page.md#9", [2]float64{31, 31}},
			{"twin", "The cat sat on the mat, and slept all day long!", "guide/other.md#3", [2]float64{120, 120}},
			{"preferred", "words of another kind", "", [2]float64{-24, -16}},
			{"half preferred", "words of another kind", "", [2]float64{-20, 170}},
			{"words", "where does a cat sleep", "guide/page.md#11", [2]float64{130, 130}},
			{"shared", "nothing in common", "guide/page2.md#4", [2]float64{140, 140}},
			{"next", "a section", "guide/page.md#4", [2]float64{150, 150}},
			{"copy of q3", "whatever", "", [2]float64{160, 160}},
			{"refused", "whatever", "", [2]float64{170, 170}},
			{"far", "whatever", "", [2]float64{180, 180}},
		},
		queries: []madeText{
			{"q1", "where does the cat sleep", "", [2]float64{0, 0}},
			{"q2", "?", "", [2]float64{90, 90}},
			{"q3", "where do cats sleep", "", [2]float64{5, 5}},
		},
	}
}

// pair is a pair with those negatives.
func pair(query, positive string, ids ...string) negatives.Pair {
	p := negatives.Pair{QueryID: query, PositiveID: positive, Negatives: []negatives.Negative{}}
	for i, id := range ids {
		p.Negatives = append(p.Negatives, negatives.Negative{ID: id, Rank: i + 1})
	}
	if len(ids) == 0 {
		p.None = negatives.NoneWindow
	}
	return p
}

func native() Options { return Options{mining.Compute{Engine: engine.Native(engine.Options{})}} }

func run(t *testing.T, m made, pairs ...negatives.Pair) *Report {
	t.Helper()
	r, err := Run(t.Context(), m.open(t), pairs, native())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSignals has one negative for each signal. It must have that reason and no other.
func TestSignals(t *testing.T) {
	t.Parallel()
	want := []struct{ id, reason, says string }{
		{"near", "near_positive", "nearer to the positive (cosine 1.00) than 0.70, the default where fewer than 20 pairs"},
		{"twin", "near_duplicate", "share 100 % of their runs of three words"},
		{"preferred", "all_models", "Every one of the 2 models prefers it to the positive, by 0.07 on average"},
		{"half preferred", "", ""},
		{"words", "words", "% of the query's words, weighted by their rarity; the positive has"},
		{"shared", "shared", "both judged relevant to another query (1 in all)"},
		{"next", "next_to", "next to the positive in the same page"},
		{"copy of q3", "near_query", "another query that is near this one (cosine 1.00)"},
		{"refused", "judged", "judged not relevant to this query (0)"},
		{"far", "", ""},
	}
	p := pair("q1", "p1")
	p.None = ""
	for i, w := range want {
		p.Negatives = append(p.Negatives, negatives.Negative{ID: w.id, Rank: i + 1})
	}
	r := run(t, small(), p)
	for i, f := range r.Findings {
		reasons := []string{}
		if want[i].reason != "" {
			reasons = append(reasons, want[i].reason)
		}
		if !slices.Equal(f.ReasonNames, reasons) || len(f.Reasons) != len(reasons) || !strings.Contains(strings.Join(f.Reasons, ""), want[i].says) {
			t.Errorf("%s: %v %q; expected %v", f.ID, f.ReasonNames, f.Reasons, reasons)
		}
		if f.QueryID != "q1" || f.PositiveID != "p1" || f.ID != want[i].id || f.Rank != i+1 {
			t.Errorf("%+v", f)
		}
	}
	near, preferred, far := r.Findings[0].Signals, r.Findings[2].Signals, r.Findings[9].Signals
	degrees := func(of ...float64) (sum float64) {
		for _, d := range of {
			sum += math.Cos(d*math.Pi/180) / float64(len(of))
		}
		return sum
	}
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"s(PD,D)", near.ToPositive, degrees(1)},
		{"s(Q,D)", near.ToQuery, degrees(31)},
		{"margin", preferred.Margin, degrees(24, 16) - degrees(30)},
		{"models", float64(preferred.Prefer), 2},
		{"models", float64(r.Findings[3].Signals.Prefer), 1},
		{"coverage of no word", far.Coverage, 0},
		{"lead", far.Lead, degrees(180) - degrees(31, 31, 120, 120, -24, -16, -20, 170, 130, 130, 140, 140, 150, 150, 160, 160, 170, 170)},
	} {
		if math.Abs(c.got-c.want) > 1e-6 {
			t.Errorf("%s: %v, expected %v", c.name, c.got, c.want)
		}
	}
	if got := r.Findings[8].Score; got != 0 {
		t.Errorf("a document that was judged not relevant has score %v", got)
	}
	if got := r.Findings[1].Score; got < duplicateScore {
		t.Errorf("the same text has score %v", got)
	}
	if r.Reasons["near_positive"] != 1 || r.Queries != 1 || r.Thresholds.PositivePairs != 1 {
		t.Errorf("%+v", r)
	}
}

// TestJudgedRelevant has a negative that has been judged relevant since.
func TestJudgedRelevant(t *testing.T) {
	t.Parallel()
	m := small()
	m.qrels += "q1\tfar\t2\n"
	if f := run(t, m, pair("q1", "p1", "far")).Findings[0]; f.Score != 1 || !slices.Equal(f.ReasonNames, []string{"judged"}) || !strings.Contains(f.Reasons[0], "judged relevant to this query (2)") {
		t.Errorf("%+v", f)
	}
}

// TestThresholdOfData has more than twenty pairs of positives of one query: all at the same angle but three. The limit is their median.
func TestThresholdOfData(t *testing.T) {
	t.Parallel()
	m := small()
	for i := range 7 {
		id := fmt.Sprintf("positive %d", i)
		m.documents = append(m.documents, madeText{id, "", "", [2]float64{float64(i%2) * 10, 0}})
		m.qrels += "q2\t" + id + "\t1\n"
	}
	m.qrels = strings.Replace(m.qrels, "q2\tp1\t1\nq2\tshared\t1\n", "", 1)
	r := run(t, m, pair("q1", "p1", "near", "far"))
	// 12 of the 21 pairs are 10 degrees apart in one model, and not at all in the other.
	if want := (math.Cos(math.Pi/18) + 1) / 2; math.Abs(r.Thresholds.ToPositive-want) > 1e-6 || r.Thresholds.PositivePairs != 21 {
		t.Errorf("%+v, expected %v", r.Thresholds, want)
	}
	if f := r.Findings[0]; !strings.Contains(f.Reasons[0], "half of the positives of one query are to each other (0.99)") {
		t.Errorf("%q", f.Reasons)
	}
}

// TestChosenOften has a document that is a negative of eleven queries, and counts once for the two pairs of one of them.
func TestChosenOften(t *testing.T) {
	t.Parallel()
	m := small()
	pairs := []negatives.Pair{pair("q1", "p1", "far"), pair("q1", "near", "far")}
	for i := range 10 {
		id := fmt.Sprintf("more %d", i)
		m.queries = append(m.queries, madeText{id, "", "", [2]float64{90, 90}})
		pairs = append(pairs, pair(id, "p1", "far", "next"))
	}
	r := run(t, m, pairs...)
	if s := r.Findings[0].Signals; s.ChosenFor != 11 || !slices.Contains(r.Findings[0].ReasonNames, "chosen_often") {
		t.Errorf("%+v", r.Findings[0])
	}
	if n := r.Reasons["chosen_often"]; n != 22 || r.Thresholds.ChosenFor != 10 {
		t.Errorf("%d, %+v", n, r.Thresholds)
	}
}

// TestDuplicateOfAnotherPositive has the text of a positive that is not the pair's, and that no pair names.
func TestDuplicateOfAnotherPositive(t *testing.T) {
	t.Parallel()
	m := small()
	m.documents = append(m.documents, madeText{"copy", "Nothing in common.", "", [2]float64{-90, -90}})
	if f := run(t, m, pair("q2", "p1", "copy")).Findings[0]; !slices.Equal(f.ReasonNames, []string{"near_duplicate"}) || f.Score < duplicateScore {
		t.Errorf("%+v", f)
	}
}

// TestNeighbour ranks documents by their nearness to the positive, in a corpus of 400. A document past the hundredth has no rank, and one that is a
// zero vector has none, whether it is the negative or the positive.
func TestNeighbour(t *testing.T) {
	t.Parallel()
	m := small()
	for i := range 387 {
		m.documents = append(m.documents, madeText{fmt.Sprintf("filler %d", i), "", "", [2]float64{60 + float64(i)/4, 90 - float64(i)/8}})
	}
	zero := [2]float64{math.NaN(), math.NaN()}
	m.documents = append(m.documents, madeText{"zero", "", "", zero}, madeText{"zero too", "", "", zero})
	positive := m.documents[0]
	cosine := func(d madeText) (sum float64) {
		for model, degrees := range d.degrees {
			if !math.IsNaN(degrees) {
				sum += math.Cos((degrees-positive.degrees[model])*math.Pi/180) / 2
			}
		}
		return sum
	}
	rank := map[string]int{}
	for _, d := range m.documents[1:398] {
		n := 1
		for _, other := range m.documents[1:398] {
			if cosine(other) > cosine(d) {
				n++
			}
		}
		rank[d.id] = n
	}
	r := run(t, m, pair("q1", "p1", "near", "filler 3", "filler 70", "filler 300", "twin", "far", "zero"), pair("q2", "zero too", "near"))
	known := 0
	for _, f := range r.Findings[:7] {
		want := rank[f.ID]
		if want > nearestKept {
			want = 0
		}
		if want > 0 {
			known++
		}
		if f.Signals.Neighbour != want {
			t.Errorf("%s: rank %d, expected %d", f.ID, f.Signals.Neighbour, want)
		}
		if is := slices.Contains(f.ReasonNames, "neighbour"); is != (want > 0 && want <= 4) {
			t.Errorf("%s, rank %d: %v", f.ID, want, f.Reasons)
		}
	}
	if f := r.Findings[7]; f.Signals.Neighbour != 0 || known != 3 || r.Thresholds.Neighbour != 4 {
		t.Errorf("%+v, %d known", f, known)
	}
	if f := r.Findings[0]; !slices.Contains(f.Reasons, "Of all documents it is number 1 by nearness to the positive.") {
		t.Errorf("%+v", f)
	}
}

func TestNextTo(t *testing.T) {
	t.Parallel()
	text := func(id, place string) dataset.Text { return dataset.Text{ID: id, Source: dataset.Source{Place: place}} }
	for _, c := range []struct {
		a, b dataset.Text
		want string
	}{
		{text("x", "page#1"), text("y", "page#2"), "page"},
		{text("x", "page#2"), text("y", "page#1"), "page"},
		{text("x", "page#1"), text("y", "page#3"), ""},
		{text("x", "page#1"), text("y", "page#1"), ""},
		{text("x", "page#1"), text("y", "leaf#2"), ""},
		{text("page-1", "page#1"), text("page-2", "page#7"), ""}, // the source decides where there is one
		{text("page-9", ""), text("page-10", ""), "id"},
		{text("d00009", ""), text("d00010", ""), ""}, // documents numbered through
		{text("9", ""), text("10", ""), ""},
		{text("#1", ""), text("#2", ""), ""},
		{text("page-", ""), text("page-1", ""), ""},
		{text("page-99999999999999999999", ""), text("page-1", ""), ""},
	} {
		if got := nextTo(c.a, c.b); got != c.want {
			t.Errorf("%v and %v: %q, expected %q", c.a, c.b, got, c.want)
		}
	}
}

func TestJaccard(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want float64
	}{
		{"", "", 0}, {"a", "", 0}, {"a", "A!", 1}, {"a b", "a b", 1}, {"a b", "b a", 0},
		{"a b c d", "x a b c", 1. / 3}, {"a b c a b c", "a b c", 1. / 3}, {"a b c d e", "e d c b a", 0},
	} {
		w := newWords(&negatives.Texts{Documents: map[string]dataset.Text{"a": {Text: c.a}, "b": {Text: c.b}}})
		if got := jaccard(w.documents["a"].shingles, w.documents["b"].shingles); got != c.want {
			t.Errorf("%q and %q: %v, expected %v", c.a, c.b, got, c.want)
		}
	}
}

// TestDeterministic audits twice: sums go in the same order each time, though maps do not.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	pairs := []negatives.Pair{pair("q1", "p1", "near", "words", "far"), pair("q3", "copy of q3", "near", "twin", "preferred")}
	first := run(t, small(), pairs...)
	for range 5 {
		if again := run(t, small(), pairs...); !reflect.DeepEqual(first, again) {
			t.Fatalf("%+v\n%+v", first, again)
		}
	}
}

// TestKeep drops by score. Ranks count anew, a pair that lost all goes, and one that had none stays.
func TestKeep(t *testing.T) {
	t.Parallel()
	pairs := []negatives.Pair{pair("q1", "p1", "near", "twin", "far"), pair("q3", "copy of q3"), pair("q2", "p1", "twin")}
	r := run(t, small(), pairs...)
	k, err := r.Keep(pairs, 0.9)
	if err != nil {
		t.Fatal(err)
	}
	if want := []negatives.Pair{pair("q1", "p1", "near", "far"), pairs[1]}; !reflect.DeepEqual(k.Pairs, want) || k.Dropped != 2 || k.Emptied != 1 {
		t.Errorf("%+v", k)
	}
	if pairs[0].Negatives[1].ID != "twin" || pairs[0].Negatives[2].Rank != 3 {
		t.Errorf("the pairs given were changed: %+v", pairs)
	}
	var file bytes.Buffer
	if err := (&negatives.Result{Pairs: k.Pairs}).WriteNegatives(&file); err != nil {
		t.Fatal(err)
	}
	if back, err := negatives.Read(&file, "kept"); err != nil || !reflect.DeepEqual(back, k.Pairs) {
		t.Errorf("%v %v", back, err)
	}
	if all, err := r.Keep(pairs, 1); err != nil || all.Dropped != 0 || !reflect.DeepEqual(all.Pairs, pairs) {
		t.Errorf("%+v %v", all, err)
	}
	if _, err := r.Keep(pairs[1:], 0.9); !errors.Is(err, option.ErrOption) {
		t.Errorf("other pairs: %v", err)
	}
}

// TestForeign has files that were mined from other data.
func TestForeign(t *testing.T) {
	t.Parallel()
	data := small().open(t)
	for name, p := range map[string]negatives.Pair{
		"a query": pair("q9", "p1", "far"), "a positive": pair("q1", "p9", "far"), "a negative": pair("q1", "p1", "far", "p9"),
	} {
		_, err := Run(t.Context(), data, []negatives.Pair{p}, native())
		if e := (*dataset.Error)(nil); !errors.As(err, &e) || !strings.Contains(e.Problem, "9\" of the negatives is not there") || e.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCalibration reads the embedded coefficients: one for each feature, and the score grows with what speaks for a false negative.
func TestCalibration(t *testing.T) {
	t.Parallel()
	c := Calibrated
	if c.Format != CalibrationFormat || c.On == "" || c.Command == "" || len(c.Weights) != len(Features) || len(c.Ranges) != len(Features) {
		t.Errorf("%+v", c)
	}
	for _, f := range Features {
		if seen, ok := c.Ranges[f.Name]; !ok || seen[0] > seen[1] {
			t.Errorf("feature %s: %v", f.Name, seen)
		}
	}
	low, high := Signals{ToQuery: 0.4, ToPositive: 0.3, ChosenFor: 1}, Signals{ToQuery: 0.4, ToPositive: 0.7, ChosenFor: 1, SharedQueries: 1, NearQuery: 0.9, Neighbour: 1}
	if a, b := Score(low), Score(high); !(a < 0.2 && b > 0.5) {
		t.Errorf("scores %v and %v", a, b)
	}
	// Beyond what was fitted on, a feature adds nothing.
	if a, b := (Signals{Jaccard: 0.5}), (Signals{Jaccard: 0.7}); Score(a) != Score(b) {
		t.Errorf("scores %v and %v", Score(a), Score(b))
	}
}
