package mine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
)

// problem is a random mining problem.
type problem struct {
	pairs     Pairs
	options   Options
	documents []float32
	n         int
}

// newProblem makes small problems with many ties: values from a few integers, rows repeated and scaled.
func newProblem(r *rand.Rand) problem {
	k := []int{1, 2, 3, 7, 8, 9, 17, 33, 70}[r.IntN(9)]
	n, q, p := 1+r.IntN(40), 1+r.IntN(6), 1+r.IntN(6)
	rows := func(count int) []float32 {
		v := make([]float32, count*k)
		for i := range count {
			row := v[i*k : (i+1)*k]
			switch {
			case i > 0 && r.IntN(4) == 0: // a copy of an earlier row, perhaps scaled
				from := r.IntN(i)
				scale := float32([]float64{1, 1, 2, 0.5, -1, 3}[r.IntN(6)])
				for c := range row {
					row[c] = v[from*k+c] * scale
				}
			case r.IntN(2) == 0:
				for c := range row {
					row[c] = float32(r.IntN(5) - 2)
				}
			default:
				for c := range row {
					row[c] = float32(r.NormFloat64())
				}
			}
			if isZero(row) {
				row[r.IntN(k)] = 1
			}
		}
		return v
	}
	pr := problem{documents: rows(n), n: n}
	pr.pairs = Pairs{Width: k, Queries: rows(q), Positives: rows(p)}
	if r.IntN(4) == 0 { // documents so near to a few of them, or to positives, that screening cannot tell them apart
		near := slices.Concat(pr.pairs.Positives, pr.documents[:min(n, 3)*k])
		noise := math.Pow(10, -3-3*r.Float64())
		for i := range n {
			from := r.IntN(len(near) / k)
			for c := range k {
				pr.documents[i*k+c] = near[from*k+c] + float32(noise*r.NormFloat64())
			}
		}
	}
	for range 1 + r.IntN(8) {
		pr.pairs.PairQuery = append(pr.pairs.PairQuery, int64(r.IntN(q)))
		pr.pairs.PairPositive = append(pr.pairs.PairPositive, int64(r.IntN(p)))
	}
	lists := func(limit, longest int) (offsets, values []int64) {
		offsets, values = []int64{0}, []int64{}
		for range q {
			for range r.IntN(longest + 1) {
				values = append(values, int64(r.IntN(limit)))
			}
			offsets = append(offsets, int64(len(values)))
		}
		return offsets, values
	}
	if r.IntN(2) == 0 {
		pr.pairs.ExcludeOffsets, pr.pairs.Exclude = lists(n, 4)
	}
	if r.IntN(3) == 0 {
		pr.pairs.TogetherOffsets, pr.pairs.Together = lists(p, 3)
	}
	pr.options = Options{Top: 1 + r.IntN(6), Counts: r.IntN(2) == 0}
	if name := r.IntN(len(Rules) + 1); name < len(Rules) {
		parameters := map[string]float64{"margin": []float64{0, 0.05, 0.5}[r.IntN(3)], "perc": []float64{1, 0.95, 0.5}[r.IntN(3)]}
		pr.options.Rule, _ = NewRule(Rules[name].Name, parameters)
	} else {
		pr.options.Rule = Rule{Name: "window", Floor: &Bound{0.5, -0.1}, Cap: &Bound{1, 0.2}, Eq6: r.IntN(2) == 0}
	}
	return pr
}

func isZero(v []float32) bool { return !slices.ContainsFunc(v, func(x float32) bool { return x != 0 }) }

// bruteForce applies the rule to every document, without screening or early stopping.
func (pr problem) bruteForce() *Part {
	k, p := pr.pairs.Width, pr.pairs
	s := func(a, b []float32) float64 {
		return kernel.Plain.Dot(a, b) / (kernel.Norm(kernel.Plain, a) * kernel.Norm(kernel.Plain, b))
	}
	row := func(rows []float32, i int64) []float32 { return rows[int(i)*k : int(i+1)*k] }
	part := &Part{Options: pr.options, Ranges: []Range{{0, int64(pr.n)}}}
	for i := range p.PairQuery {
		query, positive := row(p.Queries, p.PairQuery[i]), row(p.Positives, p.PairPositive[i])
		against := list(p.TogetherOffsets, p.Together, int(p.PairQuery[i]))
		if len(against) == 0 {
			against = []int64{p.PairPositive[i]}
		}
		var found []Negative
		window, candidates := int64(0), int64(0)
		for d := range int64(pr.n) {
			document := row(pr.documents, d)
			sQD := s(query, document)
			inWindow, eq6 := true, true
			for _, a := range against {
				sQPD := s(query, row(p.Positives, a))
				if b := pr.options.Rule.Floor; b != nil && !(sQD > float64(b.A*sQPD)+b.B) {
					inWindow = false
				}
				b := pr.options.Rule.Cap
				if below := pr.options.Rule.CapBelowZero; below != nil && sQPD < 0 {
					b = below
				}
				if b != nil && !(sQD <= float64(b.A*sQPD)+b.B) {
					inWindow = false
				}
				eq6 = eq6 && sQD > s(row(p.Positives, a), document)
			}
			if !inWindow || slices.Contains(list(p.ExcludeOffsets, p.Exclude, int(p.PairQuery[i])), d) {
				continue
			}
			window++
			if eq6 || !pr.options.Rule.Eq6 {
				candidates++
				found = append(found, Negative{d, sQD, s(positive, document)})
			}
		}
		sort.SliceStable(found, func(a, b int) bool { return found[a].SQD > found[b].SQD })
		part.SQPD = append(part.SQPD, s(query, positive))
		part.Found = append(part.Found, found[:min(len(found), pr.options.Top)])
		part.Window = append(part.Window, window > 0)
		if pr.options.Counts {
			part.InWindow, part.Candidates = append(part.InWindow, window), append(part.Candidates, candidates)
		}
	}
	return part
}

