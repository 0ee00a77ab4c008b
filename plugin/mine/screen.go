package mine

import (
	"iter"
	"math"

	"github.com/quarry-hn/quarry/plugin/kernel"
)

// unitSquare is the product of two unit values on the scale of the 16-bit products.
const unitSquare = kernel.Unit * kernel.Unit

// screenSlack bounds the screening error of two vectors of k values: how far the approximate score can lie below the
// canonical s, and above it where P has all columns. The scale is that on which unit vectors have products of at most 1.
//
// Let u = 2^-24. Let a and b be the exact unit vectors, and let A and B be what Scale makes of them with the reciprocal
// of the norm. A value of A is off by a factor of at most 1+v, where v = u + 2^-39. This counts one rounding to
// float32, and before it, in float64, a reciprocal, a product, and the canonical norm, whose error is at most (k/8+4) *
// 2^-53 <= 2^-39.9 for k <= 2^16. A value of A that is denormal is off by at most 2^-150. Then
//
//   - |A.B - a.b| <= (2v + v^2) * sum|a_i b_i| + k * 2^-149 <= 2.001u, since sum|a_i b_i| <= 1 (Cauchy-Schwarz);
//   - the canonical s, with its three sums and two roundings, is within 2^-38 < u/1000 of a.b.
//
// Quantize makes whole numbers of the columns. Each is off from Unit*A or Unit*B by at most 0.51: a half, and the
// rounding of a product below 2^15 to float32. The sum P of the products of the first columns is exact, and P/Unit^2 is
// off from that part of A.B by at most
//
//	e = 2 * h * sqrt(k) + h^2 * k, h = 0.51/Unit
//
// since the sum of |A_i| is at most sqrt(k) (1+3u), and 0.51 leaves room for that factor.
//
// The rest of A.B, the columns that P leaves out, is at most |A'||B'|, the product of the norms of the tails
// (Cauchy-Schwarz). Norms of tails are rounded up. After the last column there is no rest.
//
// The comparisons round P, floors, tails and their product to float32, each of which is at most about 2 on this scale.
// These are five roundings, at most 10u together.
//
// All of this is less than e + 15u.
func screenSlack(k int) float64 {
	const u, h = 0x1p-24, 0.51 / kernel.Unit
	return 15*u + float64(2*h*math.Sqrt(float64(k))) + float64(h*h*float64(k))
}

