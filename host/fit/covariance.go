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
	covarianceNumbers
	shift  []float64 // the first row that counts, so that equal rows give sums that are exactly 0; zeros without Center
	linear []float64
	sums   []float64 // columns x columns, the upper triangle; accumulate leaves them about the mean
}

// covarianceNumbers say how far the sums are.
type covarianceNumbers struct {
	Read    int // rows of the source that are in the sums
	Counted int // of these
}

func newCovariance(columns int, centred bool) *covariance {
	return &covariance{columns: columns, centred: centred, shift: make([]float64, columns), linear: make([]float64, columns), sums: make([]float64, columns*columns)}
}

func (c *covariance) matrices() matrices {
	return matrices{float64s: map[string][]float64{"shift": c.shift, "linear": c.linear, "sums": c.sums}}
}

// keptCovariance is the sums that were kept, or those of no row yet.
func keptCovariance(rows Source, o Options) (c *covariance) {
	var at covarianceNumbers
	kept := o.Keep.load(stageCovariance, &at, func(*stateFile) (matrices, bool) {
		c = newCovariance(rows.Columns(), o.Center)
		c.covarianceNumbers = at
		return c.matrices(), 0 <= at.Counted && at.Counted <= at.Read && at.Read <= rows.Rows()
	})
	if !kept {
		c = newCovariance(rows.Columns(), o.Center)
	}
	return c
}

// accumulate makes the pass over the rows, or what is left of it. Without Center the shift is 0.
func accumulate(ctx context.Context, rows Source, o Options) (*covariance, error) {
	c, n := keptCovariance(rows, o), rows.Rows()
	read := make([]float32, covarianceRows*c.columns)
	block := make([]float64, covarianceRows*c.columns)
	o.Progress("fit", c.Read, n)
	for {
		if o.Keep.due() {
			if err := o.Keep.save(stageCovariance, c.covarianceNumbers, c.matrices()); err != nil {
				return nil, err
			}
		}
		if c.Read == n {
			c.aboutMean()
			return c, nil
		}
		some := min(covarianceRows, n-c.Read)
		if err := c.readBlock(ctx, rows, some, read, block, o.Threads); err != nil {
			return nil, err
		}
		if err := c.addBlock(ctx, block[:some*c.columns], o.Threads); err != nil {
			return nil, err
		}
		c.Read += some
		o.Keep.added(some)
		o.Progress("fit", c.Read, n)
	}
}

// addBlock adds rows to the sums. Row i of the sums takes them in ascending order, whichever goroutine adds it.
func (c *covariance) addBlock(ctx context.Context, block []float64, threads int) error {
	d := c.columns
	return parallel.Each(ctx, threads, d, func(_, i int) error {
		to := blas64.Vector{N: d - i, Inc: 1, Data: c.sums[i*d+i : (i+1)*d]}
		for r := range len(block) / d {
			row := block[r*d : (r+1)*d]
			blas64.Axpy(row[i], blas64.Vector{N: d - i, Inc: 1, Data: row[i:]}, to)
			c.linear[i] += row[i]
		}
		return nil
	})
}

// aboutMean takes from the sums what the mean contributes.
func (c *covariance) aboutMean() {
	if !c.centred || c.Counted == 0 {
		return
	}
	d := c.columns
	for i := range d {
		m := c.linear[i] / float64(c.Counted)
		for j := i; j < d; j++ {
			c.sums[i*d+j] -= float64(m * c.linear[j])
		}
	}
}

// readBlock fills block with the next n rows, less the shift, and counts those that count. A row that does not count
// becomes zeros, which add nothing to the sums.
func (c *covariance) readBlock(ctx context.Context, rows Source, n int, read []float32, block []float64, threads int) error {
	d := c.columns
	const chunk = 64
	skips := make([][]bool, (n+chunk-1)/chunk)
	err := parallel.Each(ctx, threads, len(skips), func(_, i int) (err error) {
		at := i * chunk
		skips[i], err = rows.Read(read[at*d:min(at+chunk, n)*d], c.Read+at, min(chunk, n-at))
		return err
	})
	if err != nil {
		return err
	}
	for r := range n {
		row, to := read[r*d:(r+1)*d], block[r*d:(r+1)*d]
		if skip := skips[r/chunk]; skip != nil && skip[r%chunk] {
			clear(to)
			continue
		}
		if c.centred && c.Counted == 0 {
			for i, x := range row {
				c.shift[i] = float64(x)
			}
		}
		c.Counted++
		for i, x := range row {
			to[i] = float64(x) - c.shift[i]
		}
	}
	return nil
}

// mean returns the rows' mean, or zeros where they are not centred.
func (c *covariance) mean() []float32 {
	mean := make([]float32, c.columns)
	if c.centred && c.Counted > 0 {
		for i := range mean {
			mean[i] = float32(c.shift[i] + c.linear[i]/float64(c.Counted))
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