// scan mines the problem, its documents cut into blocks in random order, with one scanner or with several whose parts
// are merged in random order.
func (pr problem) scan(t *testing.T, r *rand.Rand) *Part {
	t.Helper()
	k := pr.pairs.Width
	scanners := make([]*Scanner, 1+r.IntN(3))
	for i := range scanners {
		pairs := pr.pairs
		pairs.Exclude = slices.Clone(pairs.Exclude)
		var err error
		if scanners[i], err = NewScanner(pairs, pr.options, kernel.Plain); err != nil {
			t.Fatal(err)
		}
	}
	var cuts []int
	for at := 0; at < pr.n; at += 1 + r.IntN(pr.n) {
		cuts = append(cuts, at)
	}
	for _, i := range r.Perm(len(cuts)) {
		end := pr.n
		if i+1 < len(cuts) {
			end = cuts[i+1]
		}
		if _, err := scanners[r.IntN(len(scanners))].Push(int64(cuts[i]), pr.documents[cuts[i]*k:end*k]); err != nil {
			t.Fatal(err)
		}
	}
	var merged *Part
	for _, i := range r.Perm(len(scanners)) {
		part := reread(t, scanners[i].Finish())
		if merged == nil {
			merged = part
			continue
		}
		var err error
		if merged, err = Merge(merged, part); err != nil {
			t.Fatal(err)
		}
	}
	return merged
}

// reread sends a part through its file format.
func reread(t *testing.T, p *Part) *Part {
	t.Helper()
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParsePart(b)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// TestScanEqualsBruteForce compares thousands of small problems, of every rule, bit for bit.
func TestScanEqualsBruteForce(t *testing.T) {
	problems := 20000
	if testing.Short() {
		problems = 2000
	}
	seen := map[string]int{}
	for seed := range uint64(problems) {
		r := rand.New(rand.NewPCG(seed, 7))
		pr := newProblem(r)
		want, err := pr.bruteForce().Marshal()
		if err != nil {
			t.Fatal(err)
		}
		part := pr.scan(t, r)
		got, err := part.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d, rule %+v: got\n%v\nwant\n%v", seed, pr.options, part, pr.bruteForce())
		}
		for i, found := range part.Found {
			seen[fmt.Sprintf("%s: some %v, window %v", pr.options.Rule.Name, len(found) > 0, part.Window[i])]++
		}
	}
	// The problems reach every outcome that a rule can have.
	for _, outcome := range []string{"dual: some true, window true", "dual: some false, window true", "dual: some false, window false",
		"capped: some false, window true", "perc: some false, window false", "margin: some true, window true", "topk: some true, window true", "window: some false, window false"} {
		if seen[outcome] < 10 {
			t.Errorf("outcome %q was seen %d times", outcome, seen[outcome])
		}
	}
}

// TestOppositeVectors has a document that is the query, and a positive that is its opposite. In 501 equal columns, 16 bits round
// the unit vectors up: the difference of the two approximate scores is more than 32 bits hold.
func TestOppositeVectors(t *testing.T) {
	ones, opposite := make([]float32, 501), make([]float32, 501)
	for i := range ones {
		ones[i], opposite[i] = 1, -1
	}
	rule, _ := NewRule("dual", nil)
	pairs := Pairs{Width: len(ones), Queries: ones, Positives: opposite, Indices: Indices{PairQuery: []int64{0}, PairPositive: []int64{0}}}
	pr := problem{pairs: pairs, options: Options{Rule: rule, Top: 1}, documents: ones, n: 1}
	want := pr.bruteForce().Found
	if got := pr.scan(t, rand.New(rand.NewPCG(1, 1))).Found; len(want[0]) != 1 || !slices.Equal(got[0], want[0]) {
		t.Errorf("got %v, expected %v", got, want)
	}
}

func TestRoundOutwards(t *testing.T) {
	for _, x := range []float64{0, 1, 1 + 1e-12, -1 - 1e-12, 0.1, -0.1, 1e-60, -1e-60, math.Inf(1), math.Inf(-1)} {
		down, up := roundDown(x), roundUp(x)
		if float64(down) > x || float64(up) < x {
			t.Errorf("%v rounds to %v and %v", x, down, up)
		}
		if float64(float32(x)) == x && (float64(down) != x || float64(up) != x) {
			t.Errorf("%v is a float32, and rounds to %v and %v", x, down, up)
		}
	}
}
