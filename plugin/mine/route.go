package mine

// route chooses the stops of screening: where the first pass ends, and from which stop to which the survivors go. Few
// columns are cheap and leave many survivors; many cost more and leave few. Samples say how many are left at each stop,
// and the route with the least work by these shares is taken. It never shows in a result.
type route struct {
	stops []int
	first int   // the stop of the first pass
	next  []int // of each stop: the one that its survivors go to

	shares  []float64 // of each stop: the share of (query, document) pairs that the bound there leaves
	blocks  int
	samples int
}

// What work costs, in columns of the first pass, for a (query, document) pair: to take up a survivor, and to read a column of it.
const (
	takeCost   = 250
	columnCost = 3
)

func newRoute(stops []int) route {
	return route{stops: stops, next: make([]int, len(stops)), shares: make([]float64, len(stops))}
}

// restart begins anew: the bounds rule nothing out yet.
func (r *route) restart() { r.blocks, r.samples = 0, 0 }

// due counts a block, and reports whether it is one to sample: each of the first, and then one in every, since bounds rise
// while documents stream past.
func (r *route) due(every int) bool {
	block := r.blocks
	r.blocks++
	return block < 4 || block%every == 0
}

// learn takes the shares that a sample has at each stop, and chooses the route.
func (r *route) learn(shares []float64) {
	weight := 0.5
	if r.samples < 2 { // nothing is ruled out before the first block
		weight = 1
	}
	r.samples++
	for i, share := range shares {
		r.shares[i] += float64(weight * (share - r.shares[i]))
	}
	r.choose()
}

// choose finds the route of least work, from the last stop back: rest[i] is what the survivors of stop i will cost.
func (r *route) choose() {
	last := len(r.stops) - 1
	rest := make([]float64, len(r.stops))
	r.first = last
	least := float64(r.stops[last])
	for i := last - 1; i >= 0; i-- {
		for j := i + 1; j <= last; j++ {
			cost := float64(r.shares[i]*float64(takeCost+columnCost*(r.stops[j]-r.stops[i]))) + rest[j]
			if j == i+1 || cost < rest[i] {
				rest[i], r.next[i] = cost, j
			}
		}
		if all := float64(r.stops[i]) + rest[i]; all < least {
			least, r.first = all, i
		}
	}
}
