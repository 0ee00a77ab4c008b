// Package compare says what each rule takes as negatives for a user's own data, without training a model.
//
// Input: a data set, a projection, and sources of negatives, which are rules, samplers, or negatives that are mined already.
// Output: a Report. For each source it has the share of pairs with a negative, how hard the negatives are, what the sources have in common, copies
// of positives, and documents that are chosen often. The test of hidden positives says how often a source takes a
// relevant document for a negative. The command line's quarry compare calls it.
package compare

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/run"
	"github.com/quarry-hn/quarry/host/sampler"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// Source is a named way to choose negatives: a rule, or a sampler.
type Source interface {
	// Name is what reports call the source. No two sources of a comparison have the same.
	Name() string
	// Negatives chooses the negatives of a data set's pairs, as quarry mine does: no document that the data set's
	// judgements give as relevant to a query is a negative of that query.
	Negatives(ctx context.Context, data *dataset.Dataset) (*negatives.Result, error)
}

// drawer is a Source that serves all draws of the test of hidden positives at once. What it chooses for a draw is what
// Negatives chooses for the draw's own data set.
type drawer interface {
	ofDraws(ctx context.Context, test *hiddenTest) ([][]choice, error)
}

// choice is the negatives of a pair, all of them by id, best first.
type choice struct {
	query, positive string
	negatives       []string
}

func choices(pairs []negatives.Pair) []choice {
	all := make([]choice, len(pairs))
	for i, p := range pairs {
		all[i] = choice{p.QueryID, p.PositiveID, make([]string, len(p.Negatives))}
		for j, n := range p.Negatives {
			all[i].negatives[j] = n.ID
		}
	}
	return all
}

// DefaultDraws is how often the test of hidden positives is made where nothing is said.
const DefaultDraws = 10

// Options say what to compare.
type Options struct {
	mining.Compute

	Projection *projection.Projection // nil to fit one
	Fit        projection.FitOptions  // where it is fitted

	Rules   []string        // as sampler.ParseRule reads them; empty means all window rules
	Sampler sampler.Options // of rules that are no window rule alone
	Given   []Given         // negatives that are mined already, compared after the rules
	Split   string          // a qrels file's name without .tsv, or "all"; empty means "all"
	Top     int             // negatives of a pair at most; 0 means message.DefaultTop, 5
	Draws   int             // of the test of hidden positives; 0 means DefaultDraws
	Seed    uint64          // chooses the positives that are hidden, and the samples of intervals
	Twins   string          // as in mining.Options; the test of hidden positives keeps twins, since one may be hidden
	Zero    string          // as in mining.Options
	Missing string          // as in mining.Options

	// Found is told the negatives of each rule, and of each of Given, as they are found. It may be nil.
	Found func(name string, result *negatives.Result)

	search *mining.TwinSearch // that all rules share
}

// Given is negatives that were mined already, by whatever.
type Given struct {
	Name  string
	Path  string // of the file, for errors
	Pairs []negatives.Pair
}

// Validate reports all that is wrong with the options.
func (o Options) Validate() error {
	_, _, err := o.withDefaults()
	return err
}

// withDefaults fills in defaults and returns the rules, or all that is wrong.
func (o Options) withDefaults() (Options, []sampler.Rule, error) {
	var errs option.Problems
	if len(o.Rules) == 0 {
		o.Rules = mine.RuleNames()
	}
	if o.Split == "" {
		o.Split = "all"
	}
	if o.Top == 0 {
		o.Top = message.DefaultTop
	}
	if o.Draws == 0 {
		o.Draws = DefaultDraws
	}
	errs.Check(o.Draws >= 1 && o.Draws <= maxDraws, "draws is %d; it goes from 1 to %d", o.Draws, maxDraws)
	if err := errors.Join(o.mining().Validate(), o.Fit.Validate()); err != nil {
		errs = append(errs, err)
	}
	var rules []sampler.Rule
	seen := map[string]bool{}
	once := func(name string) {
		errs.Check(!seen[name], "rule %s is given twice", excerpt.Quote(name))
		seen[name] = true
	}
	mined := 0
	for _, text := range o.Rules {
		r, err := sampler.ParseRule(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		once(text)
		rules = append(rules, r)
		if r.Mined() != "" {
			mined++
		}
	}
	for _, g := range o.Given {
		errs.Check(g.Name != "", "negatives have no name")
		once(g.Name)
	}
	errs.Check(mined > 0 || len(rules) < len(o.Rules), "the rules are %s, and only training has negatives of them: name one more, as dual", strings.Join(o.Rules, ", "))
	return o, rules, errs.Err()
}

// mining are the options that all rules are mined with.
func (o Options) mining() mining.Options {
	return mining.Options{Compute: o.Compute, Split: o.Split, Top: o.Top, Twins: o.Twins, Search: o.search, Zero: o.Zero, Missing: o.Missing}
}

// Fit fits the projection that Compare takes where the options give none. Before that it finds what Compare would refuse.
func Fit(ctx context.Context, data *dataset.Dataset, o Options) (*projection.Projection, error) {
	o, rules, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		if err := sampler.CheckTexts(data, r); err != nil {
			return nil, err
		}
	}
	if err := mining.CheckBeforeFit(data, o.Fit, o.mining()); err != nil {
		return nil, err
	}
	defer debug.FreeOSMemory() // before the plugin's instances take theirs
	return projection.Fit(ctx, data, o.Fit)
}

