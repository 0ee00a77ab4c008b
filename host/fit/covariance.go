package fit

import (
	"context"

	"gonum.org/v1/gonum/blas/blas64"

	"github.com/quarry-hn/quarry/host/internal/parallel"
)

// covarianceRows is how many rows are read at a time. It decides the order in which sums are formed, which the number of threads does not.
const covarianceRows = 512

// covariance holds two sums over the rows x: of (x-shift), and of (x-shift)(x-shift)^T.
type covariance struct {
	columns int
	centred bool
	rows    int
	shift   []float64 // the first row, so that equal rows give sums that are exactly 0; nil before the first row is read
	linear  []float64
	sums    []float64 // columns x columns, the upper triangle; accumulate leaves them about the mean
}

// accumulate makes the pass over the rows. Without Center the shift is 0.
func accumulate(ctx context.Context, rows Source, o Options) (*covariance, error) {
	d := rows.Columns()
	c := &covariance{columns: d, centred: o.Center, linear: make([]float64, d), sums: make([]float64, d*d)}
	if !o.Center {
		c.shift = make([]float64, d)
	}
	read := make([]float32, covarianceRows*d)
	block := make([]float64, covarianceRows*d)
	for first := 0; first < rows.Rows(); first += covarianceRows {
		n := min(covarianceRows, rows.Rows()-first)
		counted, err := c.readBlock(ctx, rows, first, n, read, block, o.Threads)
		if err != nil {
			return nil, err
		}
		c.rows += counted
		// Row i of the sums takes the rows of the block in ascending order, whichever goroutine adds it.
		err = parallel.Each(ctx, o.Threads, d, func(_, i int) error {
			to := blas64.Vector{N: d - i, Inc: 1, Data: c.sums[i*d+i : (i+1)*d]}
			for r := range n {
				row := block[r*d : (r+1)*d]
				blas64.Axpy(row[i], blas64.Vector{N: d - i, Inc: 1, Data: row[i:]}, to)
				c.linear[i] += row[i]
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		o.Progress("fit", first+n, rows.Rows())
	}
	if o.Center && c.rows > 0 {
		for i := range d {
			m := c.linear[i] / float64(c.rows)
			for j := i; j < d; j++ {
				c.sums[i*d+j] -= float64(m * c.linear[j])
			}
		}
	}
	return c, nil
}

// readBlock fills block with n rows, less the shift, and returns how many of them count. A row that does not count becomes zeros, which add
// nothing to the sums.
func (c *covariance) readBlock(ctx context.Context, rows Source, first, n int, read []float32, block []float64, threads int) (counted int, err error) {
	d := c.columns
	const chunk = 64
	skips := make([][]bool, (n+chunk-1)/chunk)
	err = parallel.Each(ctx, threads, len(skips), func(_, i int) (err error) {
		at := i * chunk
		skips[i], err = rows.Read(read[at*d:min(at+chunk, n)*d], first+at, min(chunk, n-at))
		return err
	})
	if err != nil {
		return 0, err
	}
	for r := range n {
		row, to := read[r*d:(r+1)*d], block[r*d:(r+1)*d]
		if skip := skips[r/chunk]; skip != nil && skip[r%chunk] {
			clear(to)
			continue
		}
		counted++
		if c.shift == nil {
			c.shift = make([]float64, d)
			for i, x := range row {
				c.shift[i] = float64(x)
			}
		}
		for i, x := range row {
			to[i] = float64(x) - c.shift[i]
		}
	}
	return counted, nil
}

// mean returns the rows' mean, or zeros where they are not centred.
func (c *covariance) mean() []float32 {
	mean := make([]float32, c.columns)
	if c.centred && c.rows > 0 {
		for i := range mean {
			mean[i] = float32(c.shift[i] + c.linear[i]/float64(c.rows))
		}
	}
	return mean
}

// quadraticForm returns v^T S v, S being the symmetric matrix of sums.
func (c *covariance) quadraticForm(v []float32) float64 {
	d := c.columns
	w := make([]float64, d)
	for i, x := range v {
		w[i] = float64(x)
	}
	form := 0.0
	for i := range d {
		tail := blas64.Vector{N: d - i - 1, Inc: 1, Data: c.sums[i*d+i+1 : (i+1)*d]}
		form += w[i] * (c.sums[i*d+i]*w[i] + 2*blas64.Dot(tail, blas64.Vector{N: d - i - 1, Inc: 1, Data: w[i+1:]}))
	}
	return form
}
