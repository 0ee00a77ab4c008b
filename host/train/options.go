package train

import (
	"errors"
	"maps"
	"slices"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/sampler"
	"github.com/quarry-hn/quarry/plugin/abi"
)

// What is trained.
const (
	BiEncoder    = "bi-encoder"    // Eq. 7 with the cosine distance, Eq. 8
	CrossEncoder = "cross-encoder" // Eq. 7 with the negated score, Eq. 9
)

// The controls, which every comparison has. A rule may not have one of these names.
const (
	None      = "none"      // no training
	Positives = "positives" // queries are drawn to their positives, and nothing is pushed away
	Random    = "random"    // negatives are any documents
	InBatch   = "in-batch"  // negatives are the positives of the other pairs of a batch
)

// Source is the negatives of one rule.
type Source struct {
	Name       string
	Pairs      []negatives.Pair // of all splits; a pair that is not there has no negatives
	InBatch    bool             // the positives of other pairs of a batch are negatives too
	Dynamic    int              // above 0: negatives are drawn while the bi-encoder is trained, from so many documents that are nearest by it
	TrainPairs int              // 0 means Options.TrainPairs

	positives bool // the control with positives only
}

// DefaultRules are what Compare takes where no rules are given.
var DefaultRules = []string{"dual", "topk", "margin", "perc", "capped", "perc+" + InBatch}

// ParseRules reads rules as a person writes them.
func ParseRules(texts []string) (rules []sampler.Rule, err error) {
	var errs []error
	for _, text := range texts {
		r, err := sampler.ParseRule(text)
		rules, errs = append(rules, r), append(errs, err)
	}
	return rules, errors.Join(errs...)
}

// Options say what to train and how. Zero values are the defaults that are given here.
type Options struct {
	Folder string // where jobs, runs and results are kept, and where a comparison goes on from; it is made where it is missing
	// Prepare writes the jobs and trains nothing: `python python/quarry_train.py --list jobs/order` in Folder does, on any machine that
	// has the environment. A later comparison finds the results.
	Prepare bool

	Python  string // with the packages of requirements.txt
	Trainee string // BiEncoder (default) or CrossEncoder
	// Model is the folder of the model that is trained. Empty means all-MiniLM-L6-v2, as the environment has it. An encoder that is no
	// cross-encoder is made one on titles and texts of the corpus, where that is trained.
	Model string

	Rules      []sampler.Rule         // mined here; none and no More mean DefaultRules
	More       []Source               // negatives that others mined
	Projection *projection.Projection // for Rules, and for the candidates that are ranked
	Mine       mining.Options         // for Rules, and for the control Random; without split, rule and parameters
	Sampler    sampler.Options        // for Rules, and for the control Random

	Seeds         int       // 3; each cuts the queries anew
	Seed          uint64    // the first seed
	LearningRates []float64 // 2e-5 and 5e-5; each rule has the one that validates best
	TrainPairs    int       // 1,000 at most
	Epochs        int       // 3
	Batch         int       // 16 pairs
	PerStep       int       // 1 negative of a pair
	MaxTokens     int       // 128 of a text, or of a query with a document where a cross-encoder reads them
	Layers        int       // how many of the model's last layers are trained; 0 means all. With few, a bi-encoder takes a third of the time
	Half          bool      // compute in bfloat16, which GPUs and some processors do several times as fast
	Workers       int       // 1 training at once; several fill a GPU that one leaves idle
	Margin        float64   // of Eq. 7; 0 means above the rule's own gap before training
	Validation    int       // 200 queries at most
	Test          int       // queries at most; 0 means all
	// Candidates is how many documents of each test query a cross-encoder ranks, the nearest by the projection: 50. They are the pool
	// that a bi-encoder ranks in where PoolOnly is on.
	Candidates int
	PoolOnly   bool // a bi-encoder is tested on the candidates of all test queries, not on all documents
	NoDual     bool // leave out training each rule on those pairs alone where dual has a negative

	Progress option.Progress

	byLength bool // the table has short documents and long ones apart
}

// Validate reports all that is wrong with the options. The projection may still be missing.
func (o Options) Validate() error {
	o.Projection, o.Rules = &projection.Projection{}, slices.Clone(o.Rules)
	return o.validate()
}

// validate fills in defaults and reports all that is wrong.
func (o *Options) validate() error {
	var problems option.Problems
	problems.OneOf("trainee", &o.Trainee, BiEncoder, CrossEncoder)
	problems.Check(o.Folder != "", "there is no folder for the results")
	problems.Check(o.Projection != nil, "there is no projection")
	for _, n := range []struct {
		name  string
		value *int
		otherwise,
		most int
	}{{"runs", &o.Seeds, 3, 1000}, {"train pairs", &o.TrainPairs, 1000, 1 << 30}, {"epochs", &o.Epochs, 3, 1000}, {"batch", &o.Batch, 16, 1 << 16},
		{"negatives of a step", &o.PerStep, 1, abi.MaxTop}, {"workers", &o.Workers, 1, 1 << 10},
		{"tokens", &o.MaxTokens, 128, 1 << 16}, {"validation queries", &o.Validation, 200, 1 << 30}, {"candidates", &o.Candidates, 50, abi.MaxTop}} {
		if *n.value == 0 {
			*n.value = n.otherwise
		}
		problems.Check(*n.value >= 1 && *n.value <= n.most, "%s is %d; it goes from 1 to %d", n.name, *n.value, n.most)
	}
	problems.Check(o.Layers >= 0, "layers is %d; it is 0, which means all, or more", o.Layers)
	problems.Check(o.Test >= 0, "test queries is %d; it is 0 or more", o.Test)
	problems.Check(o.Margin >= 0 && o.Margin < 1e6, "margin is %v; it is 0 or more", o.Margin)
	if len(o.LearningRates) == 0 {
		o.LearningRates = []float64{2e-5, 5e-5}
	}
	for _, rate := range o.LearningRates {
		problems.Check(rate > 0 && rate < 1, "learning rate is %v; it is above 0 and below 1", rate)
	}
	if len(o.Rules)+len(o.More) == 0 {
		var err error
		if o.Rules, err = ParseRules(DefaultRules); err != nil {
			return err
		}
	}
	seen := map[string]bool{None: true, Positives: true, Random: true, InBatch: true}
	for _, name := range o.names() {
		problems.Check(name != "" && !seen[name], "rule %s is given twice, or is a control, which is there anyway", excerpt.Quote(name))
		seen[name] = true
	}
	dynamic := slices.ContainsFunc(o.Rules, func(r sampler.Rule) bool { return r.Dynamic > 0 }) || slices.ContainsFunc(o.More, func(s Source) bool { return s.Dynamic > 0 })
	problems.Check(!dynamic || o.Trainee == BiEncoder, "rule adore draws negatives by the encoder that is being trained, and a %s encodes no query alone: it is for a %s", CrossEncoder, BiEncoder)
	return problems.Err()
}

// names are those of all rules.
func (o *Options) names() (names []string) {
	for _, r := range o.Rules {
		names = append(names, r.Name)
	}
	for _, s := range o.More {
		names = append(names, s.Name)
	}
	return names
}

// sorted are the keys of a map, in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