// Compare compares the rules. It fits a projection where the options give none.
func Compare(ctx context.Context, data *dataset.Dataset, o Options) (_ *Report, err error) {
	o, rules, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	o.search = &mining.TwinSearch{}
	if o.Projection == nil {
		if o.Projection, err = Fit(ctx, data, o); err != nil {
			return nil, err
		}
	}
	if o.Engine == nil {
		if o.Engine, err = engine.Wasm(ctx, engine.WasmOptions{}); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, o.Engine.Close(context.WithoutCancel(ctx))) }()
	}
	pool := engine.NewPool(o.Engine, option.Threads(o.Threads)) // every scan takes the same instances
	defer func() { err = errors.Join(err, pool.Close(context.WithoutCancel(ctx))) }()
	pooled := o
	pooled.Engine = pool
	sources, onlyTrained, err := pooled.sources(ctx, data, rules)
	if err != nil {
		return nil, err
	}
	r, err := compare(ctx, data, sources, o)
	if err == nil {
		r.OnlyTrained = onlyTrained
	}
	return r, err
}

// sources makes the sources of rules that are mined, and of Given, and names the other rules.
func (o Options) sources(ctx context.Context, data *dataset.Dataset, rules []sampler.Rule) (sources []Source, onlyTrained []string, err error) {
	var mined []sampler.Rule
	for _, r := range rules {
		if err := sampler.CheckTexts(data, r); err != nil {
			return nil, nil, err
		}
		if r.Mined() == "" {
			onlyTrained = append(onlyTrained, r.Name)
			continue
		}
		mined = append(mined, r)
		if r.NeedsTexts() && o.Sampler.Index == nil {
			if o.Sampler.Index, err = sampler.NewIndex(ctx, data, o.Progress); err != nil {
				return nil, nil, err
			}
		}
	}
	for i, r := range mined {
		sources = append(sources, o.source(r, i, len(mined)))
	}
	for _, g := range o.Given {
		sources = append(sources, &given{g, o.Projection, o.mining()})
	}
	return sources, onlyTrained, nil
}

// compare compares sources.
func compare(ctx context.Context, data *dataset.Dataset, sources []Source, o Options) (*Report, error) {
	k := newKept()
	var r *Report
	for _, s := range sources {
		result, err := s.Negatives(ctx, data)
		if err == nil {
			err = k.add(result.Pairs)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name(), err)
		}
		if r == nil {
			r = newReport(result, o)
		}
		r.Rules = append(r.Rules, measure(s.Name(), result))
		if o.Found != nil {
			o.Found(s.Name(), result)
		}
	}
	for i, of := range r.Rules {
		of.Overlap = map[string]*float64{}
		for j, other := range r.Rules {
			if j != i {
				of.Overlap[other.Rule] = overlap(k.negatives[i], k.negatives[j])
			}
		}
	}
	if err := k.countEqualTexts(ctx, data, r.Rules); err != nil {
		return nil, err
	}
	if err := r.measureHidden(ctx, newHiddenTest(data, k.pairs, o), sources); err != nil {
		return nil, err
	}
	return r, ctx.Err()
}

