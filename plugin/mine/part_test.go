package mine

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

// parts mines one problem in three ranges.
func parts(t *testing.T, seed uint64) []*Part {
	t.Helper()
	for ; ; seed++ {
		pr := newProblem(rand.New(rand.NewPCG(seed, 9)))
		if pr.n < 9 {
			continue
		}
		k := pr.pairs.Width
		s, err := NewScanner(pr.pairs, pr.options, kernel.Plain)
		if err != nil {
			t.Fatal(err)
		}
		var parts []*Part
		for _, r := range []Range{{0, 3}, {3, 4}, {6, int64(pr.n)}} {
			if _, err := s.Push(r.First, pr.documents[int(r.First)*k:int(r.End)*k]); err != nil {
				t.Fatal(err)
			}
			parts = append(parts, s.Finish())
		}
		return parts
	}
}

func mergeAll(t *testing.T, parts ...*Part) []byte {
	t.Helper()
	merged := parts[0]
	for _, p := range parts[1:] {
		var err error
		if merged, err = Merge(merged, p); err != nil {
			t.Fatal(err)
		}
	}
	b, err := merged.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMergeIsAssociativeAndCommutative(t *testing.T) {
	for seed := range uint64(200) {
		p := parts(t, seed*1000)
		want := mergeAll(t, p[0], p[1], p[2])
		right, err := Merge(p[1], p[2])
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range [][]byte{mergeAll(t, p[2], p[1], p[0]), mergeAll(t, p[1], p[0], p[2]), mergeAll(t, p[0], right), mergeAll(t, right, p[0])} {
			if !bytes.Equal(got, want) {
				t.Fatalf("seed %d: order %d gives another part", seed, i)
			}
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	p := parts(t, 1)
	change := func(f func(*Part)) *Part {
		c := *p[1]
		c.SQPD = slices.Clone(c.SQPD)
		f(&c)
		return &c
	}
	for name, row := range map[string]struct {
		with *Part
		code abi.Code
	}{
		"the same range":         {p[0], abi.Overlap},
		"another projection":     {change(func(c *Part) { c.Projection = "other" }), abi.Mismatch},
		"another pairs_id":       {change(func(c *Part) { c.PairsID = "other" }), abi.Mismatch},
		"another top":            {change(func(c *Part) { c.Top++ }), abi.Mismatch},
		"another rule":           {change(func(c *Part) { c.Rule = Rule{Name: "window", Floor: &Bound{0.25, 1}} }), abi.Mismatch},
		"other pairs":            {change(func(c *Part) { c.SQPD[0] = math.Nextafter(c.SQPD[0], 2) }), abi.Mismatch},
		"another number of them": {change(func(c *Part) { c.SQPD = c.SQPD[1:] }), abi.Mismatch},
	} {
		if _, err := Merge(p[0], row.with); !errors.Is(err, &abi.Error{Code: row.code}) {
			t.Errorf("%s: got %v, expected %v", name, err, row.code)
		}
	}
}

// TestCountsPastTheDocuments parses parts that claim more documents than their ranges hold. The sum of such counts
// could overflow.
func TestCountsPastTheDocuments(t *testing.T) {
	for skipped, row := range map[int64]struct {
		inWindow int64
		sound    bool
	}{0: {7, true}, 3: {4, true}, 4: {4, false}, 7: {0, true}, 8: {0, false}, math.MaxInt64: {0, false}, 1: {math.MaxInt64, false}} {
		p := &Part{Options: Options{Rule: Rule{Name: "topk"}, Top: 1, Counts: true, SkipZero: true}, Ranges: []Range{{0, 3}, {10, 14}}, SQPD: []float64{0}, Window: []bool{true},
			Found: [][]Negative{nil}, InWindow: []int64{row.inWindow}, Candidates: []int64{0}, Skipped: skipped}
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		p.Counts = false
		uncounted, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePart(uncounted); (err == nil) != (skipped <= 7) {
			t.Errorf("%d left out of 7: %v", skipped, err)
		}
		if _, err := ParsePart(b); (err == nil) != row.sound || err != nil && !errors.Is(err, &abi.Error{Code: abi.BadMessage}) {
			t.Errorf("%d left out, %d in the window, of 7: %v", skipped, row.inWindow, err)
		}
	}
}

// TestPartCutAnywhereIsAnError cuts a part at every byte, which is an error, and changes every byte, which gives an
// error or a sound part.
func TestPartCutAnywhereIsAnError(t *testing.T) {
	whole, err := parts(t, 3)[2].Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := ParsePart(whole[:n]); !errors.Is(err, &abi.Error{Code: abi.BadMessage}) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		changed := bytes.Clone(whole)
		changed[n] ^= 0x41
		if p, err := ParsePart(changed); err == nil {
			if _, err := p.Marshal(); err != nil {
				t.Fatalf("changed at %d: accepted, and does not marshal: %v", n, err)
			}
		}
	}
}

func FuzzParsePart(f *testing.F) {
	for seed := range uint64(4) {
		b, err := newProblem(rand.New(rand.NewPCG(seed, 7))).bruteForce().Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePart(b)
		if err != nil {
			return
		}
		again, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if q, err := ParsePart(again); err != nil {
			t.Fatalf("a part that was accepted is not when written again: %v", err)
		} else if third, _ := q.Marshal(); !bytes.Equal(again, third) {
			t.Fatal("a part changes when read and written")
		}
	})
}

func TestRanges(t *testing.T) {
	var r ranges
	for _, step := range []struct {
		first, end int64
		code       abi.Code
		want       []Range
	}{
		{10, 20, abi.OK, []Range{{10, 20}}},
		{30, 40, abi.OK, []Range{{10, 20}, {30, 40}}},
		{0, 5, abi.OK, []Range{{0, 5}, {10, 20}, {30, 40}}},
		{19, 21, abi.Overlap, []Range{{0, 5}, {10, 20}, {30, 40}}},
		{4, 6, abi.Overlap, []Range{{0, 5}, {10, 20}, {30, 40}}},
		{0, 100, abi.Overlap, []Range{{0, 5}, {10, 20}, {30, 40}}},
		{12, 13, abi.Overlap, []Range{{0, 5}, {10, 20}, {30, 40}}},
		{7, 7, abi.OK, []Range{{0, 5}, {10, 20}, {30, 40}}},
		{20, 30, abi.OK, []Range{{0, 5}, {10, 40}}},
		{5, 6, abi.OK, []Range{{0, 6}, {10, 40}}},
		{9, 10, abi.OK, []Range{{0, 6}, {9, 40}}},
		{-1, 0, abi.BadMessage, []Range{{0, 6}, {9, 40}}},
		{abi.MaxPosition, abi.MaxPosition + 2, abi.Limit, []Range{{0, 6}, {9, 40}}},
	} {
		err := r.add(step.first, step.end)
		if step.code == abi.OK && err != nil || step.code != abi.OK && !errors.Is(err, &abi.Error{Code: step.code}) {
			t.Fatalf("%d to %d: %v, expected %v", step.first, step.end, err, step.code)
		}
		if !slices.Equal(r, step.want) {
			t.Fatalf("%d to %d: %v, expected %v", step.first, step.end, r, step.want)
		}
	}
	for position, want := range map[int64]bool{0: true, 5: true, 6: false, 8: false, 9: true, 39: true, 40: false, -1: false} {
		if r.contains(position) != want {
			t.Errorf("contains %d: %v", position, !want)
		}
	}
}
