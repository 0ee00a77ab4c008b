package sampler

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// demoData is the demo, and a projection of it.
func demoData(t *testing.T) (*dataset.Dataset, *projection.Projection) {
	t.Helper()
	data, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = data.Close() })
	p, err := projection.Fit(t.Context(), data, projection.FitOptions{Components: 8})
	if err != nil {
		t.Fatal(err)
	}
	return data, p
}

func options(rule string, top, threads int) mining.Options {
	return mining.Options{Rule: rule, Top: top, Split: "all", Compute: mining.Compute{Engine: engine.Native(engine.Options{}), Threads: threads}}
}

// demoSampling is a run of a sampler on the demo, with its plan open.
func demoSampling(t *testing.T, rule string) *sampling {
	t.Helper()
	data, p := demoData(t)
	s := &sampling{o: Options{}.withDefaults(), mine: options(rule, 5, 0), data: data, projection: p}
	var err error
	if s.plan, err = s.newPlan(t.Context(), data, topk, 5); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.plan.Close(context.Background()) })
	return s
}

// ids are the ids of a pair's negatives, nearest first.
func ids(p negatives.Pair) (ids []string) {
	for _, n := range p.Negatives {
		ids = append(ids, n.ID)
	}
	return ids
}

// TestEverySampler checks what holds for each: a seed gives the same bytes with any number of threads, another seed gives others, every
// negative has the distances that a scan of all documents finds, none is relevant or there twice, and the files are read back.
func TestEverySampler(t *testing.T) {
	data, p := demoData(t)
	all, err := mining.Mine(t.Context(), data, p, options("topk", 335, 1))
	if err != nil {
		t.Fatal(err)
	}
	share := 0.4
	for _, row := range []struct {
		rule   string
		o      Options
		seeded bool
	}{
		{rule: "random", seeded: true},
		{rule: "bm25"},
		{rule: "star", o: Options{RandomShare: &share}, seeded: true},
		{rule: "in-batch", o: Options{Batch: 8}, seeded: true},
		{rule: "perc", o: Options{Ranks: Ranks{3, 20}}},
		{rule: "perc", o: Options{Ranks: Ranks{3, 20}, Sampled: true}, seeded: true},
		{rule: "dual+perc"},
		{rule: "topk+random+bm25+star", seeded: true},
	} {
		t.Run(row.rule, func(t *testing.T) {
			sample := func(threads int, seed uint64) (*negatives.Result, []byte) {
				o := row.o
				o.Seed = seed
				r, err := Sample(t.Context(), data, p, options(row.rule, 5, threads), o)
				if err != nil {
					t.Fatal(err)
				}
				var b bytes.Buffer
				if err := errors.Join(r.WriteNegatives(&b), r.Manifest.Write(&b)); err != nil {
					t.Fatal(err)
				}
				return r, b.Bytes()
			}
			r, file := sample(1, 7)
			if _, again := sample(3, 7); !bytes.Equal(file, again) {
				t.Error("the same seed with more threads gives other bytes")
			}
			if other, b := sample(1, 8); bytes.Equal(file, b) == row.seeded || (other.Manifest.RunID() == r.Manifest.RunID()) == row.seeded {
				t.Errorf("another seed gives the same: %v; expected %v", bytes.Equal(file, b), !row.seeded)
			}
			var lines bytes.Buffer
			if err := r.WriteNegatives(&lines); err != nil {
				t.Fatal(err)
			}
			if _, err := negatives.Read(&lines, "negatives.jsonl"); err != nil {
				t.Error(err)
			}
			if err := r.Manifest.CheckRule(); row.rule != "dual+perc" && !errors.Is(err, option.ErrOption) {
				t.Errorf("the rule passes for one of an instance: %v", err)
			}
			for i, pair := range r.Pairs {
				known := map[string]negatives.Negative{}
				for _, n := range all.Pairs[i].Negatives {
					n.Rank = 0
					known[n.ID] = n
				}
				if pair.DQPD != all.Pairs[i].DQPD {
					t.Fatalf("pair %d: d_q_pd is %v; a scan finds %v", i, pair.DQPD, all.Pairs[i].DQPD)
				}
				for _, n := range pair.Negatives {
					n.Rank = 0
					if known[n.ID] != n {
						t.Fatalf("pair %d has %+v; a scan finds %+v, once", i, n, known[n.ID])
					}
					delete(known, n.ID)
				}
			}
		})
	}
}

// TestDraw checks that each set of documents that may be drawn is drawn equally often, and no other.
func TestDraw(t *testing.T) {
	excluded := []int64{0, 3, 4, 8}
	const draws = 6000
	seen := map[[2]int64]int{}
	for i := range draws {
		d := drawDocuments(stream(1, random, i), 8+1, 2, excluded)
		seen[[2]int64{d[0], d[1]}]++
	}
	allowed := []int64{1, 2, 5, 6, 7}
	sets := 0
	for i, a := range allowed {
		for _, b := range allowed[i+1:] {
			sets++
			if n := seen[[2]int64{a, b}]; math.Abs(float64(n)-draws/10) > 100 { // 4 standard deviations are 93
				t.Errorf("%d and %d were drawn %d times of %d", a, b, n, draws)
			}
		}
	}
	if len(seen) != sets {
		t.Errorf("%d sets were drawn; there are %d", len(seen), sets)
	}
	if d := drawDocuments(stream(1, random, 0), 9, 100, excluded); !slices.Equal(d, allowed) {
		t.Errorf("all there are: %v", d)
	}
	if d := drawDocuments(stream(1, random, 0), 4, 3, []int64{0, 1, 2, 3}); len(d) != 0 {
		t.Errorf("none is left, and %v were drawn", d)
	}
}

