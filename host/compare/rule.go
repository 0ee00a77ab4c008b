package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/sampler"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

var (
	_ Source = (*sampled)(nil)
	_ Source = (*rule)(nil)
	_ drawer = (*sampled)(nil)
	_ drawer = (*rule)(nil)
)

// sampled is a rule as a source of negatives, whatever it needs.
type sampled struct {
	name       string // as it was given: "perc", "perc=0.9" or "dual+bm25"
	place      int    // among the rules that are compared, from 0, for progress
	rules      int    // that are compared
	projection *projection.Projection
	options    mining.Options // Rule is what is mined
	sampler    sampler.Options
}

// rule is a window rule alone: one scan mines all draws.
type rule struct{ sampled }

// source makes a source of a rule. place is its place among as many rules.
func (o Options) source(r sampler.Rule, place, rules int) Source {
	s := sampled{name: r.Name, place: place, rules: rules, projection: o.Projection, options: o.mining(), sampler: o.Sampler}
	s.options.Rule = r.Mined()
	r.InBatch = false // only a trainer adds it
	if t, alone := r.Window(); alone {
		s.options.Rule, s.options.Parameters = t.Name, t.Parameters
		return &rule{s}
	}
	return &s
}

// Name is the rule as it was given.
func (r *sampled) Name() string { return r.name }

// Negatives mines the rule: the result is that of quarry mine.
func (r *sampled) Negatives(ctx context.Context, data *dataset.Dataset) (*negatives.Result, error) {
	o := r.options
	o.Progress = nil // a sum may scan several times
	return r.sample(ctx, data, o, "mine", 0, 1)
}

// hiding are the options that the test of hidden positives mines with.
func (r *sampled) hiding() mining.Options {
	o := r.options
	o.Twins = mining.TwinsKeep // a twin of a positive may be a hidden one
	o.Progress = nil
	return o
}

// sample mines the rule, as one of some steps of a stage.
func (r *sampled) sample(ctx context.Context, data *dataset.Dataset, o mining.Options, stage string, step, steps int) (*negatives.Result, error) {
	result, err := sampler.Sample(ctx, data, r.projection, o, r.sampler)
	all := int64(data.Documents.Len())
	r.progress(stage, step, steps)("mine", all, all)
	return result, err
}

// ofDraws mines each draw by itself.
func (r *sampled) ofDraws(ctx context.Context, test *hiddenTest) (draws [][]choice, err error) {
	for number, draw := range test.draws {
		result, err := r.sample(ctx, draw.data, r.hiding(), "hide positives", number, len(test.draws))
		if err != nil {
			return nil, err
		}
		draws = append(draws, choices(result.Pairs))
	}
	return draws, nil
}

// Negatives mines the rule: the result is that of quarry mine.
func (r *rule) Negatives(ctx context.Context, data *dataset.Dataset) (*negatives.Result, error) {
	o := r.options
	o.Progress = r.progress("mine", 0, 1)
	return mining.Mine(ctx, data, r.projection, o)
}

// progress is that of mining one of the rule's steps, told as a stage that all rules share, each for as much as there are documents.
func (r *sampled) progress(stage string, step, steps int) option.Progress {
	return func(own string, done, total int64) {
		if own == "mine" {
			r.options.Progress.Report(stage, int64(r.place)*total+(int64(step)*total+done)/int64(steps), int64(r.rules)*total)
		}
	}
}

// mostKept is how many negatives of a pair a scan can keep. It is a variable so that tests can lower it.
var mostKept = abi.MaxTop

// ofDraws mines all draws in one scan. Whether a document is a negative of a pair depends on the pair, the document and
// the documents that the draw excludes. So a scan that excludes nothing, and keeps more negatives by as many as any draw
// excludes, has the negatives of every draw in it: those that the draw does not exclude, the first Top of them. Where
// a query has more positives than a scan can keep, a draw that this does not settle is mined by itself.
func (r *rule) ofDraws(ctx context.Context, test *hiddenTest) (draws [][]choice, err error) {
	wide := r.hiding()
	wide.Top = max(wide.Top, min(wide.Top+test.mostExcluded(), mostKept))
	wide.Memory = wide.Memory.OrDefault().Share(2) // the plan's instances project pairs, and the miner's mine them
	found, err := r.scan(ctx, test, wide)
	if little := (*option.MemoryError)(nil); errors.As(err, &little) {
		return nil, &option.MemoryError{Given: 2 * little.Given, Least: 2 * little.Least, Enough: 2 * little.Enough}
	}
	if err != nil {
		return nil, err
	}
	for _, draw := range test.draws {
		settled, own := true, []choice{}
		for i, pair := range test.pairs {
			if draw.hides(pair.query, pair.positive) {
				continue
			}
			left := slices.DeleteFunc(slices.Clone(found[i]), func(id string) bool { return test.excludes(draw, pair.query, id) })
			settled = settled && (len(left) >= r.options.Top || len(found[i]) < wide.Top)
			own = append(own, choice{pair.query, pair.positive, left[:min(len(left), r.options.Top)]})
		}
		if !settled {
			result, err := mining.Mine(ctx, draw.data, r.projection, r.hiding())
			if err != nil {
				return nil, err
			}
			own = choices(result.Pairs)
		}
		draws = append(draws, own)
	}
	return draws, nil
}

// scan mines the pairs of the test with no document excluded: of each pair, the ids that were found.
func (r *rule) scan(ctx context.Context, test *hiddenTest, o mining.Options) (found [][]string, err error) {
	plan, err := mining.NewPlan(ctx, test.data, r.projection, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close(ctx)) }()
	manifest := plan.Manifest()
	pairs := plan.Cut().GroupPairs
	miner, err := mining.NewMiner(ctx, r.projection, &manifest, o.Compute, mining.GroupSize{Pairs: pairs, Positives: pairs})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, miner.Close(ctx)) }()
	for number := range plan.Groups() {
		group, err := plan.ProjectGroup(ctx, number)
		if err != nil {
			return nil, err
		}
		group.Tensors = slices.DeleteFunc(group.Tensors, func(t safetensors.Tensor) bool {
			return t.Name == abi.TensorExclude || t.Name == abi.TensorExcludeOffsets
		})
		if err := miner.Begin(ctx, group); err != nil {
			return nil, err
		}
		part, err := miner.Mine(ctx, group.ID, plan.Matrices(), 0, r.progress("hide positives", number, plan.Groups()))
		if err != nil {
			return nil, err
		}
		ids, err := idsOf(test.data, part)
		if err != nil {
			return nil, err
		}
		found = append(found, ids...)
	}
	if len(found) != len(test.pairs) {
		return nil, fmt.Errorf("%d pairs were mined; the test has %d", len(found), len(test.pairs))
	}
	return found, nil
}

// idsOf gives the ids of what a part found, of each pair.
func idsOf(data *dataset.Dataset, part *mine.Part) ([][]string, error) {
	wanted := map[int]bool{}
	for _, found := range part.Found {
		for _, n := range found {
			wanted[int(n.Position)] = true
		}
	}
	ids, err := data.Documents.OfRows(wanted)
	if err != nil {
		return nil, err
	}
	of := make([][]string, len(part.Found))
	for i, found := range part.Found {
		for _, n := range found {
			of[i] = append(of[i], ids[int(n.Position)])
		}
	}
	return of, nil
}
