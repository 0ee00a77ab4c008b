package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

var (
	_ Source = (*rule)(nil)
	_ drawer = (*rule)(nil)
)

// rule is a rule of mine.Rules as a source of negatives.
type rule struct {
	name       string // as it was given: "perc" or "perc=0.9"
	place      int    // among the rules that are compared, from 0, for progress
	rules      int    // that are compared
	projection *projection.Projection
	options    mining.Options
}

// parseRule reads a rule's name, or its name and the value of its parameter: "dual", "perc", "perc=0.9". shared are the
// options that the rule mines with.
func parseRule(text string, shared mining.Options) (*rule, error) {
	name, value, given := strings.Cut(text, "=")
	definition := mine.LookupRule(name)
	var errs option.Problems
	errs.Check(definition != nil, "rule is %s; it is one of %s", excerpt.Quote(name), strings.Join(mine.RuleNames(), ", "))
	r := &rule{name: text, options: shared}
	r.options.Rule = name
	if definition == nil || !given {
		return r, errs.Err()
	}
	if len(definition.Parameters) != 1 {
		errs.Check(false, "rule %s takes no value, and %s gives one", name, excerpt.Quote(text))
		return r, errs.Err()
	}
	number, err := strconv.ParseFloat(value, 64)
	errs.Check(err == nil, "rule %s: %s is not a number", name, excerpt.Quote(value))
	parameters := map[string]float64{definition.Parameters[0].Name: number}
	if err == nil {
		_, err := mine.NewRule(name, parameters)
		errs.Check(err == nil, "%v", excerpt.Error(err))
	}
	r.options.Parameters = parameters
	return r, errs.Err()
}

// Name is the rule as it was given.
func (r *rule) Name() string { return r.name }

// Negatives mines the rule: the result is that of quarry mine.
func (r *rule) Negatives(ctx context.Context, data *dataset.Dataset) (*negatives.Result, error) {
	o := r.options
	o.Progress = r.progress("mine", 0, 1)
	return mining.Mine(ctx, data, r.projection, o)
}

// progress is that of mining one of the rule's steps, told as a stage that all rules share.
func (r *rule) progress(stage string, step, steps int) option.Progress {
	return func(own string, done, total int64) {
		if own == "mine" {
			r.options.Progress.Report(stage, int64(r.place*steps+step)*total+done, int64(r.rules*steps)*total)
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
	options := r.options
	options.Twins = mining.TwinsKeep // a twin of a positive may be a hidden one
	wide := options
	wide.Progress = nil
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
			exact := options
			exact.Progress = nil
			result, err := mining.Mine(ctx, draw.data, r.projection, exact)
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
