// Package fit finds the principal components of fused vectors.
//
// Input: rows of float32, streamed in blocks: the whole matrix is never held. Output: mean, components and variances, as Eq. 3 of Meghwani et
// al. (2025) needs them. Package projection calls it. The result is the same, bit for bit, at any number of threads.
package fit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/host/matrix"
)

// MaxExact is how many columns a matrix may have for its covariance to be decomposed whole. Of a wider one a subspace is decomposed.
const MaxExact = 2048

// ErrNothingToFit is returned, wrapped, where the rows do not vary, or are too few.
var ErrNothingToFit = errors.New("nothing to fit")

// MemoryError is returned, wrapped, where Options.Memory is too little: Need would do.
type MemoryError struct{ Given, Need int64 }

func (e *MemoryError) Error() string {
	return fmt.Sprintf("the matrices of the fit take at least %d MiB; there are %d", e.Need>>20+1, e.Given>>20)
}

// ErrOption is returned, wrapped, where what was asked for does not fit the rows.
var ErrOption = errors.New("cannot be fitted")

// Source is the rows to fit.
type Source interface {
	Rows() int
	Columns() int
	// Read writes n rows, from row first on, to dst. skip[i] is true where row i of them does not count; a nil skip means that all count.
	// Several goroutines may call it at once.
	Read(dst []float32, first, n int) (skip []bool, err error)
}

// Options say what to fit.
type Options struct {
	// Variance is the share of the total variance to keep, above 0 and at most 1: the fit keeps as many components as that takes, by
	// their measured variance. 1 keeps all components whose variance is above rounding. It is used where Components is 0.
	Variance float64
	// Components is a fixed number of components; 0 means by Variance.
	Components int
	// Center subtracts the mean first, which makes it PCA. Without it the fit is a truncated SVD.
	Center bool
	// Threads is the number of goroutines; the result does not depend on it.
	Threads int
	// Memory is how many bytes there are for the matrices; 0 means no bound. Up to MaxExact columns, the result does not
	// depend on it. Of more columns, the fit holds the covariance only where there is room for it, and its subspace is no
	// larger than there is room for. Where that makes a difference, the result is another one, and may have up to 3 % more
	// components for the same variance.
	Memory int64
	// Seed chooses the random subspace where there is one.
	Seed uint64
	// Machine makes what multiplies the matrices; nil means matrix.Fastest. The result does not depend on it.
	Machine matrix.New
	// Progress is told how many rows of a pass over the data are done, "fit" or "fit, pass 2", or how many "fit, products"
	// with the covariance; may be nil. Rows whose sums were kept are done.
	Progress func(pass string, done, total int)
	// Keep is where the fit keeps what it has done; nil means nowhere. The result does not depend on it.
	Keep *Keep
}

func (o Options) machine() matrix.New {
	if o.Machine == nil {
		return matrix.Fastest
	}
	return o.Machine
}

// Result is a fitted projection. d is the number of columns, k of components.
type Result struct {
	Mean       []float32 // d; zeros without Center
	Components []float32 // k rows of d, the largest variance first; the first entry of largest magnitude in a row is positive
	Variances  []float64 // k; of the rows projected on each component as it is stored, with divisor Rows-1, or Rows without Center
	Rows       int       // how many rows counted
	Total      float64   // variance over all columns
	Captured   float64   // sum of Variances
}

