package mine

import (
	"math"

	"github.com/quarry-hn/quarry/plugin/kernel"
)

// unitSquare is what a product of 1 is on the scale of the 16-bit products.
const unitSquare = kernel.Unit * kernel.Unit

// screenSlack bounds the screening error: how far what screening computes of two vectors of k values can lie below the canonical s of them, on the scale
// where unit vectors have products of at most 1.
//
// Let u = 2^-24, a and b be the exact unit vectors, and A and B what kernel.Scale makes of them, with the reciprocal of the norm. A value of A is off by a
// factor of at most 1+v, where v = u + 2^-39: one rounding to float32, and before it, in float64, a reciprocal, a product, and the
// canonical norm, whose error is at most (k/8+4) * 2^-53 <= 2^-39.9 for k <= 2^16; where it is denormal, by 2^-150. Then
//
//   - |A.B - a.b| <= (2v + v^2) * sum|a_i b_i| + k * 2^-149 <= 2.001u, since sum|a_i b_i| <= 1 (Cauchy-Schwarz);
//   - the canonical s, with its three sums and two roundings, is within 2^-38 < u/1000 of a.b.
//
// Of a prefix of the columns, kernel.Quantize makes whole numbers, off from Unit*A and Unit*B by at most 0.51 each: half, and the rounding of a product
// below 2^15 to float32. Their sum of products P is exact, and P/Unit^2 is off from the prefix of A.B by at most
//
//	e = 2 * h * sqrt(k) + h^2 * k, h = 0.51/Unit
//
// since the sum of |A_i| is at most sqrt(k) (1+3u), and 0.51 leaves room for the factor. The rest of A.B is at most |A'||B'|, the product of the tails' norms
// (Cauchy-Schwarz), which tailNorm rounds up; kernel.Refine computes it in float32 instead, off by at most g = k*u/(1-k*u) of the sum of
// magnitudes, which is at most 1+3u (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 3.1).
// The comparisons round P, floors, tails and sums to float32, each at most about 2 on this scale: six roundings, at most 12u.
//
// Together less than e + g + 15u.
func screenSlack(k int) float64 {
	const u, h = 0x1p-24, 0.51 / kernel.Unit
	ku := float64(float64(k) * u)
	e := float64(2*h*math.Sqrt(float64(k))) + float64(h*h*float64(k))
	return ku/(1-ku) + 15*u + e
}

// roundDown returns the largest float32 that is at most x, roundUp the least that is at least x.
func roundDown(x float64) float32 {
	f := float32(x)
	if float64(f) > x {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

func roundUp(x float64) float32 { return -roundDown(-x) }

// tailNorm is the norm of a vector's last columns, rounded up.
func tailNorm(x []float32) float32 { return roundUp(kernel.Norm(x) * (1 + 0x1p-40)) }

// prefix chooses how many columns to screen by: few let much through that must be scored, many take long themselves. It begins with all of them,
// and goes on to a neighbour as long as that costs less. Then it tries one now and then, since bounds rise while documents stream past. What it
// chooses never shows in a result.
type prefix struct {
	columns []int       // to choose from, ascending, all of them last
	tails   [][]float32 // for each, the queries' tail norms, packed
	cost    []float64   // of each, as last seen: multiply-adds for a query and document
	best    int
	now     int // in use
	step    int // to the neighbour that is tried next
	blocks  int
	try     int // the block to try it at, or after
}

const (
	scoreCost = 5000 // what refining a survivor takes, in multiply-adds of the kernel
	tryEvery  = 16   // blocks, at most
)

func newPrefix(unit []float32, k int) prefix {
	p := prefix{}
	for _, share := range []float64{0.08, 0.12, 0.2, 0.3, 0.4, 0.6} {
		if c := int(share*float64(k)) &^ 7; c >= 8 && (p.columns == nil || c > p.columns[len(p.columns)-1]) {
			p.columns = append(p.columns, c)
		}
	}
	p.columns = append(p.columns, k)
	for _, c := range p.columns {
		tails := make([]float32, kernel.PackedRows(len(unit)/k))
		for i := range len(unit) / k {
			tails[i] = kernel.Unit * tailNorm(unit[i*k+c:(i+1)*k])
		}
		p.tails = append(p.tails, tails)
	}
	p.cost = make([]float64, len(p.columns))
	return p
}

// restart begins anew, as for bounds that rule nothing out yet.
func (p *prefix) restart() {
	p.best, p.step, p.blocks, p.try = len(p.columns)-1, -1, 0, 1
}

// choose returns the number of columns for the next block, and the queries' tail norms beyond them.
func (p *prefix) choose() (columns int, tails []float32) {
	p.now = p.best
	if p.blocks >= p.try {
		if next := p.best + p.step; next < 0 || next >= len(p.columns) {
			p.step = -p.step
		}
		p.now = max(0, min(p.best+p.step, len(p.columns)-1))
	}
	p.blocks++
	return p.columns[p.now], p.tails[p.now]
}

// learn is told what the block came to.
func (p *prefix) learn(survivors, all int) {
	if all == 0 {
		return
	}
	p.cost[p.now] = float64(p.columns[p.now]) + scoreCost*float64(survivors)/float64(all)
	switch {
	case p.now == p.best:
	case p.cost[p.now] < p.cost[p.best]:
		p.best, p.try = p.now, p.blocks
	default:
		p.step, p.try = -p.step, p.blocks+min(tryEvery, p.blocks/4)
	}
}
