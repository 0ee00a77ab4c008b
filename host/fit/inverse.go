package fit

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// shifted is T less a shift on its diagonal, factored by elimination with rows exchanged where that is more stable:
// upper has three diagonals.
type shifted struct {
	upper    [3][]float64
	factors  []float64
	exchange []bool
}

func newShifted(n int) *shifted {
	return &shifted{[3][]float64{make([]float64, n), make([]float64, n), make([]float64, n)}, make([]float64, n), make([]bool, n)}
}

// factor eliminates what is below the diagonal. A pivot of 0, which an exact shift brings about, becomes a tiny one.
func (t *shifted) factor(diagonal, beside []float64, shift float64) {
	n := len(diagonal)
	pivot, next := diagonal[0]-shift, 0.0 // the row at work: its pivot, and what is right of it
	if n > 1 {
		next = beside[0]
	}
	for i := range n - 1 {
		below, own, right := beside[i], diagonal[i+1]-shift, 0.0
		if i < n-2 {
			right = beside[i+1]
		}
		if t.exchange[i] = math.Abs(below) > math.Abs(pivot); t.exchange[i] {
			f := pivot / below
			t.factors[i], t.upper[0][i], t.upper[1][i], t.upper[2][i] = f, below, own, right
			pivot, next = next-float64(f*own), float64(-f*right)
			continue
		}
		if pivot == 0 {
			pivot = 0x1p-52
		}
		f := below / pivot
		t.factors[i], t.upper[0][i], t.upper[1][i], t.upper[2][i] = f, pivot, next, 0
		pivot, next = own-float64(f*next), right
	}
	if math.Abs(pivot) < 0x1p-52 {
		pivot = 0x1p-52
	}
	t.upper[0][n-1] = pivot
}

// solve overwrites x with the solution for x.
func (t *shifted) solve(x []float64) {
	n := len(x)
	for i := range n - 1 {
		if t.exchange[i] {
			x[i], x[i+1] = x[i+1], x[i]
		}
		x[i+1] -= float64(t.factors[i] * x[i])
	}
	for i := n - 1; i >= 0; i-- {
		sum := x[i]
		if i < n-1 {
			sum -= float64(t.upper[1][i] * x[i+1])
		}
		if i < n-2 {
			sum -= float64(t.upper[2][i] * x[i+2])
		}
		x[i] = sum / t.upper[0][i]
	}
}

// iterate makes x the eigenvector at the shift, but for a residual, and orthogonal to others, which are rows of len(x).
func (t *shifted) iterate(x, others []float64, residual float64) bool {
	n, extra := len(x), 2 // rounds after the residual is small
	floats.Scale(1/floats.Norm(x, 2), x)
	for range mostRounds {
		t.solve(x)
		// The residual of the next x is that of a unit vector over how much it grew, since it solves for one.
		grown := floats.Norm(x, 2)
		floats.Scale(1/grown, x)
		for range 2 {
			for at := 0; at < len(others); at += n {
				other := others[at : at+n]
				axpy(-dot(x, other), other, x)
			}
			length := floats.Norm(x, 2)
			if length == 0 {
				return false
			}
			grown *= length
			floats.Scale(1/length, x)
		}
		if 1/grown <= residual {
			if extra--; extra == 0 {
				return true
			}
		}
	}
	return false
}
