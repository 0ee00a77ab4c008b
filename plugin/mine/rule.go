package mine

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/plugin/abi"
)

// Bound is a limit on s(Q,D) relative to s(Q,PD): A * s(Q,PD) + B, in float64, never fused.
type Bound struct{ A, B float64 }

// At returns the bound for a pair.
func (b Bound) At(sQPD float64) float64 { return float64(b.A*sQPD) + b.B }

// Rule says which documents are candidates: those with s(Q,D) above Floor (strictly) and at most Cap, and, with Eq6,
// s(Q,D) > s(PD,D). A nil bound does not limit.
type Rule struct {
	Name       string
	Floor, Cap *Bound
	Eq6        bool

	// CapBelowZero takes the place of Cap where s(Q,PD) < 0; nil where Cap holds there too. It follows from the name and
	// the parameters. A rule that was read from a part has none.
	CapBelowZero *Bound

	// Parameters are the values of the rule's own parameters, by name. The bounds were made of them; the bounds alone
	// decide. Nil for WindowRule, for a rule without parameters, and for a rule that was read from a part.
	Parameters map[string]float64
}

// WindowRule is the name of the rule whose bounds and Eq. 6 the caller gives. It has no row in Rules.
const WindowRule = "window"

// Parameter is a number that a rule takes.
type Parameter struct {
	Name        string  // of the option in a begin message, and of the flag; no two parameters have the same
	Default     float64 // the value where none is given
	Min, Max    float64 // the range of its values
	MinExcluded bool    // Min itself is not allowed
	Help        string  // one line for --help: what it means for s(Q,D)
}

// problem says what is wrong with a value of the parameter, or nothing.
func (p *Parameter) problem(v float64) string {
	if v >= p.Min && v <= p.Max && !(p.MinExcluded && v == p.Min) {
		return ""
	}
	above := ""
	if p.MinExcluded {
		above = "above "
	}
	return fmt.Sprintf("%s is %v; it goes from %s%v to %v", p.Name, v, above, p.Min, p.Max)
}

// Definition is a rule by its name: how its bounds follow from its parameters.
type Definition struct {
	Name       string
	Help       string       // one line for --help: which documents are negatives
	Source     string       // the paper or program that the rule is from
	Parameters []*Parameter // rules that take the same parameter share it
	Eq6        bool

	// Window gives the bounds for values of the parameters, in their order. A bound that the rule does not have is nil.
	Window func(values []float64) (floor, cap *Bound)

	// CapBelowZero gives the cap where s(Q,PD) < 0, for values as Window has them. Nil where Window's holds there too.
	CapBelowZero func(values []float64) *Bound

	// Values is the inverse of Window: it gives the values of the parameters for these bounds. A bound may be nil.
	// Where no values give the bounds, the result may be any values or nil, since RuleOf compares. Values is nil for a
	// rule without parameters.
	Values func(floor, cap *Bound) []float64
}

// The parameters of the rules below.
var (
	margin = &Parameter{Name: "margin", Default: 0.05, Min: 0, Max: 2, Help: "s(Q,D) is at most s(Q,PD) - margin"}
	perc   = &Parameter{Name: "perc", Default: 0.95, Min: 0, Max: 1, MinExcluded: true, Help: "s(Q,D) is at most perc * s(Q,PD), or (2 - perc) * s(Q,PD) where that is negative"}
)

// Rules is the table of rules, the default first. A new rule is a row here and a row in docs/ABI.md; all else is
// derived from this table.
var Rules = []Definition{
	{
		Name: "dual", Eq6: true,
		Help:   "nearer to the query than the positive is, and nearer to the query than to the positive",
		Source: "Meghwani et al. (2025), Eq. 5 and 6",
		Window: func([]float64) (floor, cap *Bound) { return &Bound{1, 0}, nil },
	},
	{
		Name:   "topk",
		Help:   "the nearest to the query, whatever their score",
		Source: "NV-Retriever, Naive Top-K",
		Window: func([]float64) (floor, cap *Bound) { return nil, nil },
	},
	{
		Name: "margin", Parameters: []*Parameter{margin},
		Help:   "further from the query than the positive is, by the margin at least",
		Source: "NV-Retriever, TopK-MarginPos",
		Window: func(values []float64) (floor, cap *Bound) { return nil, &Bound{1, -values[0]} },
		Values: func(_, cap *Bound) []float64 {
			if cap == nil {
				return nil
			}
			return []float64{-cap.B}
		},
	},
	{
		Name: "perc", Parameters: []*Parameter{perc},
		Help:   "further from the query than the positive is: a share of its score at most",
		Source: "NV-Retriever, TopK-PercPos",
		Window: share, CapBelowZero: shareBelowZero, Values: shareOf,
	},
	{
		Name: "capped", Eq6: true, Parameters: []*Parameter{perc},
		Help:   "as perc, and nearer to the query than to the positive",
		Source: "NV-Retriever's TopK-PercPos with Eq. 6 of Meghwani et al. (2025)",
		Window: share, CapBelowZero: shareBelowZero, Values: shareOf,
	},
}

