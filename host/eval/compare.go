package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/quarry-hn/quarry/host/option"
)

// The defaults of a paired randomisation test.
const (
	DefaultPermutations = 10_000
	level               = 0.05 // of the test; the interval holds at 1 - level
	exactQueries        = 13   // with so many or fewer, all 2^n sign flips are fewer than the default, and all are tried
)

// Difference is how two runs differ in one metric.
type Difference struct {
	Metric     string
	Mean       float64    // of the queries' differences, first minus second
	Interval   [2]float64 // at 95 %; infinite where there are so few queries that no difference would be significant
	P          float64    // two-sided, of the hypothesis that the runs are the same
	Exact      bool       // all sign flips were tried
	FirstWins  int        // queries where the first is better
	SecondWins int
}

// Compare is a paired randomisation test (Fisher's sign-flipping test; Smucker, Allan and Carterette, 2007) of two results on the same judgements
// and metrics. P is the share of sign flips of the queries' differences whose mean is at least as far from 0 as the mean that was seen; the
// arrangement seen is one of them. With up to 13 queries all flips are tried, with more so many as permutations says, drawn by seed. The
// interval holds every difference that the same test, with the same flips, would not reject at 5 %: 0 lies outside where P is at most 0.05.
func Compare(a, b *Result, permutations int, seed uint64) ([]Difference, error) {
	if permutations < 1 {
		return nil, fmt.Errorf("%w: %d permutations; it is 1 or more", option.ErrOption, permutations)
	}
	if !slices.Equal(a.Queries, b.Queries) || !slices.Equal(a.Metrics, b.Metrics) {
		return nil, fmt.Errorf("%w: the results are of other judgements, or of other metrics", option.ErrOption)
	}
	differences := make([]Difference, len(a.Metrics))
	for m, name := range a.Metrics {
		d := make([]float64, len(a.Queries))
		for i := range d {
			d[i] = a.Values[m][i] - b.Values[m][i]
		}
		differences[m] = paired(d, permutations, rand.New(rand.NewPCG(seed, uint64(m))))
		differences[m].Metric = name
	}
	return differences, nil
}

// paired tests the differences of one metric.
//
// A flip splits the queries in two: those that keep their sign and those that lose it. It rejects a difference x exactly where x does not lie
// between the means of the two halves. (With S the sum of all n differences, A their flipped sum and B the sum of the signs,
// |A - xB| >= |S - xn| holds between (S - A) / (n - B) and (S + A) / (n + B), which are those means: Hartigan, 1969.) So the ends of the
// interval are quantiles of the lower and of the upper means, and one set of flips serves the interval and P.
func paired(d []float64, permutations int, random *rand.Rand) Difference {
	sum, size := 0.0, 0.0
	result := Difference{Mean: mean(d), Exact: len(d) <= exactQueries}
	for _, v := range d {
		sum, size = sum+v, size+math.Abs(v)
		if v > 0 {
			result.FirstWins++
		} else if v < 0 {
			result.SecondWins++
		}
	}
	flips := permutations + 1
	if result.Exact {
		flips = 1 << len(d)
	}
	lower, upper := make([]float64, flips), make([]float64, flips)
	asFar, slack := 0, 1e-12*size // sums in another order differ in the last bits
	for f := range flips {
		kept, n := 0.0, 0
		var signs uint64
		for i, v := range d {
			switch {
			case f == 0: // the arrangement seen
				signs = 1
			case result.Exact:
				signs = uint64(^f >> i)
			case i%64 == 0:
				signs = random.Uint64()
			default:
				signs >>= 1
			}
			// Without a branch, which could not be foreseen.
			one := int(signs & 1)
			n += one
			kept += v * float64(one)
		}
		lost := sum - kept
		if math.Abs(kept-lost) >= math.Abs(sum)-slack {
			asFar++
		}
		lower[f], upper[f] = math.Inf(-1), math.Inf(1)
		if n > 0 && n < len(d) {
			x, y := kept/float64(n), lost/float64(len(d)-n)
			lower[f], upper[f] = min(x, y), max(x, y)
		}
	}
	slices.Sort(lower)
	slices.Sort(upper)
	rejected := int(level * float64(flips))
	result.P = float64(asFar) / float64(flips)
	result.Interval = [2]float64{lower[rejected], upper[flips-1-rejected]}
	return result
}
