package train

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestIntervalsCover simulates comparisons whose true gain is known: seeds that differ, components of one to four queries that go
// together, and noise. Each seed tests a quarter of the components, as Cut chooses them anew.
func TestIntervalsCover(t *testing.T) {
	if testing.Short() {
		t.Skip("it simulates thousands of runs")
	}
	t.Parallel()
	const gain, rounds = 0.02, 1500
	for _, row := range []struct {
		name                   string
		seeds, components      int
		ofSeed, ofQueries, own float64 // standard deviations
		least, most            float64 // shares of intervals that cover
	}{
		{"three seeds that agree", 3, 400, 0, 0.1, 0.2, 0.945, 0.98},
		{"three seeds that differ somewhat", 3, 400, 0.01, 0.1, 0.2, 0.945, 0.98},
		{"three seeds, queries decide", 3, 400, 0.002, 0.3, 0.05, 0.945, 0.98},
		{"three seeds, seeds decide", 3, 400, 0.05, 0.1, 0.2, 0.90, 0.98},
		{"eight seeds that differ", 8, 400, 0.02, 0.1, 0.2, 0.935, 0.98},
		{"one seed, which is all there is", 1, 400, 0, 0.1, 0.2, 0.935, 0.965},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && row.seeds > 3 {
				t.Skip("a sample of the table")
			}
			random := rand.New(rand.NewPCG(1, 2))
			covered := 0
			for range rounds {
				if i := estimate(simulate(random, row.seeds, row.components, gain, row.ofSeed, row.ofQueries, row.own)); *i.Low <= gain && gain <= *i.High {
					covered++
				}
			}
			rate := float64(covered) / rounds
			t.Logf("%.1f %% cover", 100*rate)
			if rate < row.least || rate > row.most {
				t.Errorf("%.1f %% of the intervals cover the gain; want %.1f to %.1f %%", 100*rate, 100*row.least, 100*row.most)
			}
		})
	}
}

func simulate(random *rand.Rand, seeds, components int, gain, ofSeed, ofQueries, own float64) (all []observation) {
	effects := make([]float64, components)
	for c := range effects {
		effects[c] = ofQueries * random.NormFloat64()
	}
	for s := range seeds {
		effect := ofSeed * random.NormFloat64()
		for _, c := range random.Perm(components)[:components/4] {
			for range 1 + c%4 {
				all = append(all, observation{s, c, gain + effect + effects[c] + own*random.NormFloat64()})
			}
		}
	}
	return all
}

func TestEstimate(t *testing.T) {
	t.Parallel()
	// Four components of one query under one seed: the interval of a mean of four values. t(0.975, 3) = 3.18245; the standard error is
	// sqrt(5/3)/2.
	var some []observation
	for i := range 4 {
		some = append(some, observation{0, i, float64(i + 1)})
	}
	i := estimate(some)
	half := 3.182446305 * math.Sqrt(5.0/3) / 2
	if i.Mean != 2.5 || math.Abs(*i.High-2.5-half) > 1e-6 || math.Abs(2.5-*i.Low-half) > 1e-6 {
		t.Errorf("%+v; want 2.5 +- %v", i, half)
	}
	// p of t = 2.5/0.645497 = 3.873 with 3 degrees of freedom, by SciPy 1.17.1.
	if math.Abs(i.p-0.030466) > 1e-5 {
		t.Errorf("p is %v", i.p)
	}
	for name, none := range map[string][]observation{"nothing": nil, "one": {{0, 0, 1}}, "one component": {{0, 0, 1}, {0, 0, 2}}} {
		if i := estimate(none); i.p != 1 || i.Low != nil || i.High != nil {
			t.Errorf("%s gives %+v; there is no interval", name, i)
		}
	}
	if i := estimate([]observation{{0, 0, 0}, {0, 1, 0}, {1, 0, 0}, {1, 2, 0}}); i.p != 1 || *i.Low != 0 || *i.High != 0 {
		t.Errorf("no difference gives %+v", i)
	}
}

func TestHolm(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ p, want []float64 }{
		{nil, []float64{}},
		{[]float64{0.03}, []float64{0.03}},
		// Holm's steps: 0.005*4, then 0.01*3, then max(0.03, 0.03*2), then max(0.06, 0.04).
		{[]float64{0.01, 0.04, 0.03, 0.005}, []float64{0.03, 0.06, 0.06, 0.02}},
		{[]float64{0.5, 0.6, 1}, []float64{1, 1, 1}},
		{[]float64{0.02, 0.02}, []float64{0.04, 0.04}},
	} {
		got := Holm(row.p)
		for i := range row.want {
			if math.Abs(got[i]-row.want[i]) > 1e-15 {
				t.Errorf("Holm(%v) is %v; want %v", row.p, got, row.want)
			}
		}
	}
}
