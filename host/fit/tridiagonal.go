package fit

import (
	"context"
	"math"

	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
	lapackgo "gonum.org/v1/gonum/lapack/gonum"

	"github.com/quarry-hn/quarry/host/internal/parallel"
)

// A symmetric matrix is made tridiagonal as LAPACK's dsytrd does it (Golub and Van Loan, Matrix Computations, 8.3.1): a
// reflection for each row, and a block of them at a time for what is right of and below the block. gonum has dsytrd on
// one core. Here, the products with the matrix and its updates are made on all threads, each by loops along rows.

const (
	// blockReflections is how many reflections are applied to the matrix at a time.
	blockReflections = 32
	// A product with a matrix is made in up to mostChunks chunks, which have about chunkElements elements each. They
	// depend on the size of the matrix alone, and so does the order of the sums.
	chunkElements = 1 << 15
	mostChunks    = 16
)

// tridiagonal is a symmetric matrix as Q T Q^T, with T tridiagonal and Q = H_0 H_1 ... H_{n-2}. The reflection
// H_j = 1 - tau_j v_j v_j^T leaves the first j+1 coordinates as they are.
type tridiagonal struct {
	n        int
	a        []float64 // n rows, stride apart: row j has v_j, right of its diagonal
	stride   int
	tau      []float64 // n
	diagonal []float64 // of T: n
	beside   []float64 // of T: n-1
}

// reduction is a tridiagonal at work.
type reduction struct {
	*tridiagonal
	threads  int
	w        []float64             // blockReflections vectors of n: with the v of the block, A - V W^T - W V^T is the matrix
	partials [mostChunks][]float64 // products of the chunks
}

// tridiagonalize overwrites the upper triangle of a symmetric matrix of n rows, stride apart.
func tridiagonalize(ctx context.Context, threads, n int, a []float64, stride int) (*tridiagonal, error) {
	t := &tridiagonal{n: n, a: a, stride: stride, tau: make([]float64, n), diagonal: make([]float64, n), beside: make([]float64, max(n-1, 0))}
	r := &reduction{tridiagonal: t, threads: threads, w: make([]float64, blockReflections*n)}
	for i := range r.partials {
		r.partials[i] = make([]float64, n)
	}
	for first := 0; first < n; first += blockReflections {
		end := min(first+blockReflections, n)
		for j := first; j < end; j++ {
			if err := r.reflect(ctx, first, j); err != nil {
				return nil, err
			}
		}
		if err := r.update(ctx, first, end); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// row is row j, from column c on.
func (t *tridiagonal) row(j, c int) []float64 { return t.a[j*t.stride+c : j*t.stride+t.n] }

// of is w of row j of the block from first on, from column c on.
func (r *reduction) of(first, j, c int) []float64 { return r.w[(j-first)*r.n+c : (j-first+1)*r.n] }

// reflect brings row j up to date with the reflections of its block, and makes its own reflection.
func (r *reduction) reflect(ctx context.Context, first, j int) error {
	own := r.row(j, j)
	for i := first; i < j; i++ {
		v, w := r.row(i, j), r.of(first, i, j)
		axpy(-w[0], v, own)
		axpy(-v[0], w, own)
	}
	r.diagonal[j] = own[0]
	if j == r.n-1 {
		return nil
	}
	v := own[1:]
	var impl lapackgo.Implementation
	r.beside[j], r.tau[j] = impl.Dlarfg(len(v), v[0], v[1:], 1)
	v[0] = 1
	w := r.of(first, j, j+1)
	if r.tau[j] == 0 {
		clear(w)
		return nil
	}
	if err := r.times(ctx, w, v, j+1); err != nil {
		return err
	}
	for i := first; i < j; i++ {
		vi, wi := r.row(i, j+1), r.of(first, i, j+1)
		alongV, alongW := dot(vi, v), dot(wi, v)
		axpy(-alongW, vi, w)
		axpy(-alongV, wi, w)
	}
	floats.Scale(r.tau[j], w)
	axpy(-r.tau[j]/2*dot(w, v), v, w)
	return nil
}

// times writes to w the product of x with the matrix from row and column at on.
func (r *reduction) times(ctx context.Context, w, x []float64, at int) error {
	m := len(x)
	chunks := min(max(1, m*m/2/chunkElements), mostChunks)
	err := parallel.Each(ctx, r.threads, chunks, func(_, c int) error {
		from, end := chunkStart(m, c, chunks), chunkStart(m, c+1, chunks)
		y := r.partials[c][from:m]
		clear(y)
		for i := from; i < end; i++ {
			row, to := r.row(at+i, at+i), y[i-from:]
			right := x[i+1:]
			to[0] += row[0]*x[i] + dot(row[1:], right)
			axpy(x[i], row[1:], to[1:])
		}
		return nil
	})
	if err != nil {
		return err
	}
	copy(w, r.partials[0][:m])
	for c := 1; c < chunks; c++ {
		from := chunkStart(m, c, chunks)
		axpy(1, r.partials[c][from:m], w[from:])
	}
	return nil
}

// chunkStart is the first row of a chunk of a triangle of m rows, which become shorter by one: the rows from r on have
// about (m-r)^2/2 elements.
func chunkStart(m, chunk, chunks int) int {
	return m - int(math.Sqrt(float64(m*m)*float64(chunks-chunk)/float64(chunks)))
}

// update applies the reflections of rows first to end-1 to the rows from end on.
func (r *reduction) update(ctx context.Context, first, end int) error {
	const rows = 16
	return parallel.Each(ctx, r.threads, (r.n-end+rows-1)/rows, func(_, piece int) error {
		for i := end + piece*rows; i < min(end+(piece+1)*rows, r.n); i++ {
			to := r.row(i, i)
			for j := first; j < end; j++ {
				v, w := r.row(j, i), r.of(first, j, i)
				axpy(-v[0], w, to)
				axpy(-w[0], v, to)
			}
		}
		return nil
	})
}

func dot(x, y []float64) float64 {
	return blas64.Dot(blas64.Vector{N: len(x), Inc: 1, Data: x}, blas64.Vector{N: len(x), Inc: 1, Data: y})
}

// axpy adds a multiple of x to y.
func axpy(by float64, x, y []float64) {
	blas64.Axpy(by, blas64.Vector{N: len(x), Inc: 1, Data: x}, blas64.Vector{N: len(x), Inc: 1, Data: y})
}
