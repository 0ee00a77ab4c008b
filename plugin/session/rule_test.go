package session_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
	"github.com/quarry-hn/quarry/plugin/session"
)

// TestAppendedRule appends a rule to the table: a begin message names it, with or without its parameters, and the
// session mines what a window of the same bounds gives.
func TestAppendedRule(t *testing.T) {
	before := mine.Rules
	defer func() { mine.Rules = before }()
	width := &mine.Parameter{Name: "band", Default: 0.75, Min: 0, Max: 1, Help: "s(Q,D) is above -band and at most band"}
	mine.Rules = append(slices.Clip(mine.Rules), mine.Definition{Name: "banded", Help: "near a right angle", Source: "this test", Parameters: []*mine.Parameter{width},
		Window: func(values []float64) (floor, cap *mine.Bound) {
			return &mine.Bound{A: 0, B: -values[0]}, &mine.Bound{A: 0, B: values[0]}
		},
		Values: func(_, cap *mine.Bound) []float64 { return []float64{cap.B} },
	})
	vectors := func(v ...float32) message.Vectors {
		return message.Vectors{Rows: len(v) / 2, Width: 2, Projected: v}
	}
	found := map[string]int{}
	for _, row := range []struct {
		name       string
		parameters map[string]float64
		bound      float64
	}{{"default", nil, 0.75}, {"narrow", map[string]float64{"band": 0.25}, 0.25}} {
		rule, err := mine.NewRule("banded", row.parameters)
		if err != nil {
			t.Fatal(err)
		}
		part := func(rule mine.Rule) *mine.Part {
			s := session.New(kernel.Plain)
			m := message.Select{
				Begin: message.Begin{Queries: vectors(1, 0), Positives: vectors(1, 1), Indices: mine.Indices{PairQuery: []int64{0}, PairPositive: []int64{0}},
					Options: mine.Options{Rule: rule, Top: 9}},
				Push: message.Push{Documents: vectors(1, 0, 1, 1, 0, 1, -0.2, 1, -1, 0)},
			}
			tensors, options := m.Encode()
			in, err := safetensors.Marshal(tensors, options)
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.Call(abi.OpSelect, in)
			if err != nil {
				t.Fatal(err)
			}
			p, err := mine.ParsePart(bytes.Clone(out))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		got, want := part(rule), part(mine.Rule{Name: mine.WindowRule, Floor: &mine.Bound{A: 0, B: -row.bound}, Cap: &mine.Bound{A: 0, B: row.bound}})
		if got.Rule.Name != "banded" || !slices.Equal(got.Found[0], want.Found[0]) {
			t.Errorf("%s: rule %q finds %v; the window finds %v", row.name, got.Rule.Name, got.Found[0], want.Found[0])
		}
		found[row.name] = len(got.Found[0])
	}
	if found["default"] != 3 || found["narrow"] != 2 {
		t.Errorf("found %v", found)
	}
}
