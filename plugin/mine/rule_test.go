package mine

import (
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
)

// TestBoundIsNotFused takes a product that is just below 1 and rounds to it.
func TestBoundIsNotFused(t *testing.T) {
	for _, e := range []float64{0x1p-27, 0x1p-30, 0x1p-40} {
		if got := (Bound{1 + e, -1}).At(1 - e); got != 0 {
			t.Errorf("(1 + %v) * (1 - %v) - 1 is %v: fused", e, e, got)
		}
	}
}

// TestRulesAreThoseOfTheABI compares the table with that of docs/ABI.md, section Decide.
func TestRulesAreThoseOfTheABI(t *testing.T) {
	for _, row := range []struct {
		name       string
		parameters map[string]float64
		floor, cap *Bound
		eq6        bool
	}{
		{"dual", nil, &Bound{1, 0}, nil, true},
		{"topk", nil, nil, nil, false},
		{"margin", map[string]float64{"margin": 0.05}, nil, &Bound{1, -0.05}, false},
		{"margin", map[string]float64{"margin": 0}, nil, &Bound{1, 0}, false},
		{"margin", map[string]float64{"margin": 2}, nil, &Bound{1, -2}, false},
		{"perc", map[string]float64{"perc": 0.95}, nil, &Bound{0.95, 0}, false},
		{"perc", map[string]float64{"perc": 1}, nil, &Bound{1, 0}, false},
		{"capped", map[string]float64{"perc": 0.5}, nil, &Bound{0.5, 0}, true},
	} {
		r, err := NewRule(row.name, row.parameters)
		if err != nil || r.Name != row.name || !sameBound(r.Floor, row.floor) || !sameBound(r.Cap, row.cap) || r.Eq6 != row.eq6 || !maps.Equal(r.Parameters, row.parameters) {
			t.Errorf("%s %v: %+v, %v", row.name, row.parameters, r, err)
		}
	}
	defaults := map[string]map[string]float64{"dual": {}, "topk": {}, "margin": {"margin": 0.05}, "perc": {"perc": 0.95}, "capped": {"perc": 0.95}}
	for name, want := range defaults {
		if r, err := NewRule(name, nil); err != nil || !maps.Equal(r.Parameters, want) {
			t.Errorf("%s without parameters has %v, %v", name, r.Parameters, err)
		}
	}
	if names := RuleNames(); !slices.Equal(names, []string{"dual", "topk", "margin", "perc", "capped"}) {
		t.Errorf("the rules are %v", names)
	}
}

