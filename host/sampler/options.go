package sampler

import (
	"fmt"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// The names of the samplers.
const (
	random  = "random"
	bm25    = "bm25"
	star    = "star"
	adore   = "adore"
	inBatch = "in-batch"
)

// Definition is a sampler by its name.
type Definition struct {
	Name   string
	Help   string // one line for --help: which documents are negatives
	Source string // the paper that the sampler is from
}

// Samplers is the table of samplers.
var Samplers = []Definition{
	{random, "drawn from all documents", "Karpukhin et al. (2020), Random"},
	{bm25, "the best by BM25, a ranking by words", "Karpukhin et al. (2020), BM25; Robertson and Zaragoza (2009)"},
	{star, "drawn from the 200 nearest, with some of all documents", "Zhan et al. (2021), STAR"},
	{inBatch, "the positives of other pairs of the batch; the batches are dealt at random", "Karpukhin et al. (2020), In-batch"},
	{adore, "drawn from the 200 nearest by the query encoder that is being trained, so it needs a trainer", "Zhan et al. (2021), ADORE"},
}

// How many of the nearest documents star and adore draw from, as Zhan et al. (2021) do.
const (
	starPool    = 200
	dynamicPool = 200
)

// The defaults of Options. K1 and B are those of Lucene.
const (
	DefaultRandomShare = 0.2
	DefaultBatch       = 32
	DefaultK1          = 1.2
	DefaultB           = 0.75
)

// MaxBatch is how many pairs a batch of in-batch may have.
const MaxBatch = abi.MaxTop + 1

// Ranks is a range of ranks, from 1; both ends belong to it. Zero is no range.
type Ranks struct{ First, Last int }

// Options are the parameters of samplers. Those that a rule does not use are not looked at.
type Options struct {
	Seed        uint64   // of all draws
	Ranks       Ranks    // of window rules that have no ranks of their own: take negatives of these ranks alone
	Sampled     bool     // draw negatives from a range of ranks; otherwise its first are taken
	RandomShare *float64 // of star: the share of a pair's negatives that is drawn from all documents; nil means DefaultRandomShare
	Batch       int      // of in-batch: pairs in a batch; 0 means DefaultBatch
	K1          *float64 // of bm25: how soon further occurrences of a term count for less; nil means DefaultK1
	B           *float64 // of bm25: how much the length of a document counts, from 0 to 1; nil means DefaultB

	// Index is of the data set's documents, for bm25. nil means that each Sample makes one.
	Index *Index

	// Scores are what KeepScores returned for the same data, projection and options: window rules take documents out of them, and nothing is
	// scanned. nil means to scan.
	Scores *mine.Part
}

func (o Options) withDefaults() Options {
	for _, f := range []struct {
		value     **float64
		byDefault float64
	}{{&o.RandomShare, DefaultRandomShare}, {&o.K1, DefaultK1}, {&o.B, DefaultB}} {
		if *f.value == nil {
			*f.value = &f.byDefault
		}
	}
	if o.Batch == 0 {
		o.Batch = DefaultBatch
	}
	return o
}

// Names lists the names of the samplers.
func Names() (names []string) {
	for _, d := range Samplers {
		names = append(names, d.Name)
	}
	return names
}

// Validate reports all that is wrong with the options. m.Rule is a rule as ParseRule reads it. m.Parameters are of those window terms that
// give no value themselves.
func (o Options) Validate(m mining.Options) error {
	_, err := o.rule(m)
	return err
}

// rule is the rule that Sample applies, with what the options say of its terms.
func (o Options) rule(m mining.Options) (Rule, error) {
	o = o.withDefaults()
	var errs option.Problems
	r, err := ParseRule(m.Rule)
	if err != nil {
		errs = append(errs, err)
	}
	r = r.with(m.Parameters, o.Ranks)
	windows := 0
	for _, t := range r.Terms {
		if t.isWindow() {
			windows++
		}
	}
	errs.Check(!r.InBatch || len(r.Terms) == 0, "rule %s makes batches of pairs, which no other rule is added to; a trainer adds its batches to other rules", inBatch)
	errs.Check(r.Dynamic == 0, "rule %s draws anew while a query encoder is trained, from the %d nearest by that encoder, so it needs a trainer;"+
		" %s draws once, by the vectors that are given", adore, dynamicPool, star)
	_, alone := r.Window()
	errs.Check(!m.Counts || alone && o.Scores == nil, "counts are of a scan by one window rule, without ranks and kept scores")
	errs.Check(m.Positives != mining.PositivesAll || windows == len(r.Terms) && windows > 0 && o.Scores == nil, "positives is %s, which is for scans by window rules", mining.PositivesAll)
	if o.Ranks != (Ranks{}) {
		errs.Check(windows > 0, "ranks are of a window rule, and the rule is %s", excerpt.Quote(m.Rule))
		err := o.Ranks.check()
		errs.Check(err == nil, "%v", err)
	}
	errs.Check(!r.Has(star) || *o.RandomShare >= 0 && *o.RandomShare <= 1, "the random share is %v; it goes from 0 to 1", *o.RandomShare)
	errs.Check(!r.InBatch || o.Batch >= 2 && o.Batch <= MaxBatch, "the batch size is %d; it goes from 2 to %d", o.Batch, MaxBatch)
	errs.Check(!r.Has(bm25) || *o.K1 >= 0 && *o.K1 <= 1000, "k1 is %v; it goes from 0 to 1000", *o.K1)
	errs.Check(!r.Has(bm25) || *o.B >= 0 && *o.B <= 1, "b is %v; it goes from 0 to 1", *o.B)
	m.Rule, m.Counts = mine.Rules[0].Name, false
	if err := m.Validate(); err != nil {
		errs = append(errs, err)
	}
	return r, errs.Err()
}

// manifestRule says in a manifest which rule it was, with all parameters that its draws depend on.
func (s *sampling) manifestRule() negatives.ManifestRule {
	if s.rule.InBatch {
		return negatives.ManifestRule{Name: inBatch, ManifestSampling: &negatives.ManifestSampling{Sampler: inBatch, Seed: &s.o.Seed, Batch: &s.o.Batch}}
	}
	if len(s.rule.Terms) == 1 {
		return s.manifestTerm(s.rule.Terms[0])
	}
	sum := &negatives.ManifestSampling{Sampler: "sum"}
	var names []string
	for _, t := range s.rule.Terms {
		names = append(names, t.Name)
		sum.Of = append(sum.Of, s.manifestTerm(t))
	}
	return negatives.ManifestRule{Name: strings.Join(names, "+"), ManifestSampling: sum}
}

func (s *sampling) manifestTerm(t Term) negatives.ManifestRule {
	o := s.o
	rule := negatives.ManifestRule{Name: t.Name}
	sampling := &negatives.ManifestSampling{Sampler: t.Name, Seed: &o.Seed}
	switch t.Name {
	case random:
	case star:
		n := s.fromAll()
		sampling.Random, sampling.Ranks = &n, &[2]int{1, starPool}
	case bm25:
		sampling.Seed, sampling.K1, sampling.B, sampling.Tokens = nil, o.K1, o.B, tokens
	default:
		window, err := mine.NewRule(t.Name, t.Parameters)
		if err != nil {
			panic(err) // Validate has made it
		}
		rule = negatives.NewManifestRule(window)
		if t.Ranks == (Ranks{}) {
			return rule
		}
		sampling.Sampler, sampling.Ranks = "ranks", &[2]int{t.Ranks.First, t.Ranks.Last}
		if !o.Sampled {
			sampling.Seed = nil
		}
	}
	rule.ManifestSampling = sampling
	return rule
}

// String gives a range as the command line takes it.
func (r Ranks) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }
