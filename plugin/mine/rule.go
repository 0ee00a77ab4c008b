package mine

import (
	"math"

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
}

// Rules lists the names that NamedRule knows, the default first.
var Rules = []string{"dual", "topk", "margin", "perc", "capped"}

// Default parameters of the rules that have one.
const (
	DefaultMargin = 0.05
	DefaultPerc   = 0.95
)

// NamedRule returns a rule by its name: dual is the paper's (Eq. 5 and 6), topk has no window, margin and perc
// are NV-Retriever's TopK-MarginPos and TopK-PercPos, capped is perc with Eq. 6. margin is from 0 to 2, perc above 0 and
// at most 1; a rule that does not use one ignores it.
func NamedRule(name string, margin, perc float64) (Rule, error) {
	if !(margin >= 0 && margin <= 2) {
		return Rule{}, abi.Errorf(abi.BadOption, "margin is %v; it goes from 0 to 2", margin)
	}
	if !(perc > 0 && perc <= 1) {
		return Rule{}, abi.Errorf(abi.BadOption, "perc is %v; it goes from above 0 to 1", perc)
	}
	switch name {
	case "dual":
		return Rule{Name: name, Floor: &Bound{1, 0}, Eq6: true}, nil
	case "topk":
		return Rule{Name: name}, nil
	case "margin":
		return Rule{Name: name, Cap: &Bound{1, -margin}}, nil
	case "perc":
		return Rule{Name: name, Cap: &Bound{perc, 0}}, nil
	case "capped":
		return Rule{Name: name, Cap: &Bound{perc, 0}, Eq6: true}, nil
	}
	return Rule{}, abi.Errorf(abi.BadOption, "rule %q is unknown; there are %v and window", name, Rules)
}

// window returns the floor and the cap for a pair, infinite where the rule has none.
func (r Rule) window(sQPD float64) (floor, ceiling float64) {
	floor, ceiling = math.Inf(-1), math.Inf(1)
	if r.Floor != nil {
		floor = r.Floor.At(sQPD)
	}
	if r.Cap != nil {
		ceiling = r.Cap.At(sQPD)
	}
	return floor, ceiling
}
