package mine

import (
	"math"
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
)

// TestPrefixIsFound tells the choice of columns how many survive made-up bounds. It finds the cheapest choice, wastes
// little on the way, follows when bounds rise, and begins anew.
func TestPrefixIsFound(t *testing.T) {
	const k, all = 640, 1_000_000
	unit := make([]float32, 3*k)
	for i := range unit {
		unit[i] = 0.01
	}
	p := newPrefix(kernel.Plain, unit, k)
	// cost is the cost of a block that is screened by c columns, which a share of exp(-c/scale) survives.
	cost := func(c int, scale float64) (survivors int, cost float64) {
		share := math.Exp(-float64(c) / scale)
		return int(share * all), float64(c) + scoreCost*share
	}
	run := func(blocks int, scale float64) (total float64) {
		for range blocks {
			c, tails := p.choose()
			if len(tails) != 16 {
				t.Fatalf("%d tails", len(tails))
			}
			survivors, took := cost(c, scale)
			p.learn(survivors, all)
			total += took
		}
		return total
	}
	least := func(scale float64) (columns int, cheapest float64) {
		cheapest = math.Inf(1)
		for _, c := range p.columns {
			if _, took := cost(c, scale); took < cheapest {
				columns, cheapest = c, took
			}
		}
		return columns, cheapest
	}
	for range 2 {
		p.restart()
		if c, _ := p.choose(); c != k {
			t.Errorf("it begins with %d columns", c)
		}
		p.restart()
		run(2, 1e9) // at first nothing is ruled out
		for _, scale := range []float64{90, 60, 30} {
			columns, cheapest := least(scale)
			total := run(64, scale)
			if got := p.columns[p.best]; got != columns {
				t.Errorf("scale %v: %d columns, expected %d", scale, got, columns)
			}
			if total > 1.5*64*cheapest {
				t.Errorf("scale %v: it cost %.0f a block, and %.0f would do", scale, total/64, cheapest)
			}
		}
	}
}

// TestPrefixOfFewColumns has two columns: there is nothing to choose from.
func TestPrefixOfFewColumns(t *testing.T) {
	p := newPrefix(kernel.Plain, []float32{0.6, 0.8}, 2)
	p.restart()
	for range 40 {
		if c, _ := p.choose(); c != 2 {
			t.Fatalf("%d columns of 2", c)
		}
		p.learn(1, 2)
		p.learn(0, 0)
	}
}
