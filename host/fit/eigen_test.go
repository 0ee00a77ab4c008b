package fit

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/quarry-hn/quarry/host/matrix"
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
		"not quite close":   of(80, func(i int) float64 { return 1 - 1.5e-6*float64(i) }),
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
			machine, err := matrix.Plain(t.Context(), eigenBytes(n, Options{})+matrix.PanelBytes(n, n)+64, 1)
			if err != nil {
				t.Fatal(err)
			}
			full, own := make([]float64, n*n), make([]float64, n*n)
			for i := range n {
				for j := range n {
					full[i*n+j] = at(min(i, j), max(i, j))
					own[i*n+j] = full[i*n+j]
					if j < i {
						own[i*n+j] = math.NaN() // which nothing may read
					}
				}
			}
			s, err := newEigenRoom(machine, n, Options{}).newEigen(t.Context(), n, own, n)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, form, err)
			}
			checkOfTridiagonal(t, name+", "+form, s)
			v := machine.Panels(n, n)
			if err := s.vectors(t.Context(), v); err != nil {
				t.Fatal(err)
			}
			x := make([][]float64, n)
			for i := range x {
				x[i] = make([]float64, n)
				for r := range n {
					x[i][r] = float64(v.Data[v.Index(r, i)])
				}
			}
			checkVectors(t, name+", "+form, s.values, x, func(to, x []float64) {
				for i := range to {
					to[i] = floats.Dot(full[i*n:(i+1)*n], x)
				}
			}, 1e-6, 1e-6)
		}
	}
}

// checkOfTridiagonal checks the eigenvectors of T, by both ways to them.
func checkOfTridiagonal(t *testing.T, name string, s *eigen) {
	t.Helper()
	n := s.n
	inverse, dsteqr := make([][]float64, n), make([][]float64, n)
	ok, err := s.ofTridiagonal(t.Context(), n, func(i int, x []float64) { inverse[i] = slices.Clone(x) })
	if !ok || err != nil {
		t.Errorf("%s: it did not converge: %v", name, err)
	}
	if err := s.byDsteqr(n, func(i int, x []float64) { dsteqr[i] = slices.Clone(x) }); err != nil {
		t.Fatal(err)
	}
	times := func(to, x []float64) {
		for i := range to {
			to[i] = s.diagonal[i] * x[i]
			if i > 0 {
				to[i] += s.beside[i-1] * x[i-1]
			}
			if i < n-1 {
				to[i] += s.beside[i] * x[i+1]
			}
		}
	}
	checkVectors(t, name+", inverse iteration", s.shifts, inverse, times, 1e-13, 1e-10)
	checkVectors(t, name+", dsteqr", s.shifts, dsteqr, times, 1e-13, 1e-10)
}

// checkVectors checks that vectors belong to the values of a matrix, and are orthonormal. The residual is relative to the
// largest value times the rows.
func checkVectors(t *testing.T, name string, values []float64, vectors [][]float64, times func(to, x []float64), residual, orthonormal float64) {
	t.Helper()
	n := len(values)
	product := make([]float64, n)
	for i, x := range vectors {
		times(product, x)
		floats.AddScaled(product, -values[i], x)
		if r := floats.Norm(product, math.Inf(1)); r > residual*values[0]*float64(n) {
			t.Errorf("%s: the residual of vector %d is %v of %v", name, i, r, values[0])
		}
		for j := range i + 1 {
			along := floats.Dot(x, vectors[j])
			if j == i {
				along--
			}
			if math.Abs(along) > orthonormal {
				t.Errorf("%s: vectors %d and %d: %v", name, i, j, along)
			}
		}
	}
}