// TestRanks compares ranks of a window rule, and the pool of star, with slices of a long list.
func TestRanks(t *testing.T) {
	data, p := demoData(t)
	run := func(rule string, top int, o Options) *negatives.Result {
		t.Helper()
		r, err := Sample(t.Context(), data, p, options(rule, top, 0), o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	mined := func(rule string, top int) *negatives.Result {
		t.Helper()
		r, err := mining.Mine(t.Context(), data, p, options(rule, top, 0))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	long, dual := mined("topk", 335), mined("dual", 335)
	first, sampled := run("topk", 5, Options{Ranks: Ranks{11, 50}}), run("topk", 5, Options{Ranks: Ranks{11, 50}, Sampled: true})
	late := run("dual", 5, Options{Ranks: Ranks{2, 3}})
	none := 0.0
	pool := run("star", 5, Options{RandomShare: &none})
	different := false
	for i := range long.Pairs {
		all := ids(long.Pairs[i])
		if !slices.Equal(ids(first.Pairs[i]), all[10:15]) {
			t.Errorf("pair %d has %v; expected %v", i, ids(first.Pairs[i]), all[10:15])
		}
		for _, r := range []struct {
			got []string
			of  []string
		}{{ids(sampled.Pairs[i]), all[10:50]}, {ids(pool.Pairs[i]), all[:200]}} {
			if len(r.got) != 5 || slices.ContainsFunc(r.got, func(id string) bool { return !slices.Contains(r.of, id) }) {
				t.Errorf("pair %d has %v, which are not 5 of %v", i, r.got, r.of)
			}
		}
		different = different || !slices.Equal(ids(sampled.Pairs[i]), ids(first.Pairs[i]))
		few := ids(dual.Pairs[i])
		if want := few[min(1, len(few)):min(3, len(few))]; !slices.Equal(ids(late.Pairs[i]), want) {
			t.Errorf("pair %d has %v; expected %v", i, ids(late.Pairs[i]), want)
		}
		if got := late.Pairs[i]; len(few) < 2 && got.None != negatives.NoneWindow && got.None != dual.Pairs[i].None {
			t.Errorf("pair %d of %d by dual has none for %q", i, len(few), got.None)
		}
	}
	if !different {
		t.Error("the sample is the first ones")
	}
}

// TestSum compares a sum with the union of what its rules give alone.
func TestSum(t *testing.T) {
	data, p := demoData(t)
	run := func(rule string) *negatives.Result {
		t.Helper()
		r, err := Sample(t.Context(), data, p, options(rule, 4, 0), Options{Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	sum, shared := run("perc+dual+topk+random"), 0
	for i, pair := range sum.Pairs {
		union := map[string]float64{}
		n := 0
		for _, rule := range []string{"perc", "dual", "topk", "random"} {
			for _, d := range run(rule).Pairs[i].Negatives {
				union[d.ID] = d.DQD
				n++
			}
		}
		shared += n - len(union)
		if len(union) != len(pair.Negatives) {
			t.Fatalf("pair %d has %d negatives; the rules have %d", i, len(pair.Negatives), len(union))
		}
		for _, d := range pair.Negatives {
			if distance, ok := union[d.ID]; !ok || distance != d.DQD {
				t.Errorf("pair %d has %v, which no rule has", i, d)
			}
		}
		if i == 9 {
			break // each pair takes four runs
		}
	}
	if shared == 0 {
		t.Error("no two rules share a document: it shows nothing")
	}
	if of := sum.Manifest.Rule.Of; len(of) != 4 || *of[3].Seed != 3 || of[0].Cap == nil || of[0].ManifestSampling != nil {
		t.Errorf("the manifest has %+v", of)
	}
}

// TestInBatch checks each batch: its size, that no positive is there twice, and that a pair has all other positives but the relevant ones.
func TestInBatch(t *testing.T) {
	pairs := []mining.PairRows{{Query: 0, Positive: 5}, {Query: 1, Positive: 5}, {Query: 2, Positive: 5}, {Query: 0, Positive: 6}, {Query: 3, Positive: 7}, {Query: 4, Positive: 8}, {Query: 5, Positive: 9}}
	for seed := range uint64(50) {
		in := map[int][]int{}
		for i, b := range deal(pairs, 3, seed) {
			if in[b] = append(in[b], pairs[i].Positive); slices.Contains(in[b][:len(in[b])-1], pairs[i].Positive) || len(in[b]) > 3 {
				t.Fatalf("seed %d: batch %d has the positives %v", seed, b, in[b])
			}
		}
		if len(in) > 4 { // no fewer than 3 can hold the three pairs of a positive, and the last may be left over
			t.Errorf("seed %d: 7 pairs in %d batches of 3", seed, len(in))
		}
	}
	data, p := demoData(t)
	r, err := Sample(t.Context(), data, p, options("in-batch", 0, 0), Options{Batch: 8})
	if err != nil {
		t.Fatal(err)
	}
	relevant := map[string]bool{} // query and document
	for _, q := range data.Qrels {
		for _, j := range q.Judgements {
			relevant[j.Query+" "+j.Document] = j.Score > 0
		}
	}
	for i, a := range r.Pairs {
		var want []string
		for j, b := range r.Pairs {
			if i != j && a.Batch == b.Batch && !relevant[a.QueryID+" "+b.PositiveID] {
				want = append(want, b.PositiveID)
			}
		}
		got := ids(a)
		slices.Sort(got)
		slices.Sort(want)
		if a.Batch < 1 || !slices.Equal(got, want) {
			t.Errorf("pair %d of batch %d has %v; expected %v", i, a.Batch, got, want)
		}
	}
	if m := r.Manifest; m.Top != 7 || *m.Rule.Batch != 8 {
		t.Errorf("the manifest says top %d, batch %d", m.Top, *m.Rule.Batch)
	}
}

// TestStarMixes checks how many of star's negatives come from all documents.
func TestStarMixes(t *testing.T) {
	s := demoSampling(t, star)
	nearest := &mine.Part{Found: make([][]mine.Negative, len(s.plan.PairRows()))}
	for i := range nearest.Found {
		for d := int64(330); d < 334; d++ { // a pool of 4: none of them is judged
			nearest.Found[i] = append(nearest.Found[i], mine.Negative{Position: d})
		}
	}
	for _, row := range []struct {
		share          float64
		pool, fromEach int
	}{{0, 4, 0}, {0.2, 4, 1}, {0.5, 2, 3}, {1, 0, 5}} {
		s.o.RandomShare = &row.share
		for i, chosen := range s.star(nearest) {
			if len(chosen) != row.pool+row.fromEach {
				t.Fatalf("share %v, pair %d: %v; expected %d of the pool and %d of all", row.share, i, chosen, row.pool, row.fromEach)
			}
			slices.Sort(chosen)
			if len(slices.Compact(chosen)) != row.pool+row.fromEach {
				t.Fatalf("share %v, pair %d: one of %v is there twice", row.share, i, chosen)
			}
		}
	}
}

// TestZeroDocuments: documents that are zero vectors, and left out, are never drawn.
func TestZeroDocuments(t *testing.T) {
	s := demoSampling(t, random)
	s.zero = []int64{1, 2, 300}
	s.mine.Top = 400
	for i, chosen := range s.random() {
		if want := 335 - len(s.excluded(s.plan.PairRows()[i].Query)); len(chosen) != want || slices.Contains(chosen, 300) {
			t.Fatalf("pair %d has %d documents; expected %d, without the zero vectors", i, len(chosen), want)
		}
	}
}

func TestValidate(t *testing.T) {
	bad := func(x float64) *float64 { return &x }
	for _, row := range []struct {
		rule string
		o    Options
		says string
	}{
		{"random+bogus", Options{}, `"bogus"; it is one of dual`},
		{"random+", Options{}, `rule is ""`},
		{"random+random", Options{}, "twice"},
		{"random+in-batch", Options{}, "no other rule is added"},
		{"adore", Options{}, "needs a trainer"},
		{"random", Options{Ranks: Ranks{1, 5}}, "ranks are of a window rule"},
		{"topk", Options{Ranks: Ranks{5, 4}}, "ranks go from 5 to 4"},
		{"topk", Options{Ranks: Ranks{0, 4}}, "ranks go from 0 to 4"},
		{"topk", Options{Ranks: Ranks{1, 4097}}, "1 to 4096"},
		{"star", Options{RandomShare: bad(1.5)}, "random share is 1.5"},
		{"star", Options{RandomShare: bad(math.NaN())}, "random share is NaN"},
		{"in-batch", Options{Batch: 1}, "batch size is 1"},
		{"bm25", Options{K1: bad(-1)}, "k1 is -1"},
		{"bm25", Options{B: bad(2)}, "b is 2"},
	} {
		if err := row.o.Validate(mining.Options{Rule: row.rule}); !errors.Is(err, option.ErrOption) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s, %+v: %v; expected %q", row.rule, row.o, err, row.says)
		}
	}
	for _, o := range []mining.Options{{Rule: "random", Counts: true}, {Rule: "random", Positives: mining.PositivesAll}, {Rule: "random", Top: -1}} {
		if err := (Options{}).Validate(o); !errors.Is(err, option.ErrOption) {
			t.Errorf("%+v is taken", o)
		}
	}
	for _, rule := range Names() {
		if err := (Options{}).Validate(mining.Options{Rule: rule}); (err != nil) != (rule == adore) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}