// share is a window that ends at a share of s(Q,PD).
func share(values []float64) (floor, cap *Bound) { return nil, &Bound{values[0], 0} }

// shareBelowZero lies as far below a score below zero as share does below one above it.
func shareBelowZero(values []float64) *Bound { return &Bound{2 - values[0], 0} }

// shareOf is the inverse of share.
func shareOf(_, cap *Bound) []float64 {
	if cap == nil {
		return nil
	}
	return []float64{cap.A}
}

// RuleNames lists the names of all rules, the default first.
func RuleNames() []string {
	names := make([]string, len(Rules))
	for i, d := range Rules {
		names[i] = d.Name
	}
	return names
}

// LookupRule returns the rule's row, nil where no rule has the name.
func LookupRule(name string) *Definition {
	for i := range Rules {
		if Rules[i].Name == name {
			return &Rules[i]
		}
	}
	return nil
}

// RuleParameters lists the parameters of all rules, each once, in the order of the table.
func RuleParameters() []*Parameter {
	var all []*Parameter
	for _, d := range Rules {
		for _, p := range d.Parameters {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

// NewRule returns the rule of a name. parameters gives values by name: the rule's own that are missing take their
// defaults, and those of other rules are checked and not used. The error is abi.BadOption and lists all that is wrong,
// one problem a line.
func NewRule(name string, parameters map[string]float64) (Rule, error) {
	var problems []string
	known := map[string]bool{}
	for _, p := range RuleParameters() {
		known[p.Name] = true
		if v, given := parameters[p.Name]; given {
			if problem := p.problem(v); problem != "" {
				problems = append(problems, problem)
			}
		}
	}
	for _, given := range slices.Sorted(maps.Keys(parameters)) {
		if !known[given] {
			problems = append(problems, fmt.Sprintf("parameter %q is unknown", given))
		}
	}
	d := LookupRule(name)
	if d == nil {
		problems = append(problems, fmt.Sprintf("rule %q is unknown; there are %v and %s", name, RuleNames(), WindowRule))
	}
	if len(problems) > 0 {
		return Rule{}, abi.Errorf(abi.BadOption, "%s", strings.Join(problems, "\n"))
	}
	r := Rule{Name: name, Eq6: d.Eq6}
	values := make([]float64, len(d.Parameters))
	for i, p := range d.Parameters {
		value, given := parameters[p.Name]
		if !given {
			value = p.Default
		}
		if r.Parameters == nil {
			r.Parameters = map[string]float64{}
		}
		values[i], r.Parameters[p.Name] = value, value
	}
	r.Floor, r.Cap = d.Window(values)
	if d.CapBelowZero != nil {
		r.CapBelowZero = d.CapBelowZero(values)
	}
	return r, nil
}

// RuleOf returns the rule of a name that has these bounds and Eq. 6. The error is abi.BadOption where no values of the
// rule's parameters give them.
func RuleOf(name string, floor, cap *Bound, eq6 bool) (Rule, error) {
	parameters := map[string]float64{}
	if d := LookupRule(name); d != nil && d.Values != nil {
		for i, value := range d.Values(floor, cap) {
			parameters[d.Parameters[i].Name] = value
		}
	}
	r, err := NewRule(name, parameters)
	if err != nil {
		return Rule{}, err
	}
	if !sameBound(r.Floor, floor) || !sameBound(r.Cap, cap) || r.Eq6 != eq6 {
		return Rule{}, abi.Errorf(abi.BadOption, "its floor, cap or eq6 are not those of rule %q", name)
	}
	return r, nil
}

func sameBound(a, b *Bound) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// Window returns the floor and the cap for a pair, infinite where the rule has none.
func (r Rule) Window(sQPD float64) (floor, ceiling float64) {
	floor, ceiling = math.Inf(-1), math.Inf(1)
	if r.Floor != nil {
		floor = r.Floor.At(sQPD)
	}
	switch {
	case r.CapBelowZero != nil && sQPD < 0:
		ceiling = r.CapBelowZero.At(sQPD)
	case r.Cap != nil:
		ceiling = r.Cap.At(sQPD)
	}
	return floor, ceiling
}
