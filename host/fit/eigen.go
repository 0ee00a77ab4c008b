package fit

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/lapack"
	lapackgo "gonum.org/v1/gonum/lapack/gonum"
	"gonum.org/v1/gonum/lapack/lapack64"
)

// A fit wants the vectors of the largest eigenvalues alone, some 40 of 100. So the matrix is made tridiagonal, as
// LAPACK's dsyev does it, and only those vectors are computed, by inverse iteration (Golub and Van Loan, Matrix
// Computations, 8.2.2 and 8.4). dsyev spends three quarters of its time on rotations for all of them.

// eigen is a symmetric matrix as Q T Q^T, T being tridiagonal and Q orthonormal, with the eigenvalues.
type eigen struct {
	n        int
	at       func(i, j int) float64 // the matrix, for j >= i
	values   []float64              // descending; none is below 0
	shifts   []float64              // the same over norm, as they are computed
	q        []float64              // n x n, stride apart: Q as reflections, until it is made
	tau      []float64              // of these reflections; nil once Q is made
	stride   int
	diagonal []float64 // of T over norm: n
	beside   []float64 // of T over norm: n-1
	norm     float64   // the largest of T's absolute row sums; 1 for the zero matrix
}

var errNoConvergence = errors.New("the eigenvalues of the covariance did not converge")

// newEigen makes a symmetric matrix of n rows tridiagonal, and computes its eigenvalues. It calls at(i, j) for j >= i
// alone.
func newEigen(n int, at func(i, j int) float64) (*eigen, error) {
	s := &eigen{n: n, at: at, diagonal: make([]float64, n), beside: make([]float64, max(n-1, 0)), tau: make([]float64, max(n-1, 1))}
	s.q, s.stride = symmetric(n, at)
	var impl lapackgo.Implementation
	work := make([]float64, 1)
	impl.Dsytrd(blas.Upper, n, s.q, s.stride, s.diagonal, s.beside, s.tau, work, -1)
	work = make([]float64, int(work[0]))
	impl.Dsytrd(blas.Upper, n, s.q, s.stride, s.diagonal, s.beside, s.tau, work, len(work))
	s.shifts = slices.Clone(s.diagonal)
	if !impl.Dsterf(n, s.shifts, slices.Clone(s.beside)) {
		return nil, errNoConvergence
	}
	slices.Reverse(s.shifts)
	s.values = slices.Clone(s.shifts)
	for i, v := range s.values {
		s.values[i] = max(v, 0)
	}
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
	if s.norm == 0 {
		s.norm = 1
	}
	for _, v := range [][]float64{s.diagonal, s.beside, s.shifts} {
		floats.Scale(1/s.norm, v)
	}
	return s, nil
}

// symmetric is the upper triangle of a matrix of n rows, stride apart.
func symmetric(n int, at func(i, j int) float64) (a []float64, stride int) {
	// A stride that is a power of two has every row of a column in the same few cache lines.
	stride = n + 8
	a = make([]float64, n*stride)
	for i := range n {
		for j := i; j < n; j++ {
			a[i*stride+j] = at(i, j)
		}
	}
	return a, stride
}

// vectors returns the eigenvectors of the m largest values, one a row, n apart. Where inverse iteration does not
// converge, which no matrix is known to bring about, they are dsyev's.
func (s *eigen) vectors(m int) ([]float64, error) {
	v, ok := s.ofTridiagonal(m)
	if !ok {
		return s.byDsyev()
	}
	s.makeQ()
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
	return v, nil
}

// makeQ makes Q of its reflections.
func (s *eigen) makeQ() {
	if s.tau == nil {
		return
	}
	var impl lapackgo.Implementation
	work := make([]float64, 1)
	impl.Dorgtr(blas.Upper, s.n, s.q, s.stride, s.tau, work, -1)
	work = make([]float64, int(work[0]))
	impl.Dorgtr(blas.Upper, s.n, s.q, s.stride, s.tau, work, len(work))
	s.tau = nil
}

// byDsyev are all eigenvectors by LAPACK's dsyev, one a row.
func (s *eigen) byDsyev() ([]float64, error) {
	n := s.n
	data, stride := symmetric(n, s.at)
	a := blas64.Symmetric{N: n, Stride: stride, Uplo: blas.Upper, Data: data}
	values, work := make([]float64, n), make([]float64, 1)
	lapack64.Syev(lapack.EVCompute, a, values, work, -1)
	work = make([]float64, int(work[0]))
	if !lapack64.Syev(lapack.EVCompute, a, values, work, len(work)) {
		return nil, errNoConvergence
	}
	rows := make([]float64, n*n)
	for i := range n {
		for j := range n { // of ascending values
			rows[(n-1-j)*n+i] = data[i*stride+j]
		}
	}
	return rows, nil
}

// What inverse iteration goes by, relative to the norm.
const (
	closeValues   = 1e-5         // of values that are closer, the vectors are made orthogonal; of others they are, to 1e-11
	leastDistance = 0x1p-52 * 10 // between the shifts of equal values
	converged     = 0x1p-52 * 64 // residual
	mostRounds    = 8
)

// ofTridiagonal returns the eigenvectors of T of the m largest values, one a row, n apart. It reports false where
// inverse iteration does not converge.
func (s *eigen) ofTridiagonal(m int) (v []float64, ok bool) {
	v = make([]float64, m*s.n)
	random := rand.New(rand.NewPCG(1, 1))
	shifted := newShifted(s.n)
	shift := math.Inf(1)
	first := 0 // of the values that are close to this one and to one another
	for i := range m {
		value := s.shifts[i]
		if i > 0 && s.shifts[i-1]-value > closeValues {
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
