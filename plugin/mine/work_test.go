package mine

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
)

// TestWork bounds what a scan of made vectors does for a (query, document) pair, by every rule: the columns that it reads,
// the survivors that go on, and the pairs that are scored. The vectors have the spectrum of real ones and lie in groups, as
// texts about one thing do. The bounds are a tenth above what was measured when they were set.
func TestWork(t *testing.T) {
	const width, documents, queries = 320, 4096, 128
	r := rand.New(rand.NewPCG(11, 11))
	centres := spectrum(r, 64, width, nil)
	x, q := spectrum(r, documents, width, centres), spectrum(r, queries, width, centres)
	pairs := Pairs{Width: width, Queries: q}
	for i := range queries {
		positive := nearest(q[i*width:(i+1)*width], x, width, 3) // three documents are nearer to the query
		pairs.Positives = append(pairs.Positives, x[positive*width:(positive+1)*width]...)
		pairs.PairQuery, pairs.PairPositive = append(pairs.PairQuery, int64(i)), append(pairs.PairPositive, int64(i))
		pairs.Exclude = append(pairs.Exclude, int64(positive))
		pairs.ExcludeOffsets = append(pairs.ExcludeOffsets, int64(i))
	}
	pairs.ExcludeOffsets = append(pairs.ExcludeOffsets, queries)
	for _, bound := range []struct {
		rule                                       string
		columns, extended, extendedColumns, scored float64
	}{
		{"dual", 35.9, 0.105, 5.11, 0.000646},
		{"topk", 114, 0.0359, 4, 0.00489},
		{"margin", 118, 0.054, 5.71, 0.00497},
		{"perc", 114, 0.049, 5.42, 0.00498},
		{"capped", 157, 0.074, 14.3, 0.00501},
	} {
		rule, err := NewRule(bound.rule, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewScanner(pairs, Options{Rule: rule, Top: 5}, kernel.Plain)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < documents; i += 256 {
			if _, err := s.Push(int64(i), x[i*width:(i+256)*width]); err != nil {
				t.Fatal(err)
			}
		}
		work := s.Work()
		if work.Pairs != documents*queries {
			t.Errorf("%s: %d pairs were screened, of %d", bound.rule, work.Pairs, documents*queries)
		}
		check := func(what string, n int64, bound float64) {
			t.Helper()
			if got := float64(n) / float64(work.Pairs); got > bound {
				t.Errorf("%s: %.4g a pair; the bound is %.4g", what, got, bound)
			}
		}
		check(bound.rule+", columns of the first pass", work.Columns, bound.columns)
		check(bound.rule+", survivors", work.Extended, bound.extended)
		check(bound.rule+", their columns", work.ExtendedColumns, bound.extendedColumns)
		check(bound.rule+", scored", work.Scored, bound.scored)
	}
}

// spectrum makes n vectors whose values fall from column to column as those of real vectors do after PCA, each around one of
// the centres where there are any.
func spectrum(r *rand.Rand, n, width int, centres []float32) []float32 {
	v := make([]float32, n*width)
	for i := range n {
		centre := r.IntN(max(1, len(centres)/width))
		for c := range width {
			v[i*width+c] = float32(r.NormFloat64() * math.Pow(float64(c+3), -0.6))
			if centres != nil {
				v[i*width+c] += centres[centre*width+c]
			}
		}
	}
	return v
}

// nearest is the row of x whose cosine with q is the greatest but for so many.
func nearest(q, x []float32, width, but int) (row int) {
	k := kernel.Plain
	scores := make([]float64, len(x)/width)
	for i := range scores {
		scores[i] = k.Dot(q, x[i*width:(i+1)*width]) / kernel.Norm(k, x[i*width:(i+1)*width])
	}
	for ; but >= 0; but-- {
		row = 0
		for i, s := range scores {
			if s > scores[row] {
				row = i
			}
		}
		scores[row] = math.Inf(-1)
	}
	return row
}
