// Package sampler gives pairs negatives by other rules than a window on s(Q,D): documents drawn at random, by BM25, out of a range of ranks,
// or out of a batch; and the sums of rules.
//
// Input: a data set, a projection, and the name of a sampler with its parameters. Output: what mining gives (package negatives). The negatives
// of a pair are sorted by their distance from the query, and are scored as a scan scores them. A shortfall is never filled: a pair may have
// fewer negatives than were asked for. No document is a pair's negative twice, and none that is judged relevant to the query is one at all.
// What is drawn depends on the seed and on the inputs, never on the number of threads. The command line's quarry mine calls it.
package sampler

import (
	"context"
	"errors"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// sampling is a run of a sampler.
type sampling struct {
	rule       Rule
	o          Options
	mine       mining.Options
	data       *dataset.Dataset
	projection *projection.Projection

	plan *mining.Plan // for what needs no scan; open while it is used
	zero []int64      // documents that are zero vectors and left out
}

// Sample gives the pairs of a data set the negatives that a rule says. m are the options of mining: Rule is a rule as ParseRule reads it. A window
// rule alone is mined, as mining.Mine does.
func Sample(ctx context.Context, data *dataset.Dataset, p *projection.Projection, m mining.Options, o Options) (result *negatives.Result, err error) {
	rule, err := o.rule(m)
	if err != nil {
		return nil, err
	}
	if t, alone := rule.Window(); alone && o.Scores == nil {
		m.Rule, m.Parameters = t.Name, t.Parameters
		return mining.Mine(ctx, data, p, m)
	}
	o = o.withDefaults()
	if m.Top == 0 {
		m.Top = message.DefaultTop
	}
	if m.Search == nil {
		m.Search = &mining.TwinSearch{}
	}
	s := &sampling{rule: rule, o: o, mine: m, data: data, projection: p}
	defer func() { err = errors.Join(err, s.closePlan(ctx)) }()
	var parts []*mine.Part
	if o.Scores == nil {
		parts, err = s.scans(ctx)
	} else {
		parts, err = s.ofScores(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := s.openPlan(ctx); err != nil {
		return nil, err
	}
	s.takeRanks(parts)
	if rule.InBatch || slices.ContainsFunc(rule.Terms, func(t Term) bool { return !t.isWindow() }) {
		if s.zero, err = s.plan.ZeroDocuments(ctx); err != nil {
			return nil, err
		}
	}
	if rule.InBatch {
		return s.inBatch(ctx)
	}
	return s.result(ctx, parts)
}

// topk is the window rule that takes the nearest documents, whatever they are.
var topk = Term{Name: "topk"}

// scanned is the window rule whose nearest documents a term is taken out of, and how many of them; 0 where it needs none.
func (s *sampling) scanned(t Term) (window Term, nearest int) {
	switch {
	case t.Name == star:
		return topk, starPool
	case !t.isWindow():
		return t, 0
	case t.Ranks != (Ranks{}):
		return t, t.Ranks.Last
	}
	return t, s.mine.Top
}

// scans scans all documents for each term that needs it, and makes the parts of those terms. Each scan has a plan of its own, which is closed
// before the next is made: their memory is not taken at once.
func (s *sampling) scans(ctx context.Context) (parts []*mine.Part, err error) {
	parts = make([]*mine.Part, len(s.rule.Terms))
	for i, t := range s.rule.Terms {
		if window, n := s.scanned(t); n > 0 {
			if parts[i], err = s.mined(ctx, s.data, window, n); err != nil {
				return nil, err
			}
		}
	}
	return parts, nil
}

// openPlan opens the plan for what needs no scan, unless it is open.
func (s *sampling) openPlan(ctx context.Context) (err error) {
	top := s.mine.Top
	if s.o.Scores != nil {
		top = s.o.Scores.Top
	}
	if s.plan == nil {
		s.plan, err = s.newPlan(ctx, s.data, topk, top)
	}
	return err
}

func (s *sampling) closePlan(ctx context.Context) error {
	if s.plan == nil {
		return nil
	}
	err := s.plan.Close(ctx)
	s.plan = nil
	return err
}

// result draws what needs no scan, and puts the parts of all terms together.
func (s *sampling) result(ctx context.Context, parts []*mine.Part) (*negatives.Result, error) {
	for i, t := range s.rule.Terms {
		var chosen [][]int64
		var err error
		switch t.Name {
		case random:
			chosen = s.random()
		case star:
			chosen = s.star(parts[i])
		case bm25:
			chosen, err = s.bm25(ctx)
		default:
			continue // a window rule, whose part is there
		}
		if err != nil {
			return nil, err
		}
		if parts[i], err = s.score(ctx, chosen); err != nil {
			return nil, err
		}
	}
	manifest := s.plan.Manifest()
	manifest.Rule, manifest.Top = s.manifestRule(), s.mine.Top
	return s.plan.Result(add(parts), manifest, nil)
}

// inBatch deals the pairs into batches, and gives each pair the other positives of its batch.
func (s *sampling) inBatch(ctx context.Context) (*negatives.Result, error) {
	batches := deal(s.plan.PairRows(), s.o.Batch, s.o.Seed)
	part, err := s.score(ctx, s.others(batches))
	if err != nil {
		return nil, err
	}
	manifest := s.plan.Manifest()
	manifest.Rule, manifest.Top = s.manifestRule(), s.o.Batch-1
	return s.plan.Result(part, manifest, func(i int, p *negatives.Pair) { p.Batch = batches[i] + 1 })
}

// score makes a part of the documents that were chosen for each pair.
func (s *sampling) score(ctx context.Context, chosen [][]int64) (*mine.Part, error) {
	part, err := s.plan.Score(ctx, chosen)
	if err == nil {
		part.Skipped = int64(len(s.zero))
	}
	return part, err
}

// newPlan plans a window rule.
func (s *sampling) newPlan(ctx context.Context, data *dataset.Dataset, rule Term, top int) (*mining.Plan, error) {
	o := s.mine
	o.Rule, o.Parameters, o.Top = rule.Name, rule.Parameters, top
	return mining.NewPlan(ctx, data, s.projection, o)
}

// mined scans all documents by a window rule, for the pairs of a data set.
func (s *sampling) mined(ctx context.Context, data *dataset.Dataset, rule Term, top int) (part *mine.Part, err error) {
	plan, err := s.newPlan(ctx, data, rule, top)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close(ctx)) }()
	return plan.Mine(ctx)
}

// takeRanks leaves of the nearest documents those of a term's ranks.
func (s *sampling) takeRanks(parts []*mine.Part) {
	for t, term := range s.rule.Terms {
		if term.Ranks == (Ranks{}) {
			continue
		}
		part := parts[t]
		for i, found := range part.Found {
			if len(found) == 0 {
				continue
			}
			part.Found[i] = s.ranked(term.Name, i, found[min(term.Ranks.First-1, len(found)):])
			part.Window[i] = len(part.Found[i]) > 0
		}
	}
}

// ranked takes pair i's negatives of those whose ranks are in the range: the first of them, or a sample.
func (s *sampling) ranked(rule string, i int, found []mine.Negative) []mine.Negative {
	if !s.o.Sampled {
		return found[:min(s.mine.Top, len(found))]
	}
	drawn := draw(stream(s.o.Seed, "ranks "+rule, i), len(found), s.mine.Top)
	sample := make([]mine.Negative, len(drawn))
	for j, at := range drawn {
		sample[j] = found[at]
	}
	return sample
}

// add puts the parts of a sum together: of each pair the negatives of all of them, each document once, the nearest first.
func add(parts []*mine.Part) *mine.Part {
	sum := parts[0]
	for _, part := range parts[1:] {
		for i, found := range part.Found {
			sum.Found[i] = append(slices.Clone(sum.Found[i]), found...)
			slices.SortFunc(sum.Found[i], mining.Nearer)
			sum.Found[i] = slices.CompactFunc(sum.Found[i], func(a, b mine.Negative) bool { return a.Position == b.Position })
			sum.Window[i] = sum.Window[i] || part.Window[i]
		}
	}
	return sum
}
