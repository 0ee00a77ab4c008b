package fit

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/lapack"
	lapackgo "gonum.org/v1/gonum/lapack/gonum"

	"github.com/quarry-hn/quarry/host/matrix"
)

// A fit wants the vectors of the largest eigenvalues alone, some 40 of 100. So the matrix is made tridiagonal, as
// LAPACK's dsyev does it, and only those vectors are computed, by inverse iteration (Golub and Van Loan, Matrix
// Computations, 8.2.2 and 8.4). dsyev spends three quarters of its time on rotations for all of them. All of it is in
// float64, until the vectors of T become those of the matrix: these products are float32, as the vectors are stored.

// eigen is a symmetric matrix as Q T Q^T, T being tridiagonal and Q orthonormal, with the eigenvalues.
type eigen struct {
	*tridiagonal
	room   *eigenRoom
	values []float64 // descending; none is below 0
	shifts []float64 // the same over norm, as they are computed; diagonal and beside of T are over norm, too
	norm   float64   // the largest of T's absolute row sums; 1 for the zero matrix
}

// eigenRoom is memory for the vectors of matrices.
type eigenRoom struct {
	machine *matrix.Machine
	threads int
	updates []float32
}

// newEigenRoom is room for matrices of up to n rows.
func newEigenRoom(machine *matrix.Machine, n int, o Options) *eigenRoom {
	return &eigenRoom{machine, o.Threads, machine.Rows(1, updateFloats(n)).Data}
}

// eigenBytes is what a room takes of the machine's memory.
func eigenBytes(n int, o Options) int {
	return matrix.RowBytes(1, updateFloats(n)) + matrix.ScratchBytes(max(1, o.Threads)) + 64*(1+max(1, o.Threads))
}

var errNoConvergence = errors.New("the eigenvalues of the covariance did not converge")

// newEigen makes a symmetric matrix of n rows, stride apart, tridiagonal, and computes its eigenvalues. It reads the
// upper triangle, and overwrites it.
func (room *eigenRoom) newEigen(ctx context.Context, n int, a []float64, stride int) (*eigen, error) {
	t, err := tridiagonalize(ctx, room.threads, n, a, stride)
	if err != nil {
		return nil, err
	}
	s := &eigen{tridiagonal: t, room: room, shifts: slices.Clone(t.diagonal)}
	var impl lapackgo.Implementation
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

// vectors writes the eigenvectors of the largest values to the columns of a matrix of n rows. They have norm 1, and are
// orthogonal to one another, but for the rounding of float32 sums.
func (s *eigen) vectors(ctx context.Context, to matrix.Panels) error {
	clear(to.Data)
	write := func(i int, x []float64) {
		for r, v := range x {
			to.Data[to.Index(r, i)] = float32(v)
		}
	}
	ok, err := s.ofTridiagonal(ctx, to.Columns, write)
	if err != nil {
		return err
	}
	if !ok {
		// No matrix is known to bring this about.
		if err := s.byDsteqr(to.Columns, write); err != nil {
			return err
		}
	}
	updates, err := s.updates(ctx, s.room)
	if err != nil {
		return err
	}
	return s.room.machine.Update(ctx, to, updates)
}

// byDsteqr calls write with the eigenvectors of T of the m largest values, as LAPACK computes all of them.
func (s *eigen) byDsteqr(m int, write func(i int, x []float64)) error {
	n := s.n
	z, work := make([]float64, n*n), make([]float64, max(1, 2*n-2))
	var impl lapackgo.Implementation
	if !impl.Dsteqr(lapack.EVTridiag, n, slices.Clone(s.diagonal), slices.Clone(s.beside), z, n, work) {
		return errNoConvergence
	}
	x := make([]float64, n)
	for i := range m {
		for r := range x { // of ascending values
			x[r] = z[r*n+n-1-i]
		}
		write(i, x)
	}
	return nil
}

// What inverse iteration goes by, relative to the norm.
const (
	closeValues   = 1e-6         // of values that are closer, the vectors are made orthogonal; of others they are, to 1e-10
	leastDistance = 0x1p-52 * 10 // between the shifts of equal values
	converged     = 0x1p-52 * 64 // residual
	mostRounds    = 8
)

// ofTridiagonal calls write with the eigenvectors of T of the m largest values, on all threads. It reports false where
// inverse iteration does not converge.
func (s *eigen) ofTridiagonal(ctx context.Context, m int, write func(i int, x []float64)) (bool, error) {
	shifts, groups := make([]float64, m), []int{} // where values begin that are close to one another
	for i := range m {
		shifts[i] = s.shifts[i]
		if i == 0 || s.shifts[i-1]-shifts[i] > closeValues {
			groups = append(groups, i)
		}
		if i > 0 {
			shifts[i] = min(shifts[i], shifts[i-1]-leastDistance)
		}
	}
	groups = append(groups, m)
	var failed atomic.Bool
	err := s.room.machine.Each(ctx, len(groups)-1, func(g int) error {
		first, end := groups[g], groups[g+1]
		random := rand.New(rand.NewPCG(1, uint64(first)))
		shifted := newShifted(s.n)
		v := make([]float64, (end-first)*s.n)
		for i := first; i < end; i++ {
			shifted.factor(s.diagonal, s.beside, shifts[i])
			own := (i - first) * s.n
			x := v[own : own+s.n]
			for j := range x {
				x[j] = random.NormFloat64()
			}
			if !shifted.iterate(x, v[:own], converged+2*(s.shifts[i]-shifts[i])) {
				failed.Store(true)
				return nil
			}
			write(i, x)
		}
		return nil
	})
	return !failed.Load(), err
}
