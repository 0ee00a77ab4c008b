// Package fit finds the principal components of fused vectors.
//
// In go rows of float32, streamed in blocks; never the whole matrix. Out come mean, components and variances, as Eq. 3 of Meghwani et
// al. (2025) needs them. Package host calls it. The result is the same, bit for bit, at any number of threads.
package fit

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack"
	"gonum.org/v1/gonum/lapack/lapack64"

	"github.com/quarry-hn/quarry/host/internal/parallel"
)

// MaxColumns is the widest matrix that is fitted: the covariance is held whole.
const MaxColumns = 2048

// ErrNothingToFit is returned, wrapped, where the rows do not vary, or are too few.
var ErrNothingToFit = errors.New("nothing to fit")

// ErrOption is returned, wrapped, where what was asked for does not fit the rows.
var ErrOption = errors.New("cannot be fitted")

// Source is the rows to fit.
type Source interface {
	Rows() int
	Columns() int
	// Read writes n rows from row first to dst. skip tells which of them do not count; nil where all do. It may be called by several
	// goroutines at once.
	Read(dst []float32, first, n int) (skip []bool, err error)
}

// Options say what to fit.
type Options struct {
	// Variance is the share of the total variance to keep, above 0 and at most 1: as many components as it takes, by
	// their measured variance. 1 keeps all whose variance is above rounding. Used where Components is 0.
	Variance float64
	// Components is a fixed number of components; 0 means by Variance.
	Components int
	// Center subtracts the mean first, which makes it PCA; without, it is a truncated SVD.
	Center bool
	// Threads is the number of goroutines; the result does not depend on it.
	Threads int
	// Progress is told how many rows of the pass over the data are done; may be nil.
	Progress func(rows int)
}

// Result is a fitted projection. d is the number of columns, k of components.
type Result struct {
	Mean       []float32 // d; zeros without Center
	Components []float32 // k rows of d, by variance; of each, the first entry of largest magnitude is positive
	Variances  []float64 // k, measured: of the rows projected on the component as it is stored; divisor Rows-1, or Rows without Center
	Rows       int       // that counted
	Total      float64   // variance over all columns
	Captured   float64   // sum of Variances
}

// Fit makes one pass over the rows for their covariance, in float64, and decomposes it (LAPACK's dsyev).
func Fit(ctx context.Context, rows Source, o Options) (*Result, error) {
	d := rows.Columns()
	if d > MaxColumns {
		return nil, fmt.Errorf("%w: %d columns; PCA takes up to %d: choose fewer --models, or --no-pca", ErrOption, d, MaxColumns)
	}
	if o.Components > d {
		return nil, fmt.Errorf("%w: %d components were asked for; the vectors have %d columns", ErrOption, o.Components, d)
	}
	if o.Components == 0 && !(o.Variance > 0 && o.Variance <= 1) {
		return nil, fmt.Errorf("%w: the variance to keep is %v; it goes from above 0 to 1", ErrOption, o.Variance)
	}
	c, err := accumulate(ctx, rows, o)
	if err != nil {
		return nil, err
	}
	r := &Result{Mean: c.mean(), Rows: c.rows, Components: []float32{}}
	divisor := float64(c.rows)
	if o.Center {
		divisor--
	}
	if divisor > 0 {
		for i := range d {
			r.Total += c.sums[i*d+i] / divisor
		}
	}
	if !(r.Total > 0) {
		return nil, fmt.Errorf("%w: the total variance of %d rows is 0\n  hint: PCA needs rows that differ; fit on more of them, or use --no-pca", ErrNothingToFit, c.rows)
	}
	values, vectors, err := c.decompose(divisor)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rank := 0
	noise := float64(max(d, c.rows)) * 0x1p-52 * values[0]
	for rank < d && values[rank] > noise {
		rank++
	}
	if o.Components > rank {
		return nil, fmt.Errorf("%w: %d components were asked for; only %d have variance above rounding", ErrOption, o.Components, rank)
	}
	return r, r.keep(ctx, c, vectors, rank, divisor, o)
}

// keep appends components, the largest variance first, until there are enough. A component's variance is measured as the quadratic form of
// the covariance with the component as it is stored.
func (r *Result) keep(ctx context.Context, c *covariance, vectors [][]float64, rank int, divisor float64, o Options) error {
	const batch = 32
	for first := 0; first < rank; first += batch {
		n := min(batch, rank-first)
		stored, measured := make([][]float32, n), make([]float64, n)
		err := parallel.Each(ctx, o.Threads, n, func(_, i int) error {
			stored[i] = withSign(vectors[first+i])
			measured[i] = c.quadraticForm(stored[i]) / divisor
			return nil
		})
		if err != nil {
			return err
		}
		for i := range n {
			r.Components = append(r.Components, stored[i]...)
			r.Variances = append(r.Variances, measured[i])
			r.Captured += measured[i]
			if k := len(r.Variances); k == o.Components || o.Components == 0 && o.Variance < 1 && r.Captured >= o.Variance*r.Total {
				return nil
			}
		}
	}
	return nil
}

// withSign rounds a component to float32 and turns it so that its entry of largest magnitude, the first of equals, is positive.
func withSign(v []float64) []float32 {
	w := make([]float32, len(v))
	largest := float32(0)
	for i, x := range v {
		w[i] = float32(x)
		if abs32(w[i]) > abs32(largest) {
			largest = w[i]
		}
	}
	if largest < 0 {
		for i := range w {
			w[i] = -w[i]
		}
	}
	return w
}

func abs32(x float32) float32 { return float32(math.Abs(float64(x))) }

// decompose returns the eigenvalues of the covariance, descending, none below 0, and their vectors.
func (c *covariance) decompose(divisor float64) (values []float64, vectors [][]float64, err error) {
	d := c.columns
	// A stride that is a power of two has every row of a column in the same few cache lines.
	stride := d + 8
	a := blas64.Symmetric{N: d, Stride: stride, Uplo: blas.Upper, Data: make([]float64, d*stride)}
	for i := range d {
		for j := i; j < d; j++ {
			a.Data[i*stride+j] = c.sums[i*d+j] / divisor
		}
	}
	values = make([]float64, d)
	work := make([]float64, 1)
	lapack64.Syev(lapack.EVCompute, a, values, work, -1)
	work = make([]float64, int(work[0]))
	if !lapack64.Syev(lapack.EVCompute, a, values, work, len(work)) {
		return nil, nil, errors.New("the eigenvalues of the covariance did not converge")
	}
	vectors = make([][]float64, d)
	for j := range d {
		v := make([]float64, d)
		for i := range v {
			v[i] = a.Data[i*stride+d-1-j]
		}
		vectors[j] = v
	}
	for i := range d / 2 {
		values[i], values[d-1-i] = values[d-1-i], values[i]
	}
	for i := range values {
		values[i] = max(values[i], 0)
	}
	return values, vectors, nil
}
