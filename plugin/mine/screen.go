package mine

import (
	"math"

	"github.com/quarry-hn/quarry/plugin/kernel"
)

// unitSquare is the product of two unit values on the scale of the 16-bit products.
const unitSquare = kernel.Unit * kernel.Unit

// screenSlack bounds the screening error of two vectors of k values: how far the approximate score can lie below the
// canonical s. The scale is that on which unit vectors have products of at most 1.
//
// Let u = 2^-24. Let a and b be the exact unit vectors, and let A and B be what Scale makes of them with the reciprocal
// of the norm. A value of A is off by a factor of at most 1+v, where v = u + 2^-39. This counts one rounding to
// float32, and before it, in float64, a reciprocal, a product, and the canonical norm, whose error is at most (k/8+4) *
// 2^-53 <= 2^-39.9 for k <= 2^16. A value of A that is denormal is off by at most 2^-150. Then
//
//   - |A.B - a.b| <= (2v + v^2) * sum|a_i b_i| + k * 2^-149 <= 2.001u, since sum|a_i b_i| <= 1 (Cauchy-Schwarz);
//   - the canonical s, with its three sums and two roundings, is within 2^-38 < u/1000 of a.b.
//
// Quantize makes whole numbers of a prefix of the columns. Each is off from Unit*A or Unit*B by at most 0.51: a half,
// and the rounding of a product below 2^15 to float32. The sum P of their products is exact, and P/Unit^2 is off from
// the prefix of A.B by at most
//
//	e = 2 * h * sqrt(k) + h^2 * k, h = 0.51/Unit
//
// since the sum of |A_i| is at most sqrt(k) (1+3u), and 0.51 leaves room for that factor.
//
// The rest of A.B is at most |A'||B'|, the product of the norms of the tails (Cauchy-Schwarz). tailNorm rounds these
// norms up. Refine computes the rest in float32 instead. It is off by at most g = k*u/(1-k*u) of the sum of the
// magnitudes, and that sum is at most 1+3u (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 3.1).
//
// The comparisons round P, floors, tails and sums to float32, each of which is at most about 2 on this scale. These are
// six roundings, at most 12u together.
//
// All of this is less than e + g + 15u.
func screenSlack(k int) float64 {
	const u, h = 0x1p-24, 0.51 / kernel.Unit
	ku := float64(float64(k) * u)
	e := float64(2*h*math.Sqrt(float64(k))) + float64(h*h*float64(k))
	return ku/(1-ku) + 15*u + e
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

// tailNorm is the norm of a vector's last columns, rounded up.
func tailNorm(k kernel.Kernel, x []float32) float32 {
	return roundUp(kernel.Norm(k, x) * (1 + 0x1p-40))
}

// prefix chooses how many columns to screen by. Few columns are cheap but leave many candidates; many cost more and
// leave few. It begins with all columns and moves to a neighbouring choice as long as that costs less. Later it tries a
// neighbour now and then, since bounds rise while documents stream past. The choice never shows in a result.
type prefix struct {
	columns []int       // the choices: numbers of columns, ascending; the last is all columns
	tails   [][]float32 // for each choice, the norms of the queries' remaining columns, as many as queries once packed
	cost    []float64   // of each choice, as last seen: multiply-adds for a query and a document
	best    int
	now     int // the choice of the current block
	step    int // from best to the neighbour that is tried next: 1 or -1
	blocks  int
	try     int // from this block on, the neighbour is tried
}

const (
	scoreCost = 5000 // refining and scoring a survivor takes as long as so many multiply-adds of the first pass
	tryEvery  = 16   // blocks between two tries, at most
)

// newPrefix returns the choices for queries of those unit vectors, of width values each.
func newPrefix(k kernel.Kernel, unit []float32, width int) prefix {
	p := prefix{}
	for _, share := range []float64{0.08, 0.12, 0.2, 0.3, 0.4, 0.6} {
		if c := int(share*float64(width)) &^ 7; c >= 8 && (p.columns == nil || c > p.columns[len(p.columns)-1]) {
			p.columns = append(p.columns, c)
		}
	}
	p.columns = append(p.columns, width)
	for _, c := range p.columns {
		tails := make([]float32, kernel.PackedRows(len(unit)/width))
		for i := range len(unit) / width {
			tails[i] = kernel.Unit * tailNorm(k, unit[i*width+c:(i+1)*width])
		}
		p.tails = append(p.tails, tails)
	}
	p.cost = make([]float64, len(p.columns))
	return p
}

// restart begins with all columns again: the bounds rule nothing out yet.
func (p *prefix) restart() {
	p.best, p.step, p.blocks, p.try = len(p.columns)-1, -1, 0, 1
}

// choose returns the number of columns for the next block, and the norms of the queries' remaining columns.
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

// learn takes what came of the block: how many of all its (query, document) pairs survived the first pass.
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
