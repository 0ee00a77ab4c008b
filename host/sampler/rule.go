package sampler

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// Rule is a rule as a person writes it; ParseRule reads one.
type Rule struct {
	Name  string // as it was written
	Terms []Term // a pair gets the negatives of each; none where there is InBatch or Dynamic alone

	// InBatch says that the positives of other pairs of a batch are negatives too. Sample deals such batches where the rule has no terms;
	// beside terms, only a trainer has batches.
	InBatch bool
	// Dynamic is how many of the documents that are nearest by the encoder which is being trained a trainer draws the negatives from. It is 0 but
	// for adore, which has no terms.
	Dynamic int
}

// Term is one of the rules that a Rule is the sum of.
type Term struct {
	Name       string             // in mine.Rules, or of a sampler
	Parameters map[string]float64 // values of a window rule's parameters, by name
	Ranks      Ranks              // of a window rule: its negatives are of these ranks alone
}

// RuleSyntax says, for --help, how a rule is written.
func RuleSyntax() string {
	return "a name (" + strings.Join(append(mine.RuleNames(), Names()...), ", ") +
		"), with its parameter, as perc=0.9, with a range of ranks, as topk:11-50, or a sum, as dual+perc"
}

// ParseRule reads a rule: a name in mine.Rules or of a sampler, or several of them joined by "+". The name of a window rule may have the value of
// its parameter behind "=", and a range of ranks behind ":", as in "perc=0.9:11-50". Errors are of the kind option.ErrOption, all that is wrong
// together.
func ParseRule(text string) (Rule, error) {
	r := Rule{Name: text}
	var errs option.Problems
	seen := map[string]bool{}
	terms := strings.Split(text, "+")
	for _, written := range terms {
		t := parseTerm(written, &errs)
		errs.Check(!seen[t.Name], "rule %s is there twice in %s", excerpt.Quote(t.Name), excerpt.Quote(text))
		seen[t.Name] = true
		switch t.Name {
		case inBatch:
			r.InBatch = true
		case adore:
			r.Dynamic = dynamicPool
		default:
			r.Terms = append(r.Terms, t)
		}
	}
	errs.Check(r.Dynamic == 0 || len(terms) == 1, "rule %s is not a term of a sum, as %s has it: a trainer draws all negatives of a pair", adore, excerpt.Quote(text))
	return r, errs.Err()
}

// parseTerm reads a term of a rule, and adds what is wrong with it.
func parseTerm(text string, errs *option.Problems) Term {
	text, ranks, ranged := strings.Cut(text, ":")
	name, value, valued := strings.Cut(text, "=")
	t := Term{Name: name}
	window := mine.LookupRule(name)
	if window == nil {
		known := slices.Contains(Names(), name)
		errs.Check(known, "rule is %s; it is one of %s", excerpt.Quote(name), strings.Join(append(mine.RuleNames(), Names()...), ", "))
		errs.Check(!known || !valued, "rule %s takes no value, and %s gives one", name, excerpt.Quote(text))
		errs.Check(!known || !ranged, "ranks are of a window rule, and the rule is %s", name)
		return t
	}
	if ranged {
		var err error
		t.Ranks, err = ParseRanks(ranks)
		errs.Check(err == nil, "rule %s: %v", name, err)
	}
	if !valued {
		return t
	}
	if len(window.Parameters) != 1 {
		errs.Check(false, "rule %s takes no value, and %s gives one", name, excerpt.Quote(text))
		return t
	}
	number, err := strconv.ParseFloat(value, 64)
	errs.Check(err == nil, "rule %s: %s is not a number", name, excerpt.Quote(value))
	t.Parameters = map[string]float64{window.Parameters[0].Name: number}
	if err == nil {
		_, err := mine.NewRule(name, t.Parameters)
		errs.Check(err == nil, "%v", excerpt.Error(err))
	}
	return t
}

// ParseRanks reads a range of ranks such as 11-50. Both ends belong to it.
func ParseRanks(text string) (r Ranks, err error) {
	if n, err := fmt.Sscanf(text, "%d-%d", &r.First, &r.Last); n != 2 || err != nil || r.String() != text {
		return Ranks{}, fmt.Errorf("%s is no range of ranks, as 11-50", excerpt.Quote(text))
	}
	return r, r.check()
}

// check fails where a range does not lie within what a scan can keep.
func (r Ranks) check() error {
	if 1 <= r.First && r.First <= r.Last && r.Last <= abi.MaxTop {
		return nil
	}
	return fmt.Errorf("ranks go from %d to %d; they go from 1 to %d, the first one first", r.First, r.Last, abi.MaxTop)
}

// Mined is the rule as Sample takes it, without what only a trainer adds to it: "perc" of "perc+in-batch". It is empty where nothing is left, as
// of "adore" and of "in-batch", whose batches are those of the training.
func (r Rule) Mined() string {
	trained := func(term string) bool { return term == inBatch || term == adore }
	return strings.Join(slices.DeleteFunc(strings.Split(r.Name, "+"), trained), "+")
}

// Window returns the term of a rule that is a window rule alone, of all ranks: a scan applies it.
func (r Rule) Window() (Term, bool) {
	if len(r.Terms) != 1 || r.InBatch {
		return Term{}, false
	}
	t := r.Terms[0]
	return t, t.isWindow() && t.Ranks == Ranks{}
}

// Has reports whether one of the rule's terms has the name.
func (r Rule) Has(name string) bool {
	return slices.ContainsFunc(r.Terms, func(t Term) bool { return t.Name == name })
}

// NeedsTexts reports whether the rule looks at texts.
func (r Rule) NeedsTexts() bool { return r.Has(bm25) }

// Draws reports whether what the rule takes can depend on Options.Seed. A range of ranks does where Options.Sampled is on.
func (r Rule) Draws() bool {
	ranged := slices.ContainsFunc(r.Terms, func(t Term) bool { return t.Ranks != Ranks{} })
	return r.Has(random) || r.Has(star) || r.InBatch && len(r.Terms) == 0 || ranged
}

// with gives window terms the values of parameters, and the ranks, that they do not say themselves.
func (r Rule) with(parameters map[string]float64, ranks Ranks) Rule {
	r.Terms = slices.Clone(r.Terms)
	for i := range r.Terms {
		t := &r.Terms[i]
		if !t.isWindow() {
			continue
		}
		own := map[string]float64{}
		maps.Copy(own, parameters)
		maps.Copy(own, t.Parameters)
		t.Parameters = own
		if t.Ranks == (Ranks{}) {
			t.Ranks = ranks
		}
	}
	return r
}

func (t Term) isWindow() bool { return mine.LookupRule(t.Name) != nil }
