package sampler

import (
	"fmt"
	"slices"
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

// StarPool is how many of the nearest documents star draws from, as Zhan et al. (2021) do.
const StarPool = 200

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
	Ranks       Ranks    // of window rules: take negatives of these ranks alone
	Sampled     bool     // with Ranks: draw the negatives from the range; otherwise its first are taken
	RandomShare *float64 // of star: the share of a pair's negatives that is drawn from all documents; nil means DefaultRandomShare
	Batch       int      // of in-batch: pairs in a batch; 0 means DefaultBatch
	K1          *float64 // of bm25: how soon further occurrences of a term count for less; nil means DefaultK1
	B           *float64 // of bm25: how much the length of a document counts, from 0 to 1; nil means DefaultB

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

// termsOf are the rules that a rule is the sum of.
func termsOf(rule string) []string { return strings.Split(rule, "+") }

// Names lists the names of the samplers.
func Names() (names []string) {
	for _, d := range Samplers {
		names = append(names, d.Name)
	}
	return names
}

// Is reports whether a rule needs this package: a sampler, or a sum of rules. Whether the rule is sound, Validate says.
func Is(rule string) bool { return slices.Contains(Names(), rule) || strings.Contains(rule, "+") }

// Draws reports whether a sampler draws by Options.Seed.
func Draws(name string) bool { return name == random || name == star || name == inBatch }

// Validate reports all that is wrong with the options. m.Rule is the name of a sampler or of a window rule, or several of them, joined by "+":
// a pair gets the negatives of each.
func (o Options) Validate(m mining.Options) error {
	o = o.withDefaults()
	var errs option.Problems
	terms := termsOf(m.Rule)
	var windows []string
	for i, term := range terms {
		switch {
		case mine.LookupRule(term) != nil:
			windows = append(windows, term)
		case !slices.Contains(Names(), term):
			errs.Check(false, "rule is %s; it is one of %s", excerpt.Quote(term), strings.Join(append(mine.RuleNames(), Names()...), ", "))
		}
		errs.Check(!slices.Contains(terms[:i], term), "rule %s is there twice in %s", excerpt.Quote(term), excerpt.Quote(m.Rule))
		errs.Check(term != inBatch || len(terms) == 1, "rule %s makes batches of pairs, which no other rule is added to", inBatch)
		errs.Check(term != adore, "rule %s draws anew while a query encoder is trained, from the %d nearest by that encoder, so it needs a trainer;"+
			" %s draws once, by the vectors that are given", adore, StarPool, star)
	}
	has := func(term string) bool { return slices.Contains(terms, term) }
	sampler := len(windows) < len(terms)
	errs.Check(!m.Counts, "counts are of a scan by one window rule, without ranks and kept scores")
	errs.Check(m.Positives != mining.PositivesAll || !sampler && o.Scores == nil, "positives is %s, which is for scans by window rules", mining.PositivesAll)
	errs.Check(o.Ranks == Ranks{} || len(windows) > 0, "ranks are of a window rule, and the rule is %s", excerpt.Quote(m.Rule))
	errs.Check(o.Ranks == Ranks{} || 1 <= o.Ranks.First && o.Ranks.First <= o.Ranks.Last && o.Ranks.Last <= abi.MaxTop,
		"ranks go from %d to %d; they go from 1 to %d, the first one first", o.Ranks.First, o.Ranks.Last, abi.MaxTop)
	errs.Check(!has(star) || *o.RandomShare >= 0 && *o.RandomShare <= 1, "the random share is %v; it goes from 0 to 1", *o.RandomShare)
	errs.Check(!has(inBatch) || o.Batch >= 2 && o.Batch <= MaxBatch, "the batch size is %d; it goes from 2 to %d", o.Batch, MaxBatch)
	errs.Check(!has(bm25) || *o.K1 >= 0 && *o.K1 <= 1000, "k1 is %v; it goes from 0 to 1000", *o.K1)
	errs.Check(!has(bm25) || *o.B >= 0 && *o.B <= 1, "b is %v; it goes from 0 to 1", *o.B)
	m.Rule, m.Counts = mine.Rules[0].Name, false
	if err := m.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errs.Err()
}

// manifestRule says in a manifest which rule it was, with all parameters that its draws depend on.
func (s *sampling) manifestRule(terms []string) negatives.ManifestRule {
	if len(terms) == 1 {
		return s.manifestTerm(terms[0])
	}
	sum := &negatives.ManifestSampling{Sampler: "sum"}
	for _, term := range terms {
		sum.Of = append(sum.Of, s.manifestTerm(term))
	}
	return negatives.ManifestRule{Name: strings.Join(terms, "+"), ManifestSampling: sum}
}

func (s *sampling) manifestTerm(term string) negatives.ManifestRule {
	o := s.o
	rule := negatives.ManifestRule{Name: term}
	sampling := &negatives.ManifestSampling{Sampler: term, Seed: &o.Seed}
	switch term {
	case random:
	case star:
		n := s.fromAll()
		sampling.Random, sampling.Ranks = &n, &[2]int{1, StarPool}
	case inBatch:
		sampling.Batch = &o.Batch
	case bm25:
		sampling.Seed, sampling.K1, sampling.B, sampling.Tokens = nil, o.K1, o.B, tokens
	default:
		window, err := mine.NewRule(term, s.mine.Parameters)
		if err != nil {
			panic(err) // Validate has made it
		}
		rule = negatives.NewManifestRule(window)
		if o.Ranks == (Ranks{}) {
			return rule
		}
		sampling.Sampler, sampling.Ranks = "ranks", &[2]int{o.Ranks.First, o.Ranks.Last}
		if !o.Sampled {
			sampling.Seed = nil
		}
	}
	rule.ManifestSampling = sampling
	return rule
}

// String gives a range as the command line takes it.
func (r Ranks) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }
