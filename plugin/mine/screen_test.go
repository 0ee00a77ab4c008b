package mine

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
)

// TestScreenRulesNothingOutThatIsWanted screens documents whose canonical score is the bound itself, at each stop, by the
// first pass and by what follows it: none is ruled out, and with all columns the score is not above the upper bound
// either. Values go to the limits of float32.
func TestScreenRulesNothingOutThatIsWanted(t *testing.T) {
	r, k := rand.New(rand.NewPCG(5, 5)), kernel.Plain
	rounds := 1500
	if testing.Short() {
		rounds = 300
	}
	for range rounds {
		width := 1 + r.IntN(900)
		q, x := extremes(r, width)
		nq, nx := kernel.Norm(k, q), kernel.Norm(k, x)
		s := k.Dot(q, x) / (nq * nx)
		screen := newScreen(k, q, []float64{nq}, width)
		screen.bound(0, s, s)
		screen.load(x, []float64{nx})
		for stop := range screen.stops {
			route := &screen.routes[0]
			route.first, route.blocks = stop, 5 // a block that is not sampled
			for i := range route.next {
				route.next[i] = min(i+1+r.IntN(3), len(screen.stops)-1)
			}
			screen.begin(0)
			if left := screen.step(0, []float64{nx}, func(_ int, queries []int32) []int32 { return queries }); len(left) != 1 || left[0] != 0 {
				t.Fatalf("width %d, first pass of %d columns: s %v was ruled out", width, screen.stops[stop], s)
			}
			if score := float32(screen.scores[0]); score > screen.high[0] {
				t.Fatalf("width %d: approximate score %v of s %v is above %v", width, score/unitSquare, s, screen.high[0]/unitSquare)
			}
		}
		if off := math.Abs(float64(screen.scores[0])/unitSquare - s); off > screenSlack(width) {
			t.Fatalf("width %d: the approximate score is off %v by %v; the bound is %v", width, s, off, screenSlack(width))
		}
	}
}

// extremes makes two vectors: alike, opposite, orthogonal or neither; with values of all magnitudes, near the greatest and
// the least of float32, spread over all columns or in a few.
func extremes(r *rand.Rand, width int) (a, b []float32) {
	a, b = make([]float32, width), make([]float32, width)
	scale := []float64{1, 0x1p127 / math.Sqrt(float64(width)), 0x1p-120, 0x1p-140}[r.IntN(4)]
	spread := []float64{0, 2, 30}[r.IntN(3)]
	noise := []float64{0, 1e-6, 0.1, 10}[r.IntN(4)]
	sign := float64(1 - 2*r.IntN(2))
	for i := range a {
		v := r.NormFloat64() / 8 * math.Exp2(-spread*r.Float64())
		a[i], b[i] = float32(scale*v), float32(scale*(sign*v+noise/8*r.NormFloat64())/(1+noise))
	}
	a[r.IntN(width)], b[r.IntN(width)] = float32(scale), float32(-sign*scale) // neither is zero
	return a, b
}

func TestStops(t *testing.T) {
	for k := 1; k < 3000; k++ {
		stops := stopsOf(k)
		if len(stops) != Stops(k) || stops[len(stops)-1] != k {
			t.Fatalf("%d columns: stops %v", k, stops)
		}
		for i, stop := range stops[:len(stops)-1] {
			if stop%8 != 0 || stop >= stops[i+1] {
				t.Fatalf("%d columns: stops %v", k, stops)
			}
		}
	}
	if got := Stops(1 << 16); got > 24 {
		t.Errorf("65,536 columns have %d stops", got)
	}
}

// TestRouteIsTheCheapest holds the route against all others.
func TestRouteIsTheCheapest(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 300 {
		route := newRoute(stopsOf([]int{20, 40, 100, 200, 600}[r.IntN(5)]))
		last := len(route.stops) - 1
		shares, share := make([]float64, last+1), 1.0
		for i := range shares {
			share *= math.Pow(r.Float64(), []float64{0.02, 1, 3}[r.IntN(3)])
			shares[i] = share
		}
		route.learn(shares)
		cost := float64(route.stops[route.first])
		for i := route.first; i < last; i = route.next[i] {
			cost += shares[i] * (takeCost + columnCost*float64(route.stops[route.next[i]]-route.stops[i]))
		}
		least := math.Inf(1)
		for set := range 1 << last { // of stops on the way to the last
			first, total := last, 0.0
			for i, before := last-1, last; i >= 0; i-- {
				if set>>i&1 == 1 {
					total += shares[i] * (takeCost + columnCost*float64(route.stops[before]-route.stops[i]))
					first, before = i, i
				}
			}
			least = min(least, total+float64(route.stops[first]))
		}
		if cost > least*(1+1e-12) {
			t.Fatalf("shares %.3f at %v: the route from %d by %v costs %.1f, and %.1f would do", shares, route.stops, route.first, route.next, cost, least)
		}
	}
}

// TestRouteFollows has nothing ruled out at first, then much, and more and more; then it begins anew.
func TestRouteFollows(t *testing.T) {
	route := newRoute(stopsOf(640))
	for range 2 {
		route.restart()
		for block := range 100 {
			if !route.due(8) {
				continue
			}
			shares := make([]float64, len(route.stops))
			for i, c := range route.stops {
				if shares[i] = 1; block > 0 {
					shares[i] = math.Exp(-float64(c) * (0.01 + float64(block)/2000))
				}
			}
			route.learn(shares)
			if first := route.stops[route.first]; block == 0 && first != 640 || block >= 4 && first > 192 || block >= 96 && first > 64 {
				t.Fatalf("block %d: the first pass ends at column %d", block, first)
			}
		}
		if route.samples < 10 || route.samples > 30 {
			t.Errorf("%d samples of 100 blocks", route.samples)
		}
	}
}