// measureHidden makes the test of hidden positives, or says why it cannot be made.
func (r *Report) measureHidden(ctx context.Context, test *hiddenTest, sources []Source) (err error) {
	r.MultiPositiveQueries, r.HiddenPositives = len(test.queries), test.hidden
	if len(test.queries) == 0 {
		r.Unmeasured = fmt.Sprintf("no query of split %s has two judged positives, so none can be hidden: how often a rule takes a relevant document cannot be measured on this data", r.Split)
		return nil
	}
	for i, s := range sources {
		if g, is := s.(*given); is {
			r.Rules[i].Unmeasured = g.unmeasured()
			continue
		}
		if r.Rules[i].HiddenPositives, err = test.measure(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.Name(), err)
		}
	}
	return nil
}

// Report is a comparison: the content of compare.json. It depends on the data, the projection and the options, and on
// nothing else.
type Report struct {
	Format     string            `json:"format"`
	Split      string            `json:"split"`
	Top        int               `json:"top"`  // negatives of a pair at most
	Seed       uint64            `json:"seed"` // of the draws and the intervals
	Projection string            `json:"projection_sha256"`
	Inputs     map[string]string `json:"inputs"` // SHA-256 of each; see dataset.Dataset.Fingerprints
	Documents  int64             `json:"documents"`
	Queries    int               `json:"queries"`
	Pairs      int               `json:"pairs"`

	MultiPositiveQueries int    `json:"multi_positive_queries"`                // with two judged positives or more
	HiddenPositives      int    `json:"hidden_positives_a_draw"`               // positives that each draw hides
	Unmeasured           string `json:"hidden_positives_unmeasured,omitempty"` // why no positive can be hidden

	Rules       []*RuleReport `json:"rules"`                  // in the order that was asked for
	OnlyTrained []string      `json:"only_trained,omitempty"` // rules that were asked for and have negatives in training alone
}

// ReportFormat is the format of a Report of this version.
const ReportFormat = "quarry.comparison.v1"

// RuleReport is what a rule gave. A share is nil, which JSON has as null, where there is nothing that it is a share of.
type RuleReport struct {
	Rule             string              `json:"rule"`
	Yield            float64             `json:"yield"`              // share of pairs with a negative
	Negatives        int                 `json:"negatives"`          // of all pairs
	NegativesPerPair float64             `json:"negatives_per_pair"` // of all pairs on average
	Gap              *run.Quantiles      `json:"s_q_d_minus_s_q_pd"` // s(Q,D) - s(Q,PD) of all negatives; nil for none
	SPDD             *run.Quantiles      `json:"s_pd_d"`             // s(PD,D) of all negatives; nil for none
	Overlap          map[string]*float64 `json:"overlap"`            // by other rule: share of this rule's negatives of a pair that the other has too, on average over the pairs that have any
	NearCopies       NearCopies          `json:"near_copies"`
	ChosenOften      ChosenOften         `json:"chosen_often"`
	HiddenPositives  *HiddenPositives    `json:"hidden_positives"`                      // nil where it cannot be measured
	Unmeasured       string              `json:"hidden_positives_unmeasured,omitempty"` // why it cannot be measured of this rule, and can of others
	Tallies          negatives.Tallies   `json:"tallies"`
	NegativesID      string              `json:"negatives_sha256"` // of negatives.jsonl, as quarry mine writes it for the rule
}

// NearCopies counts negatives that are about the same as the positive.
type NearCopies struct {
	Above      float64  `json:"above"`       // the bound on s(PD,D)
	Count      int      `json:"count"`       // negatives with s(PD,D) above it
	Share      *float64 `json:"share"`       // of all negatives
	EqualTexts *int     `json:"equal_texts"` // negatives with the title and text of the positive, spaces apart; nil where there are no texts
	EqualShare *float64 `json:"equal_texts_share"`
}

// ChosenOften says how few documents make up the negatives.
type ChosenOften struct {
	Documents     int        `json:"documents"`           // that are a negative of some pair
	TopPercent    int        `json:"top_1_percent"`       // 1 % of all documents of the corpus, one at least
	TopPercentHas *float64   `json:"top_1_percent_share"` // share of all negatives that the most chosen 1 % make up
	Most          []Frequent `json:"most"`                // the documents that are negatives of most queries
}

// Frequent is a document and the number of queries that it is a negative of.
type Frequent struct {
	ID      string `json:"id"`
	Queries int    `json:"queries"`
}

func newReport(first *negatives.Result, o Options) *Report {
	t := first.Tallies
	return &Report{Format: ReportFormat, Split: o.Split, Top: o.Top, Seed: o.Seed, Projection: first.Manifest.Projection.SHA256,
		Inputs: first.Manifest.Inputs, Documents: t.Documents, Queries: t.Queries, Pairs: t.Pairs}
}
