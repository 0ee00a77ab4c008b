package fit

import (
	"context"

	"gonum.org/v1/gonum/blas/blas64"

	"github.com/quarry-hn/quarry/host/internal/parallel"
)

// blockRows is how many rows are read at a time; it, unlike the number of threads, decides in which order sums are formed.
const blockRows = 512

// covariance holds sums over the rows x, less a shift: of (x-shift), and of (x-shift)(x-shift)^T.
type covariance struct {
	columns int
	centred bool
	rows    int
	shift   []float64 // the first row, so that rows that are all the same give sums that are exactly 0; nil until there is one
	linear  []float64
	sums    []float64 // columns x columns, upper triangle; about the mean, once finished
}

// accumulate makes the pass over the rows. Without Center the shift is 0.
func accumulate(ctx context.Context, rows Source, o Options) (*covariance, error) {
	d := rows.Columns()
	c := &covariance{columns: d, centred: o.Center, linear: make([]float64, d), sums: make([]float64, d*d)}
	if !o.Center {
		c.shift = make([]float64, d)
	}
	read := make([]float32, blockRows*d)
	block := make([]float64, blockRows*d)
	for first := 0; first < rows.Rows(); first += blockRows {
		n := min(blockRows, rows.Rows()-first)
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

// readBlock fills block with n rows, shifted; a row that does not count is zeros, which adds nothing. It returns how many count.
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
