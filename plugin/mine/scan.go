package mine

import (
	"math"
	"slices"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

// Options say what to mine for the pairs.
type Options struct {
	Rule       Rule
	Top        int    // negatives of a pair at most, m
	Counts     bool   // count all documents in the window and all candidates
	SkipZero   bool   // leave out documents whose vector is zero, and count them; otherwise such a document is an error
	Projection string // fingerprint of what made the vectors, repeated in the part
	PairsID    string // the caller's name for the pairs, repeated in the part
}

// Scanner holds the pairs while documents stream past, and the negatives that it has found so far. It keeps no
// documents.
type Scanner struct {
	options Options
	kernel  kernel.Kernel
	pairs   Pairs

	queryNorms    []float64
	positiveNorms []float64
	screen        screen
	eq6           eq6

	sQPD       []float64 // of each pair: s(Q,PD)
	floor, cap []float64 // of each pair: its window
	queryPairs [][]int32 // of each query: its pairs

	found      [][]Negative // of each pair: its negatives so far, best first, at most Top
	window     []bool       // of each pair: some document lay in the window
	inWindow   []int64      // of each pair, with Counts: documents in the window
	candidates []int64      // of each pair, with Counts: documents in the window that meet Eq. 6, where the rule has it
	ranges     ranges
	skipped    int64

	norms []float64 // of the documents of a push; reused
	seeds seeds
}

// Checked are pairs and options that a scanner can be made of.
type Checked struct {
	Pairs
	options                   Options
	kernel                    kernel.Kernel
	queryNorms, positiveNorms []float64
}

// Check checks pairs and options. After it nothing can fail. It keeps the slices of pairs and does not change them.
func Check(pairs Pairs, options Options, k kernel.Kernel) (*Checked, error) {
	if err := pairs.validate(); err != nil {
		return nil, err
	}
	if options.Top < 1 || options.Top > abi.MaxTop {
		return nil, abi.Errorf(abi.BadOption, "top is %d; it goes from 1 to %d", options.Top, abi.MaxTop)
	}
	c := &Checked{Pairs: pairs, options: options, kernel: k}
	var err error
	if c.queryNorms, err = norms(k, abi.TensorQueries, pairs.Queries, pairs.Width); err != nil {
		return nil, err
	}
	if c.positiveNorms, err = norms(k, abi.TensorPositives, pairs.Positives, pairs.Width); err != nil {
		return nil, err
	}
	return c, nil
}

// NewScanner checks the pairs and prepares to mine them. It keeps their slices, and sorts the excluded positions of
// each query.
func NewScanner(pairs Pairs, options Options, k kernel.Kernel) (*Scanner, error) {
	c, err := Check(pairs, options, k)
	if err != nil {
		return nil, err
	}
	return c.Scanner(), nil
}

// Scanner prepares to mine the pairs. It keeps their slices, and sorts the excluded positions of each query.
func (c *Checked) Scanner() *Scanner {
	pairs, options := c.Pairs, c.options
	s := &Scanner{options: options, kernel: c.kernel, pairs: pairs, queryNorms: c.queryNorms, positiveNorms: c.positiveNorms}
	q, n := len(s.queryNorms), len(pairs.PairQuery)
	for i := range q {
		slices.Sort(list(pairs.ExcludeOffsets, pairs.Exclude, i))
	}
	s.screen = newScreen(c.kernel, pairs.Queries, s.queryNorms, pairs.Width)
	s.seeds = newSeeds(options)
	s.queryPairs = make([][]int32, q)
	s.sQPD, s.floor, s.cap = make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range n {
		query, positive := int(pairs.PairQuery[i]), int(pairs.PairPositive[i])
		s.queryPairs[query] = append(s.queryPairs[query], int32(i))
		s.sQPD[i] = s.scoreQueryPositive(query, positive)
		s.floor[i], s.cap[i] = options.Rule.Window(s.sQPD[i])
		together := list(pairs.TogetherOffsets, pairs.Together, query)
		for j, p := range together {
			floor, ceiling := options.Rule.Window(s.scoreQueryPositive(query, int(p)))
			if j == 0 {
				s.floor[i], s.cap[i] = floor, ceiling
			}
			s.floor[i], s.cap[i] = max(s.floor[i], floor), min(s.cap[i], ceiling)
		}
	}
	if options.Rule.Eq6 && !options.Counts {
		s.eq6 = newEq6(s)
	}
	s.reset()
	return s
}

// SkipsZero reports whether documents whose vector is zero are left out rather than an error.
func (s *Scanner) SkipsZero() bool { return s.options.SkipZero }

// reset forgets what was found and keeps the pairs.
func (s *Scanner) reset() {
	n := len(s.pairs.PairQuery)
	s.found, s.window = make([][]Negative, n), make([]bool, n)
	if s.options.Counts {
		s.inWindow, s.candidates = make([]int64, n), make([]int64, n)
	}
	s.ranges, s.skipped = nil, 0
	s.screen.restart()
	for i := range s.queryPairs {
		s.setBounds(i)
	}
}

// norms returns the norms of all rows, each of width values. A row that is zero or not finite is an error.
func norms(k kernel.Kernel, tensor string, rows []float32, width int) ([]float64, error) {
	n := make([]float64, len(rows)/width)
	for i := range n {
		n[i] = kernel.Norm(k, rows[i*width:(i+1)*width])
		if n[i] == 0 {
			return nil, abi.Errorf(abi.ZeroVector, "the vector is zero, so its cosine is undefined").At(tensor, i)
		}
		if n[i]-n[i] != 0 {
			return nil, abi.Errorf(abi.NonFinite, "the vector has a NaN or an infinity").At(tensor, i)
		}
	}
	return n, nil
}

func (s *Scanner) row(rows []float32, i int) []float32 {
	return rows[i*s.pairs.Width : (i+1)*s.pairs.Width]
}

func (s *Scanner) scoreQueryPositive(query, positive int) float64 {
	return s.kernel.Dot(s.row(s.pairs.Queries, query), s.row(s.pairs.Positives, positive)) / (s.queryNorms[query] * s.positiveNorms[positive])
}

// Push scans documents: whole rows of projected vectors, the first of them at position first. skipped is how many
// documents were left out as zero vectors. After an error nothing has changed.
func (s *Scanner) Push(first int64, documents []float32) (skipped int, err error) {
	k := s.pairs.Width
	n := len(documents) / k
	s.norms = slices.Grow(s.norms[:0], n)[:n]
	for i := range n {
		x := documents[i*k : (i+1)*k]
		s.norms[i] = kernel.Norm(s.kernel, x)
		if s.norms[i]-s.norms[i] != 0 {
			return 0, abi.Errorf(abi.NonFinite, "the vector has a NaN or an infinity").At(abi.TensorDocuments, i)
		}
		if s.norms[i] == 0 {
			if !s.options.SkipZero {
				return 0, abi.Errorf(abi.ZeroVector, "the vector is zero, so its cosine is undefined").At(abi.TensorDocuments, i)
			}
			skipped++
		}
	}
	if err := s.ranges.add(first, first+int64(n)); err != nil {
		return 0, err
	}
	s.skipped += int64(skipped)
	for i := 0; i < n; {
		end := min(i+s.screen.next().documents, n)
		s.scanBlock(first+int64(i), documents[i*k:end*k], s.norms[i:end])
		i = end
	}
	return skipped, nil
}

// scanBlock scans a block of documents, the first of them at position first, for some queries at a time. It screens the
// documents in steps, each with the bounds that the one before has raised. What the block leaves is decided on together: so
// few documents enter the negatives that better ones of the block throw out again.
func (s *Scanner) scanBlock(first int64, documents []float32, norms []float64) {
	s.screen.load(documents, norms)
	drop := func(document int, queries []int32) []int32 { return s.dropEq6(first, document, queries) }
	for number := range s.screen.runs() {
		s.screen.begin(number)
		s.seeds.restart()
		for at := 0; at < len(norms); {
			end := s.screen.stepEnd(at, len(norms))
			s.seed(first, s.screen.step(at, norms[at:end], drop))
			at = end
		}
		s.decideLeft(first, documents, norms)
	}
}

// decideLeft decides on the survivors: on all of them where all is counted, and otherwise for each query best first, since the
// bound that one document raises rules others out.
func (s *Scanner) decideLeft(first int64, documents []float32, norms []float64) {
	decide := func(query int, document uint16) {
		i := int(document)
		s.decide(query, first+int64(i), s.row(documents, i), norms[i])
	}
	for query, left := range s.screen.survivors() {
		if s.options.Counts {
			for _, document := range left {
				decide(query, document)
			}
			continue
		}
		for len(left) > 0 {
			i, score := s.screen.best(query, left)
			if score < s.screen.low[query] {
				break
			}
			if score <= s.screen.high[query] {
				decide(query, left[i])
			}
			left[i] = left[len(left)-1]
			left = left[:len(left)-1]
		}
	}
}

// decide scores a document that screening did not rule out, in canonical arithmetic, for all pairs of a query.
func (s *Scanner) decide(query int, position int64, document []float32, norm float64) {
	if s.excluded(query, position) {
		return
	}
	s.screen.work.Scored++
	sQD := s.kernel.Dot(s.row(s.pairs.Queries, query), document) / (s.queryNorms[query] * norm)
	changed := false
	for _, pair := range s.queryPairs[query] {
		if !(sQD > s.floor[pair] && sQD <= s.cap[pair]) {
			continue
		}
		s.window[pair] = true
		if s.options.Counts {
			s.inWindow[pair]++
		}
		new := Negative{Position: position, SQD: sQD}
		found := s.found[pair]
		full := len(found) == s.options.Top
		enters := !full || new.Before(found[len(found)-1])
		if !enters && !s.options.Counts {
			continue
		}
		positive := int(s.pairs.PairPositive[pair])
		new.SPDD = s.scorePositive(positive, document, norm)
		if s.options.Rule.Eq6 && !s.meetsEq6(query, new, document, norm) {
			continue
		}
		if s.options.Counts {
			s.candidates[pair]++
		}
		if !enters {
			continue
		}
		if found == nil {
			found = make([]Negative, 0, min(s.options.Top, 16))
		}
		if !full {
			found = append(found, new)
		}
		at := len(found) - 1
		for ; at > 0 && new.Before(found[at-1]); at-- {
			found[at] = found[at-1]
		}
		found[at] = new
		s.found[pair] = found
		changed = changed || len(found) == s.options.Top
	}
	if changed {
		s.setBounds(query)
	}
}

func (s *Scanner) excluded(query int, position int64) bool {
	positions := list(s.pairs.ExcludeOffsets, s.pairs.Exclude, query)
	const few = 8
	if len(positions) > few {
		_, excluded := slices.BinarySearch(positions, position)
		return excluded
	}
	for _, p := range positions {
		if p == position {
			return true
		}
	}
	return false
}

func (s *Scanner) scorePositive(positive int, document []float32, norm float64) float64 {
	return s.kernel.Dot(s.row(s.pairs.Positives, positive), document) / (s.positiveNorms[positive] * norm)
}

// meetsEq6 reports whether s(Q,D) > s(PD,D) for the pair's positive, or for all positives that go together.
func (s *Scanner) meetsEq6(query int, n Negative, document []float32, norm float64) bool {
	together := list(s.pairs.TogetherOffsets, s.pairs.Together, query)
	if len(together) == 0 {
		return n.SQD > n.SPDD
	}
	for _, p := range together {
		if !(n.SQD > s.scorePositive(int(p), document, norm)) {
			return false
		}
	}
	return true
}

// setBounds computes a query's screening bounds anew: the least and the greatest score that any of its pairs still wants. A
// pair wants what lies in its window and, unless all is counted, no less than the score of its m-th best negative so far.
func (s *Scanner) setBounds(query int) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, pair := range s.queryPairs[query] {
		floor := s.floor[pair]
		if found := s.found[pair]; len(found) == s.options.Top && !s.options.Counts {
			floor = max(floor, found[len(found)-1].SQD)
		}
		low, high = min(low, floor), max(high, s.cap[pair])
	}
	s.screen.bound(query, low, high)
}

// Work is what screening and scoring have done since the scanner was made.
func (s *Scanner) Work() Work { return s.screen.work }

// Finish returns the part for the documents that were pushed, and starts anew with the same pairs.
func (s *Scanner) Finish() *Part {
	p := &Part{
		Options: s.options, Ranges: s.ranges, SQPD: s.sQPD, Window: s.window, Found: s.found,
		InWindow: s.inWindow, Candidates: s.candidates, Skipped: s.skipped,
	}
	s.inWindow, s.candidates = nil, nil
	s.reset()
	return p
}
