package fit

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/floats"
)

// rotated is a matrix with those eigenvalues, in a basis made of random reflections.
func rotated(values []float64) [][]float64 {
	n, r := len(values), rand.New(rand.NewPCG(uint64(len(values)), 7))
	a := make([][]float64, n)
	for i := range a {
		a[i] = make([]float64, n)
		a[i][i] = values[i]
	}
	for range 3 {
		v := make([]float64, n)
		for i := range v {
			v[i] = r.NormFloat64()
		}
		floats.Scale(1/floats.Norm(v, 2), v)
		reflect := func(x []float64) { floats.AddScaled(x, -2*floats.Dot(x, v), v) }
		for i := range a {
			reflect(a[i])
		}
		for j := range n { // the columns, which are the rows of the symmetric matrix
			column := make([]float64, n)
			for i := range n {
				column[i] = a[i][j]
			}
			reflect(column)
			for i := range n {
				a[i][j] = column[i]
			}
		}
	}
	for i := range a {
		for j := range i {
			a[i][j] = a[j][i]
		}
	}
	return a
}

// TestLargestVectors computes the vectors of hard spectra, and has dsyev compute them: they belong to the values, and
// are orthonormal, as well as rounding allows.
func TestLargestVectors(t *testing.T) {
	of := func(n int, value func(i int) float64) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = value(i)
		}
		return v
	}
	for name, values := range map[string][]float64{
		"one":               {3},
		"two":               {3, 1},
		"equal":             of(60, func(int) float64 { return 2 }),
		"two values":        of(60, func(i int) float64 { return float64(1 + i%2) }),
		"low rank":          of(70, func(i int) float64 { return float64(max(0, 5-i)) }),
		"decaying":          of(90, func(i int) float64 { return math.Pow(0.7, float64(i)) }),
		"slowly decaying":   of(90, func(i int) float64 { return 1 / float64(1+i) }),
		"close pairs":       of(80, func(i int) float64 { return float64(40-i/2) + 1e-13*float64(i%2) }),
		"a cluster":         of(80, func(i int) float64 { return 1 + 1e-9*float64(i) }),
		"graded":            of(60, func(i int) float64 { return math.Pow(10, -float64(i)/4) }),
		"large":             of(40, func(i int) float64 { return 1e30 / float64(1+i) }),
		"small":             of(40, func(i int) float64 { return 1e-30 / float64(1+i) }),
		"one large, noise":  of(50, func(i int) float64 { return math.Pow(1e-14, min(float64(i), 1)) }),
		"equal in clusters": of(96, func(i int) float64 { return float64(1 + i/24) }),
	} {
		for form, a := range map[string][][]float64{"rotated": rotated(values), "diagonal": nil} {
			n := len(values)
			at := func(i, j int) float64 {
				switch {
				case a != nil:
					return a[i][j]
				case i == j:
					return values[i]
				}
				return 0
			}
			s, err := newEigen(n, at)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, form, err)
			}
			if _, ok := s.ofTridiagonal(n); !ok {
				t.Errorf("%s, %s: it did not converge", name, form)
			}
			v, err := s.vectors(n)
			if err != nil {
				t.Fatal(err)
			}
			dsyev, err := s.byDsyev()
			if err != nil {
				t.Fatal(err)
			}
			norm := s.values[0]
			for i := range n {
				x := v[i*n : (i+1)*n]
				for by, x := range map[string][]float64{"inverse iteration": x, "dsyev": dsyev[i*n : (i+1)*n]} {
					residual := 0.0
					for r := range n {
						sum := -s.values[i] * x[r]
						for c := range n {
							sum += at(min(r, c), max(r, c)) * x[c]
						}
						residual = max(residual, math.Abs(sum))
					}
					if residual > 1e-13*norm*float64(n) {
						t.Errorf("%s, %s: the residual of vector %d by %s is %v of %v", name, form, i, by, residual, norm)
					}
				}
				for j := range i + 1 {
					dot := floats.Dot(x, v[j*n:(j+1)*n])
					if j == i {
						dot--
					}
					if math.Abs(dot) > 1e-10 {
						t.Errorf("%s, %s: vectors %d and %d: %v", name, form, i, j, dot)
					}
				}
			}
		}
	}
}