// Fit finds the components. Up to MaxExact columns it makes one pass over the rows for their covariance, and decomposes it
// in float64. Of more columns it takes a random subspace, which it improves by products with the covariance; see
// fitSubspace.
func Fit(ctx context.Context, rows Source, o Options) (*Result, error) {
	d := rows.Columns()
	if o.Components > d {
		return nil, fmt.Errorf("%w: %d components were asked for; the vectors have %d columns", ErrOption, o.Components, d)
	}
	if o.Components == 0 && !(o.Variance > 0 && o.Variance <= 1) {
		return nil, fmt.Errorf("%w: the variance to keep is %v; it goes from above 0 to 1", ErrOption, o.Variance)
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	if d > MaxExact {
		return fitKept(ctx, rows, o, fitWide)
	}
	if need := exactMemory(d, o); o.Memory > 0 && need > o.Memory {
		return nil, &MemoryError{o.Memory, need}
	}
	return fitKept(ctx, rows, o, fitExact)
}

// fitKept returns the result that was kept, or fits, and keeps the result.
func fitKept(ctx context.Context, rows Source, o Options, fit func(context.Context, Source, Options) (*Result, error)) (*Result, error) {
	if r := o.Keep.result(rows.Columns()); r != nil {
		o.Progress("fit", rows.Rows(), rows.Rows())
		return r, nil
	}
	o.Keep.begin()
	r, err := fit(ctx, rows, o)
	if err != nil {
		return nil, err
	}
	return r, o.Keep.keepResult(r)
}

// exactMemory is what an exact fit holds: the sums, a block of rows in panels, room for the eigenproblem and as many
// vectors as columns; that block as it is read, vectors of values that are close to one another, and the components.
func exactMemory(d int, o Options) int64 {
	return int64(exactBytes(d, o)) + int64(d)*(4*covarianceRows+8*int64(d)+4*int64(d))
}

// exactBytes is the size of the matrices of an exact fit.
func exactBytes(d int, o Options) int {
	return covarianceBytes(d) + eigenBytes(d, o) + matrix.PanelBytes(d, d) + 64
}

// fitExact decomposes the covariance.
func fitExact(ctx context.Context, rows Source, o Options) (_ *Result, err error) {
	d := rows.Columns()
	machine, err := o.machine()(ctx, exactBytes(d, o), max(1, o.Threads))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, machine.Close(ctx)) }()
	c := newCovariance(machine, d, o)
	c.load(rows, o.Keep)
	if err := c.accumulate(ctx, rows, o); err != nil {
		return nil, err
	}
	divisor := divisor(c.Counted, o)
	r := &Result{Mean: c.mean(), Rows: c.Counted}
	for i := range d {
		r.Total += c.row(i)[0]
	}
	if r.Total, err = totalVariance(r.Total, r.Rows, o); err != nil {
		return nil, err
	}
	spectrum, err := newEigenRoom(machine, d, o).newEigen(ctx, d, c.sums.Data, c.sums.Stride)
	if err != nil {
		return nil, err
	}
	values := spectrum.values
	floats.Scale(1/divisor, values)
	// Rows have no more dimensions than there are of them, less the mean. What else is below the noise of float32 sums is
	// none.
	const noise = 0x1p-23
	most, rank := min(d, int(divisor)), 0
	for rank < most && values[rank] > noise*values[0] {
		rank++
	}
	if o.Components > rank {
		return nil, tooMany(o.Components, rank)
	}
	// As many vectors as the variance takes by the eigenvalues, and some more, since it is that of the components as they
	// are stored. Where that is too few after all, twice as many.
	vectors := machine.Panels(d, d)
	for m := min(rank, expected(values, r.Total, o)); ; m = min(rank, 2*m) {
		vectors := vectors.FirstColumns(m)
		if err := spectrum.vectors(ctx, vectors); err != nil {
			return nil, err
		}
		if err := r.setComponents(ctx, vectors, values, o); err != nil || m == rank || r.reaches(o) {
			return r, err
		}
	}
}

// expected is how many components the options take by the eigenvalues, and a few more.
func expected(values []float64, total float64, o Options) int {
	if o.Components > 0 {
		return o.Components
	}
	const more = 16
	captured := 0.0
	for i, v := range values {
		if captured += v; captured >= o.Variance*total {
			return i + 1 + more
		}
	}
	return len(values)
}

// reaches reports whether there are as many components as the options take.
func (r *Result) reaches(o Options) bool {
	return len(r.Variances) == o.Components || o.Components == 0 && o.Variance < 1 && r.Captured >= o.Variance*r.Total
}

// divisor is what sums over the rows are divided by for a variance.
func divisor(rows int, o Options) float64 {
	if o.Center {
		rows--
	}
	return float64(rows)
}

// totalVariance is a sum of squares over all columns as a variance, which has to be above 0.
func totalVariance(squares float64, rows int, o Options) (float64, error) {
	if total := squares / divisor(rows, o); total > 0 && total-total == 0 {
		return total, nil
	}
	return 0, fmt.Errorf("%w: the total variance of %d rows is 0\n  hint: PCA needs rows that differ; fit on more of them, or use --no-pca", ErrNothingToFit, rows)
}

func tooMany(asked, rank int) error {
	return fmt.Errorf("%w: %d components were asked for; only %d have variance above rounding", ErrOption, asked, rank)
}

// setComponents stores the vectors, which are columns, with the variances along them, the largest first, until there are
// enough.
//
// The variance along a component v that is an eigenvector u, but for rounding e, is v^T C v = value |v|^2 +
// e^T (C - value) e: the value times the squared norm, but for |e|^2 of the largest value, which is 10^-12.
func (r *Result) setComponents(ctx context.Context, vectors matrix.Panels, values []float64, o Options) error {
	m, d := vectors.Columns, vectors.Rows
	r.Components, r.Variances, r.Captured = make([]float32, m*d), nil, 0
	squares := make([]float64, m)
	err := parallel.Each(ctx, o.Threads, m, func(_, i int) error {
		v := make([]float64, d)
		for c := range v {
			v[c] = float64(vectors.Data[vectors.Index(c, i)])
		}
		floats.Scale(1/math.Sqrt(dot(v, v)), v)
		stored := r.Components[i*d : (i+1)*d]
		setWithSign(stored, v)
		for _, x := range stored {
			squares[i] += float64(x) * float64(x)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := 0; i < m && !(i > 0 && r.reaches(o)); i++ {
		r.Variances = append(r.Variances, values[i]*squares[i])
		r.Captured += r.Variances[i]
	}
	r.Components = slices.Clip(r.Components[:len(r.Variances)*d])
	return nil
}

// setWithSign rounds a component to float32, and turns it so that the first of its entries of largest magnitude is
// positive.
func setWithSign(w []float32, v []float64) {
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
}

func abs32(x float32) float32 { return float32(math.Abs(float64(x))) }