// TestCapBelowZero checks that no cap of a rule of the table lies above the positive, and where perc and capped have theirs.
func TestCapBelowZero(t *testing.T) {
	for _, d := range Rules {
		r, err := NewRule(d.Name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []float64{-1, -0.5, -0x1p-1074, math.Copysign(0, -1), 0, 0.5, 1} {
			if _, ceiling := r.Window(s); !math.IsInf(ceiling, 1) && ceiling > s {
				t.Errorf("%s: the cap of a positive that scores %v is %v", d.Name, s, ceiling)
			}
		}
	}
	for perc, want := range map[float64]float64{0.5: -0.75, 0.75: -0.625, 1: -0.5} {
		for _, name := range []string{"perc", "capped"} {
			r, err := NewRule(name, map[string]float64{"perc": perc})
			if err != nil {
				t.Fatal(err)
			}
			if _, ceiling := r.Window(-0.5); ceiling != want {
				t.Errorf("%s %v: the cap of a positive that scores -0.5 is %v, expected %v", name, perc, ceiling, want)
			}
			if of, err := RuleOf(name, r.Floor, r.Cap, r.Eq6); err != nil || !sameBound(of.CapBelowZero, r.CapBelowZero) {
				t.Errorf("%s %v of its own bounds: %+v, %v", name, perc, of, err)
			}
		}
	}
}

// TestTableIsSound checks every row of the table: it can be made, told by its bounds, and shown in help.
func TestTableIsSound(t *testing.T) {
	names, parameters := map[string]bool{WindowRule: true}, map[string]bool{}
	for _, d := range Rules {
		if names[d.Name] || d.Help == "" || d.Source == "" || strings.Contains(d.Help, "\n") {
			t.Errorf("rule %q: its name is taken, or it says too little of itself", d.Name)
		}
		names[d.Name] = true
		checkInverse(t, d)
	}
	for _, p := range RuleParameters() {
		if parameters[p.Name] || p.Help == "" || p.problem(p.Default) != "" {
			t.Errorf("parameter %q: its name is taken, it has no help, or its default is out of range", p.Name)
		}
		parameters[p.Name] = true
	}
}

// checkInverse checks that the rule is told by the bounds that it gives, for several values of its parameters, and by
// no others.
func checkInverse(t *testing.T, d Definition) {
	t.Helper()
	for _, share := range []float64{0, 0.3, 1} {
		parameters := map[string]float64{}
		for _, p := range d.Parameters {
			parameters[p.Name] = p.Min + share*(p.Max-p.Min)
			if p.MinExcluded && share == 0 {
				parameters[p.Name] = math.Nextafter(p.Min, p.Max)
			}
		}
		r, err := NewRule(d.Name, parameters)
		if err != nil {
			t.Fatal(err)
		}
		if of, err := RuleOf(d.Name, r.Floor, r.Cap, r.Eq6); err != nil || !maps.Equal(of.Parameters, r.Parameters) {
			t.Errorf("%s of its own bounds: %+v, %v", d.Name, of, err)
		}
		for what, other := range map[string]Rule{
			"another Eq. 6": {Floor: r.Floor, Cap: r.Cap, Eq6: !r.Eq6},
			"another floor": {Floor: &Bound{0.123, -3}, Cap: r.Cap, Eq6: r.Eq6},
			"another cap":   {Floor: r.Floor, Cap: &Bound{0.987, -0.4}, Eq6: r.Eq6},
			"no bounds":     {Eq6: r.Eq6},
		} {
			if what == "no bounds" && r.Floor == nil && r.Cap == nil {
				continue
			}
			if _, err := RuleOf(d.Name, other.Floor, other.Cap, other.Eq6); !errors.Is(err, &abi.Error{Code: abi.BadOption}) {
				t.Errorf("%s with %s: %v", d.Name, what, err)
			}
		}
	}
}

// TestWrongRules pins what NewRule and RuleOf say.
func TestWrongRules(t *testing.T) {
	type values = map[string]float64
	for _, row := range []struct {
		name       string
		parameters values
		want       string
	}{
		{"margin", values{"margin": 2.5}, "margin is 2.5; it goes from 0 to 2"},
		{"margin", values{"margin": -0.1}, "margin is -0.1; it goes from 0 to 2"},
		{"margin", values{"margin": math.NaN()}, "margin is NaN; it goes from 0 to 2"},
		{"perc", values{"perc": 0}, "perc is 0; it goes from above 0 to 1"},
		{"capped", values{"perc": 1.5}, "perc is 1.5; it goes from above 0 to 1"},
		{"dual", values{"margin": 3}, "margin is 3; it goes from 0 to 2"},
		{"dual", values{"x": 3}, `parameter "x" is unknown`},
		{"best", nil, `rule "best" is unknown; there are [dual topk margin perc capped] and window`},
		{WindowRule, nil, `rule "window" is unknown; there are [dual topk margin perc capped] and window`},
		{"best", values{"perc": 2, "margin": 3, "b": 1, "a": 1}, "margin is 3; it goes from 0 to 2\nperc is 2; it goes from above 0 to 1\n" +
			"parameter \"a\" is unknown\nparameter \"b\" is unknown\nrule \"best\" is unknown; there are [dual topk margin perc capped] and window"},
	} {
		if _, err := NewRule(row.name, row.parameters); !errors.Is(err, &abi.Error{Code: abi.BadOption}) || err.Error() != row.want {
			t.Errorf("%s %v: %v", row.name, row.parameters, err)
		}
	}
	for _, row := range []struct {
		rule Rule
		want string
	}{
		{Rule{Name: "margin", Cap: &Bound{1, 7}}, "margin is -7; it goes from 0 to 2"},
		{Rule{Name: "margin", Cap: &Bound{0.9, -0.05}}, `its floor, cap or eq6 are not those of rule "margin"`},
		{Rule{Name: "dual", Floor: &Bound{1, 0}}, `its floor, cap or eq6 are not those of rule "dual"`},
		{Rule{Name: "best"}, `rule "best" is unknown; there are [dual topk margin perc capped] and window`},
	} {
		if _, err := RuleOf(row.rule.Name, row.rule.Floor, row.rule.Cap, row.rule.Eq6); err == nil || err.Error() != row.want {
			t.Errorf("%+v: %v", row.rule, err)
		}
	}
}

// banded is a rule that the table does not have: s(Q,D) above low and at most high times s(Q,PD).
func banded() Definition {
	low := &Parameter{Name: "low", Default: 0.4, Min: 0, Max: 1, Help: "s(Q,D) is above low * s(Q,PD)"}
	high := &Parameter{Name: "high", Default: 0.9, Min: 0, Max: 1, MinExcluded: true, Help: "s(Q,D) is at most high * s(Q,PD)"}
	return Definition{
		Name: "banded", Help: "in a band below the positive", Source: "this test", Parameters: []*Parameter{low, high},
		Window: func(values []float64) (floor, cap *Bound) { return &Bound{values[0], 0}, &Bound{values[1], 0} },
		Values: func(floor, cap *Bound) []float64 {
			if floor == nil || cap == nil {
				return nil
			}
			return []float64{floor.A, cap.A}
		},
	}
}

// TestAppendedRule appends a row to the table and mines with it: a new rule touches nothing else.
func TestAppendedRule(t *testing.T) {
	before := Rules
	defer func() { Rules = before }()
	Rules = append(slices.Clip(Rules), banded())
	TestTableIsSound(t)
	rule, err := NewRule("banded", map[string]float64{"high": 0.8})
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(rule.Parameters, map[string]float64{"low": 0.4, "high": 0.8}) || *rule.Floor != (Bound{0.4, 0}) || *rule.Cap != (Bound{0.8, 0}) {
		t.Fatalf("%+v", rule)
	}
	found := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 21))
		pr := newProblem(r)
		pr.options.Rule = rule
		want, err := pr.bruteForce().Marshal()
		if err != nil {
			t.Fatal(err)
		}
		part := pr.scan(t, r)
		if got, err := part.Marshal(); err != nil || !slices.Equal(got, want) {
			t.Fatalf("seed %d: %v\n%v\nexpected\n%v", seed, err, part, pr.bruteForce())
		}
		for _, negatives := range part.Found {
			found += len(negatives)
		}
	}
	if found == 0 {
		t.Error("no problem has a negative")
	}
}
