package train

import (
	"context"
	"fmt"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/sampler"
)

// Ablations are what Ablate varies.
var Ablations = []string{"variance", "models", "train-size", "length"}

// variances are the shares of the variance that are kept, of Table 6 in the paper. No reduction comes after them.
var variances = []float64{0.70, 0.80, 0.90, 0.95, 0.99}

// trainSizes are the numbers of training pairs.
var trainSizes = []int{100, 250, 500, 1000}

// Ablate trains with each rule of the options, dual where there is none, and varies one thing: the share of the variance that is kept
// (prefixes of one basis), the models (each alone, and all), the number of training pairs, or, in the test, short documents and long ones.
// fit says how projections are fitted. Options.Projection, which gives the candidates, stays the same in all rows.
func Ablate(ctx context.Context, data *dataset.Dataset, o Options, what string, fit projection.FitOptions) (*Table, error) {
	if !slices.Contains(Ablations, what) {
		return nil, fmt.Errorf("%w: ablation %q is unknown; there are %v", option.ErrOption, what, Ablations)
	}
	if len(o.Rules)+len(o.More) == 0 {
		o.Rules = []sampler.Rule{{Name: dualRule}}
	}
	o.NoDual = true
	if what == "length" {
		o.byLength = true
		return Compare(ctx, data, o)
	}
	if err := o.ready(ctx); err != nil {
		return nil, err
	}
	var projections []named
	var err error
	switch what {
	case "train-size":
		sources, err := o.bySize(ctx, data)
		if err != nil {
			return nil, err
		}
		return o.compare(ctx, data, sources, false)
	case "variance":
		projections, err = byVariance(ctx, data, fit)
	case "models":
		projections, err = byModel(ctx, data, fit)
	}
	if err != nil {
		return nil, err
	}
	var sources []Source
	for _, p := range projections {
		for _, r := range o.Rules {
			pairs, err := o.mine(ctx, data, p.Projection, r, 0)
			if err != nil {
				return nil, err
			}
			sources = append(sources, Source{Name: r.Name + ", " + p.name, Pairs: pairs, InBatch: r.InBatch, Dynamic: r.Dynamic})
		}
	}
	return o.compare(ctx, data, sources, false)
}

// bySize gives each rule's negatives for several numbers of training pairs.
func (o *Options) bySize(ctx context.Context, data *dataset.Dataset) (sources []Source, err error) {
	for _, r := range o.Rules {
		pairs, err := o.mine(ctx, data, o.Projection, r, 0)
		if err != nil {
			return nil, err
		}
		for _, n := range trainSizes {
			sources = append(sources, Source{Name: fmt.Sprintf("%s, %d pairs", r.Name, n), Pairs: pairs, InBatch: r.InBatch, Dynamic: r.Dynamic, TrainPairs: n})
		}
	}
	return sources, nil
}

type named struct {
	*projection.Projection
	name string
}

// byVariance fits once, for the largest share, and gives the prefixes of that basis, and no reduction.
func byVariance(ctx context.Context, data *dataset.Dataset, fit projection.FitOptions) (all []named, err error) {
	fit.Variance, fit.Components, fit.NoPCA = variances[len(variances)-1], 0, false
	widest, err := projection.Fit(ctx, data, fit)
	if err != nil {
		return nil, err
	}
	for _, share := range variances {
		p, err := prefix(widest, share)
		if err != nil {
			return nil, err
		}
		all = append(all, named{p, fmt.Sprintf("variance %.0f %%", 100*share)})
	}
	fit.Variance, fit.NoPCA = 0, true
	none, err := projection.Fit(ctx, data, fit)
	return append(all, named{none, "no reduction"}), err
}

// prefix is the projection on as many components as keep a share of the variance: what a fit for that share gives.
func prefix(p *projection.Projection, share float64) (*projection.Projection, error) {
	short := *p.Projection
	short.PCA, short.CapturedVariance = fmt.Sprintf("variance=%v", share), 0
	k := 0
	for k < len(p.Variances) && short.CapturedVariance < share*p.TotalVariance {
		short.CapturedVariance += p.Variances[k]
		k++
	}
	short.Components, short.Variances = p.Components[:k*p.Columns()], p.Variances[:k]
	file, err := short.Marshal()
	if err != nil {
		return nil, err
	}
	return projection.Parse(file)
}

// byModel fits each model alone, and all.
func byModel(ctx context.Context, data *dataset.Dataset, fit projection.FitOptions) (all []named, err error) {
	given := fit.Models
	if len(given) == 0 {
		for _, m := range data.Models {
			given = append(given, projection.Weight{Model: m, Weight: 1})
		}
	}
	for i, m := range given {
		fit.Models = given[i : i+1]
		p, err := projection.Fit(ctx, data, fit)
		if err != nil {
			return nil, err
		}
		all = append(all, named{p, m.Model + " alone"})
	}
	fit.Models = given
	p, err := projection.Fit(ctx, data, fit)
	return append(all, named{p, "all models"}), err
}

// parts are the test queries, all together, or those whose positives are short and those whose are long.
func (o *Options) parts(c *corpus) []part {
	if !o.byLength {
		return []part{{"", func(string) bool { return true }}}
	}
	length := map[string]int{}
	var all []int
	for _, q := range sorted(c.relevant) {
		for _, d := range c.relevant[q] {
			length[q] = max(length[q], len(c.texts.Document(d, separator)))
		}
		all = append(all, length[q])
	}
	slices.Sort(all)
	median := all[len(all)/2]
	return []part{
		{"short", func(q string) bool { return length[q] < median }},
		{"long", func(q string) bool { return length[q] >= median }},
	}
}