// roundDown returns the largest float32 that is at most x. roundUp returns the least that is at least x.
func roundDown(x float64) float32 {
	f := float32(x)
	if float64(f) > x {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

func roundUp(x float64) float32 { return -roundDown(-x) }

// screen rules documents out for queries. A first pass multiplies all queries with all documents of a block, in their
// first columns. What the bound does not rule out goes on to further columns, pair by pair, from stop to stop.
type screen struct {
	kernel kernel.Kernel
	width  int

	panels kernel.Packed[int32] // the queries' unit vectors in 16 bits, for the first pass
	rows   []int32              // the same in rows of panels.Columns words, for what follows

	// low[i] and high[i] are the bounds of query i, on the scale of the 16-bit products: a document whose approximate score
	// lies below low, or above high, is ruled out for every pair of the query. There are as many as panels has rows once
	// packed.
	low, high []float32
	slack     float64 // see screenSlack

	stops  []int                                // numbers of columns at which the bound is looked at, ascending; the last is all columns
	tails  [][]float32                          // of each stop: the norms of the queries' remaining columns times Unit, as many as low
	routes [mostDocuments / stepDocuments]route // of the steps of a block
	blocks int                                  // since the beginning
	work   Work

	// The block that is screened, and the run of queries that it is screened for.
	words     []int32     // the documents' unit vectors in 16 bits
	tailNorms [][]float32 // of each stop: the norms of the documents' remaining columns times Unit
	shape     shape
	run       queryRun
	sampled   bool       // the run is the block's first
	scores    []int32    // approximate scores: of document i and query run.first+j at i*run.n+j
	left      []survivor // step by step

	// Scratch memory, reused.
	unit      []float32 // one vector's unit vector
	above     []int32   // queries that one document is not ruled out for
	ends      []int     // of each query of the run: where its survivors end in documents
	documents []uint16  // the survivors of query after query
}

// queryRun is n queries from query first on.
type queryRun struct{ first, n int }

// survivor is a document of a block and a query of a run that screening leaves for each other.
type survivor uint32

func newSurvivor(query, document int) survivor { return survivor(query<<documentBits | document) }
func (s survivor) query() int                  { return int(s >> documentBits) }
func (s survivor) document() int               { return int(s & (mostDocuments - 1)) }

// Work counts what a scan does. It depends on nothing but the pairs and the documents, block by block.
type Work struct {
	Pairs           int64 // (query, document) pairs
	Columns         int64 // columns that the first pass read, of all these pairs together
	Extended        int64 // times that a survivor went on from a stop to the next
	ExtendedColumns int64 // columns that survivors read
	Scored          int64 // pairs that were scored in canonical arithmetic
}

// The scan goes block by block of documents, and in it run by run of queries, and in that step by step of the block. Vectors
// and scores stay in the cache. The first block has many documents and its runs few queries, since what is decided on together
// is worth the most there. Later runs have many queries, so that there are few of them.
const (
	documentBits   = 9
	mostDocuments  = 1 << documentBits
	mostQueries    = 512
	stepDocuments  = 64
	firstDocuments = 16 // of the first step of all, which has no bounds yet
)

type shape struct{ documents, queries int }

var firstShape, laterShape = shape{mostDocuments, 128}, shape{128, mostQueries}

// Stride is how many pairs of 16-bit numbers a row of k columns takes in screening: a multiple of four.
func Stride(k int) int { return (kernel.Words(k) + 3) &^ 3 }

// Stops is how many stops there are in k columns.
func Stops(k int) int { return len(stopsOf(k)) }

// stopsOf returns the stops of k columns: 32, 64, 96, 128, and then two for each doubling.
func stopsOf(k int) (stops []int) {
	for c := 32; c < k; {
		stops = append(stops, c)
		switch {
		case c < 128:
			c += 32
		case c&(c-1) == 0: // a power of two
			c += c / 2
		default:
			c += c / 3
		}
	}
	return append(stops, k)
}

// newScreen makes a screen for queries of those norms, of width values each. Its bounds rule nothing out.
func newScreen(k kernel.Kernel, queries []float32, norms []float64, width int) screen {
	s := screen{kernel: k, width: width, slack: screenSlack(width), stops: stopsOf(width), unit: make([]float32, width), above: make([]int32, mostQueries), ends: make([]int, mostQueries+1)}
	q, stride := len(norms), Stride(width)
	s.rows = make([]int32, q*stride)
	s.low, s.high = make([]float32, kernel.PackedRows(q)), make([]float32, q)
	s.tails, s.tailNorms = make([][]float32, len(s.stops)), make([][]float32, len(s.stops))
	for i := range s.stops {
		s.tails[i], s.tailNorms[i] = make([]float32, len(s.low)), make([]float32, mostDocuments)
	}
	for i, norm := range norms {
		s.quantize(s.rows[i*stride:(i+1)*stride], queries[i*width:(i+1)*width], norm, s.tails, i)
	}
	s.panels = kernel.Pack(s.rows, q, stride)
	for i := q; i < len(s.low); i++ { // no document reaches the rows that fill the last panel
		s.low[i] = float32(math.Inf(1))
	}
	for i := range s.routes {
		s.routes[i] = newRoute(s.stops)
	}
	return s
}

// bound sets the bounds of a query whose pairs want scores from low to high: the slack further apart, rounded outwards.
func (s *screen) bound(query int, low, high float64) {
	s.low[query], s.high[query] = roundDown((low-s.slack)*unitSquare), roundUp((high+s.slack)*unitSquare)
}

// quantize writes a vector's unit vector in 16 bits, and the norm of its remaining columns at each stop to tails[stop][i].
func (s *screen) quantize(words []int32, x []float32, norm float64, tails [][]float32, i int) {
	s.kernel.Scale(s.unit, x, 1/norm)
	s.kernel.Quantize(words[:kernel.Words(s.width)], s.unit) // the words that fill the row up stay 0
	square := 0.0
	for stop := len(s.stops) - 2; stop >= 0; stop-- {
		part := s.unit[s.stops[stop]:s.stops[stop+1]]
		square += s.kernel.Dot(part, part)
		tails[stop][i] = kernel.Unit * roundUp(math.Sqrt(square)*(1+0x1p-40))
	}
}

// load takes the documents of a block, with their norms. A document of norm 0 is left out.
func (s *screen) load(documents []float32, norms []float64) {
	stride := s.panels.Columns
	s.words = grow(s.words, len(norms)*stride)
	for i, norm := range norms {
		words := s.words[i*stride : (i+1)*stride]
		if norm == 0 {
			clear(words)
			continue
		}
		s.quantize(words, documents[i*s.width:(i+1)*s.width], norm, s.tailNorms, i)
	}
	s.shape = s.next()
	s.blocks++
	s.scores = grow(s.scores, len(norms)*min(s.shape.queries, len(s.low)))
}

// grow returns a slice of n values. What was in it may be lost.
func grow[T any](x []T, n int) []T {
	if cap(x) < n {
		return make([]T, n)
	}
	return x[:n]
}

// restart begins anew: nothing is known of what the bounds rule out.
func (s *screen) restart() {
	s.blocks = 0
	for i := range s.routes {
		s.routes[i].restart()
	}
}

// next is the shape of the next block.
func (s *screen) next() shape {
	if s.blocks == 0 {
		return firstShape
	}
	return laterShape
}

// runs is how many runs of queries there are.
func (s *screen) runs() int { return (len(s.low) + s.shape.queries - 1) / s.shape.queries }

// begin begins a run of a block: of all runs, number by number. Each block begins with another run: it is the one that is
// sampled.
func (s *screen) begin(number int) {
	first := (s.blocks + number) % s.runs() * s.shape.queries
	s.run = queryRun{first, min(s.shape.queries, len(s.low)-first)}
	s.left = s.left[:0]
	s.sampled = number == 0
}

// stepEnd is where the step ends that begins with document at, in a block of n.
func (s *screen) stepEnd(at, n int) int {
	if at == 0 && s.blocks == 1 {
		return min(firstDocuments, n)
	}
	return min(at/stepDocuments*stepDocuments+stepDocuments, n)
}

// step screens documents from number at on, of those norms, for the queries of the run. drop takes further queries out, by
// their number in the run, of those that a document is left for. step returns what it leaves.
func (s *screen) step(at int, norms []float64, drop func(document int, queries []int32) []int32) []survivor {
	route := &s.routes[at/stepDocuments]
	if s.sampled && route.due(max(1, sampleEvery/s.runs())) {
		s.sample(route, at, len(norms))
	}
	first, n, stride := s.run.first, s.run.n, s.panels.Columns
	before, sums, words := len(s.left), s.scores[at*n:(at+len(norms))*n], s.words[at*stride:(at+len(norms))*stride]
	s.kernel.Screen(sums, s.panels, first, n, words, s.wordsTo(route.first))
	s.work.Pairs += int64(n * len(norms))
	s.work.Columns += int64(n * len(norms) * s.stops[route.first])
	low := s.low[first : first+n]
	for i, norm := range norms {
		if norm == 0 {
			continue
		}
		scores, x, stop := sums[i*n:(i+1)*n], words[i*stride:(i+1)*stride], route.first
		above := s.above[:s.kernel.Above(s.above, scores, low, s.tails[stop][first:first+n], s.tailNorms[stop][at+i])]
		for len(above) > 0 && stop < len(s.stops)-1 {
			from := stop
			stop = route.next[from]
			s.work.Extended += int64(len(above))
			s.work.ExtendedColumns += int64(len(above) * (s.stops[stop] - s.stops[from]))
			above = above[:s.kernel.Extend(above, scores, s.rows[first*stride+s.wordsTo(from):], stride, x[s.wordsTo(from):s.wordsTo(stop)],
				low, s.tails[stop][first:first+n], s.tailNorms[stop][at+i])]
		}
		for _, query := range drop(at+i, above) {
			s.left = append(s.left, newSurvivor(int(query), at+i))
		}
	}
	return s.left[before:]
}

// survivors yields the queries of the run that documents are left for, with the documents' numbers in the block, and forgets
// them. It looks at the bounds once more: later steps have raised them.
func (s *screen) survivors() iter.Seq2[int, []uint16] {
	return func(yield func(query int, documents []uint16) bool) {
		clear(s.ends)
		left := s.left[:0]
		for _, l := range s.left {
			if score := s.scores[l.document()*s.run.n+l.query()]; float32(score) >= s.low[s.run.first+l.query()] {
				left = append(left, l)
				s.ends[l.query()+1]++
			}
		}
		for i := range s.run.n {
			s.ends[i+1] += s.ends[i]
		}
		s.documents = grow(s.documents, len(left))
		for _, l := range left { // ends[i] goes from where those of query i begin to where they end
			s.documents[s.ends[l.query()]] = uint16(l.document())
			s.ends[l.query()]++
		}
		s.left = s.left[:0]
		begin := 0
		for i, end := range s.ends[:s.run.n] {
			if begin < end && !yield(s.run.first+i, s.documents[begin:end]) {
				return
			}
			begin = end
		}
	}
}

// score is the approximate score of a query of the run with a document of the block that is left for it.
func (s *screen) score(query, document int) float64 {
	return float64(s.scores[document*s.run.n+query-s.run.first]) / unitSquare
}

// best returns which of some documents of the block has the best score of all with a query of the run, and that score.
func (s *screen) best(query int, documents []uint16) (at int, score float32) {
	most := int32(math.MinInt32)
	for i, document := range documents {
		if score := s.scores[int(document)*s.run.n+query-s.run.first]; score > most {
			at, most = i, score
		}
	}
	return at, float32(most)
}

// wordsTo is how many words the columns before a stop take.
func (s *screen) wordsTo(stop int) int {
	if stop == len(s.stops)-1 {
		return s.panels.Columns
	}
	return kernel.Words(s.stops[stop])
}

// What a sample takes of a step, and how many runs of queries go by from one sample of a step to the next.
const (
	sampleDocuments = 4
	sampleQueries   = 64
	sampleEvery     = 8
)

// sample tells a route which share of some of a step's documents and queries is left at each stop. The step has n documents
// from number at on.
func (s *screen) sample(r *route, at, n int) {
	queries := min(sampleQueries, s.run.n)
	first := s.run.first + r.samples*queries%(s.run.n-queries+1)&^(kernel.PanelRows-1)
	documents := min(sampleDocuments, n)
	at += r.samples * documents % (n - documents + 1)
	scores, shares := make([]int32, documents*queries), make([]float64, len(s.stops))
	words := s.words[at*s.panels.Columns : (at+documents)*s.panels.Columns]
	for stop := range s.stops {
		s.kernel.Screen(scores, s.panels, first, queries, words, s.wordsTo(stop))
		for i := range documents {
			left := s.kernel.Above(s.above, scores[i*queries:(i+1)*queries], s.low[first:first+queries], s.tails[stop][first:first+queries], s.tailNorms[stop][at+i])
			shares[stop] += float64(left) / float64(documents*queries)
		}
	}
	r.learn(shares)
}
