package fit

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
	lapack "gonum.org/v1/gonum/lapack/gonum"
)

// A fit wants the vectors of the largest eigenvalues alone, some 40 of 100. So the matrix is made tridiagonal, as
// LAPACK's dsyev does it, and only those vectors are computed, by inverse iteration (Golub and Van Loan, Matrix
// Computations, 8.2.2 and 8.4). dsyev spends three quarters of its time on rotations for all of them.

// decomposition is a symmetric matrix as Q T Q^T, T being tridiagonal and Q orthonormal, with the eigenvalues.
type decomposition struct {
	n        int
	values   []float64 // descending; by rounding, some may be below 0
	q        []float64 // n x n, stride apart
	stride   int
	diagonal []float64 // of T over norm: n
	beside   []float64 // of T over norm: n-1
	norm     float64   // the largest of T's absolute row sums; 0 for the zero matrix
}

// decompose makes a symmetric matrix of n rows tridiagonal, and computes its eigenvalues. It calls at(i, j) for j >= i
// alone.
func decompose(n int, at func(i, j int) float64) (*decomposition, error) {
	s := &decomposition{n: n, stride: n + 8} // see eigen
	s.q, s.diagonal, s.beside = make([]float64, n*s.stride), make([]float64, n), make([]float64, max(n-1, 0))
	for i := range n {
		for j := i; j < n; j++ {
			s.q[i*s.stride+j] = at(i, j)
		}
	}
	var impl lapack.Implementation
	tau, work := make([]float64, max(n-1, 1)), make([]float64, 1)
	impl.Dsytrd(blas.Upper, n, s.q, s.stride, s.diagonal, s.beside, tau, work, -1)
	work = make([]float64, int(work[0]))
	impl.Dsytrd(blas.Upper, n, s.q, s.stride, s.diagonal, s.beside, tau, work, len(work))
	impl.Dorgtr(blas.Upper, n, s.q, s.stride, tau, work[:1], -1)
	work = make([]float64, max(int(work[0]), len(work)))
	impl.Dorgtr(blas.Upper, n, s.q, s.stride, tau, work, len(work))

	s.values = slices.Clone(s.diagonal)
	if !impl.Dsterf(n, s.values, slices.Clone(s.beside)) {
		return nil, errNoConvergence
	}
	slices.Reverse(s.values)
	for i := range n {
		sum := math.Abs(s.diagonal[i])
		if i > 0 {
			sum += math.Abs(s.beside[i-1])
		}
		if i < n-1 {
			sum += math.Abs(s.beside[i])
		}
		s.norm = max(s.norm, sum)
	}
	if s.norm > 0 {
		floats.Scale(1/s.norm, s.diagonal)
		floats.Scale(1/s.norm, s.beside)
	}
	return s, nil
}

// What inverse iteration goes by, relative to the norm.
const (
	closeValues   = 1e-5         // of values that are closer, the vectors are made orthogonal; of others they are, to 1e-11
	leastDistance = 0x1p-52 * 10 // between the shifts of equal values
	converged     = 0x1p-52 * 64 // residual
	mostRounds    = 8
)

// vectors returns the eigenvectors of the m largest values, one a row, n apart. It reports false where inverse iteration
// does not converge, which no matrix is known to bring about.
func (s *decomposition) vectors(m int) (v []float64, ok bool) {
	v = make([]float64, m*s.n)
	random := rand.New(rand.NewPCG(1, 1))
	shifted := newShifted(s.n)
	shift := math.Inf(1)
	first := 0 // of the values that are close to this one and to one another
	for i := range m {
		value := s.values[i] / max(s.norm, math.SmallestNonzeroFloat64)
		if i > 0 && s.values[i-1]-s.values[i] > closeValues*s.norm {
			first = i
		}
		shift = min(value, shift-leastDistance)
		shifted.factor(s.diagonal, s.beside, shift)
		x := v[i*s.n : (i+1)*s.n]
		for j := range x {
			x[j] = random.NormFloat64()
		}
		if !shifted.iterate(x, v[first*s.n:i*s.n], converged+2*(value-shift)) {
			return nil, false
		}
	}
	// The rows become those of Q T Q^T, a few at a time, in their own place.
	const batch = 64
	buffer := make([]float64, min(batch, m)*s.n)
	q := blas64.General{Rows: s.n, Cols: s.n, Stride: s.stride, Data: s.q}
	for first := 0; first < m; first += batch {
		rows := min(batch, m-first)
		of := blas64.General{Rows: rows, Cols: s.n, Stride: s.n, Data: v[first*s.n : (first+rows)*s.n]}
		to := blas64.General{Rows: rows, Cols: s.n, Stride: s.n, Data: buffer}
		blas64.Gemm(blas.NoTrans, blas.Trans, 1, of, q, 0, to)
		copy(of.Data, buffer)
	}
	return v, true
}

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
				floats.AddScaled(x, -floats.Dot(x, other), other)
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
