package mine

import (
	"math"
	"slices"
	"sort"

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
	unitQueries   kernel.Packed[int32] // the queries' unit vectors in 16 bits, for the first pass of screening
	unitRows      []float32            // the same vectors in float32, for the second

	sQPD       []float64 // of each pair: s(Q,PD)
	floor, cap []float64 // of each pair: its window
	queryPairs [][]int32 // of each query: its pairs
	slack      float64   // bound on the screening error, see screenSlack

	// low[i] is the screening bound of query i: a document whose approximate score lies below is ruled out for every
	// pair of the query. There are as many as unitQueries has rows once packed.
	low    []float32
	prefix prefix

	found      [][]Negative // of each pair: its negatives so far, best first, at most Top
	window     []bool       // of each pair: some document lay in the window
	inWindow   []int64      // of each pair, with Counts: documents in the window
	candidates []int64      // of each pair, with Counts: documents in the window that meet Eq. 6, where the rule has it
	ranges     ranges
	skipped    int64

	// Scratch memory of one block, reused.
	scores []int32   // approximate scores of its documents and queries
	above  []int32   // queries that one document is not ruled out for
	unit   []float32 // the documents' unit vectors
	words  []int32   // the same vectors in 16 bits
	norms  []float64 // the documents' norms
}

// The scan goes block by block, each of so many documents and queries. Their vectors and scores stay in the cache.
const (
	blockDocuments = 64
	blockQueries   = 512
)

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
	s := &Scanner{options: options, kernel: c.kernel, pairs: pairs, slack: screenSlack(pairs.Width), queryNorms: c.queryNorms, positiveNorms: c.positiveNorms}
	q, n := len(s.queryNorms), len(pairs.PairQuery)
	unit := make([]float32, len(pairs.Queries))
	for i, norm := range s.queryNorms {
		s.kernel.Scale(unit[i*pairs.Width:], s.row(pairs.Queries, i), 1/norm)
		slices.Sort(list(pairs.ExcludeOffsets, pairs.Exclude, i))
	}
	words := kernel.Words(pairs.Width)
	quantized := make([]int32, q*words)
	for i := range q {
		s.kernel.Quantize(quantized[i*words:(i+1)*words], s.row(unit, i))
	}
	s.unitQueries, s.unitRows = kernel.Pack(quantized, q, words), unit
	s.queryPairs = make([][]int32, q)
	s.sQPD, s.floor, s.cap = make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range n {
		query, positive := int(pairs.PairQuery[i]), int(pairs.PairPositive[i])
		s.queryPairs[query] = append(s.queryPairs[query], int32(i))
		s.sQPD[i] = s.scoreQueryPositive(query, positive)
		s.floor[i], s.cap[i] = options.Rule.window(s.sQPD[i])
		together := list(pairs.TogetherOffsets, pairs.Together, query)
		for j, p := range together {
			floor, ceiling := options.Rule.window(s.scoreQueryPositive(query, int(p)))
			if j == 0 {
				s.floor[i], s.cap[i] = floor, ceiling
			}
			s.floor[i], s.cap[i] = max(s.floor[i], floor), min(s.cap[i], ceiling)
		}
	}
	packed := kernel.PackedRows(q)
	s.low = make([]float32, packed)
	for i := q; i < packed; i++ { // no document reaches the rows that fill the last panel
		s.low[i] = float32(math.Inf(1))
	}
	s.prefix = newPrefix(s.kernel, unit, pairs.Width)
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
	s.prefix.restart()
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
	for i := 0; i < n; i += blockDocuments {
		end := min(i+blockDocuments, n)
		s.scanBlock(first+int64(i), documents[i*k:end*k], s.norms[i:end])
	}
	return skipped, nil
}

func (s *Scanner) scanBlock(first int64, documents []float32, norms []float64) {
	s.unit = slices.Grow(s.unit[:0], len(documents))[:len(documents)]
	words := s.unitQueries.Columns
	s.words = slices.Grow(s.words[:0], len(norms)*words)[:len(norms)*words]
	for i, norm := range norms {
		if norm == 0 {
			clear(s.row(s.unit, i))
		} else {
			s.kernel.Scale(s.row(s.unit, i), s.row(documents, i), 1/norm)
		}
		s.kernel.Quantize(s.words[i*words:(i+1)*words], s.row(s.unit, i))
	}
	q := len(s.low)
	s.above = slices.Grow(s.above[:0], blockQueries)[:blockQueries]
	columns, queryTails := s.prefix.choose()
	survivors, all := 0, 0
	for j := 0; j < q; j += blockQueries {
		n := min(blockQueries, q-j)
		s.scores = slices.Grow(s.scores[:0], n*len(norms))[:n*len(norms)]
		s.kernel.Screen(s.scores, s.unitQueries, j, n, s.words, kernel.Words(columns))
		for i, norm := range norms {
			if norm == 0 {
				continue
			}
			tail := kernel.Unit * tailNorm(s.kernel, s.row(s.unit, i)[columns:])
			scores, low := s.scores[i*n:(i+1)*n], s.low[j:j+n]
			found := s.kernel.Above(s.above, scores, low, queryTails[j:j+n], tail)
			survivors, all = survivors+found, all+n
			found = s.kernel.Refine(s.above[:found], scores, s.unitRows[j*s.pairs.Width+columns:], s.pairs.Width, s.row(s.unit, i)[columns:], low, unitSquare)
			for _, c := range s.above[:found] {
				s.decide(j+int(c), first+int64(i), s.row(documents, i), norm)
			}
		}
	}
	s.prefix.learn(survivors, all)
}

// decide scores a document that screening did not rule out, in canonical arithmetic, for all pairs of a query.
func (s *Scanner) decide(query int, position int64, document []float32, norm float64) {
	if _, excluded := slices.BinarySearch(list(s.pairs.ExcludeOffsets, s.pairs.Exclude, query), position); excluded {
		return
	}
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
		enters := !full || new.before(found[len(found)-1])
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
		at := sort.Search(len(found), func(i int) bool { return new.before(found[i]) })
		if full {
			found = found[:len(found)-1]
		}
		s.found[pair] = slices.Insert(found, at, new)
		changed = true
	}
	if changed {
		s.setBounds(query)
	}
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

// setBounds computes a query's screening bound anew: the least bound of its pairs, less the slack, rounded down, on the
// scale of the 16-bit products. The bound of a pair is its floor, or the score of its m-th best negative so far where
// that is higher and nothing is counted.
func (s *Scanner) setBounds(query int) {
	low := math.Inf(1)
	for _, pair := range s.queryPairs[query] {
		floor := s.floor[pair]
		if found := s.found[pair]; len(found) == s.options.Top && !s.options.Counts {
			floor = max(floor, found[len(found)-1].SQD)
		}
		low = min(low, floor)
	}
	s.low[query] = roundDown((low - s.slack) * unitSquare)
}

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
