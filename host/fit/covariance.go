package fit

import (
	"context"

	"github.com/quarry-hn/quarry/host/matrix"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

// covarianceRows is how many rows are multiplied at a time: no power of two, for panels that far apart would fall into
// the same few cache lines. It decides the order in which sums are formed, which the number of threads does not.
const covarianceRows = 500

// panelColumns is how many columns a panel has.
const panelColumns = kernel.PanelRows

// covariance holds sums over the rows x: of x-shift and of its squares, in float64, and of (x-shift)(x-shift)^T, which
// are float32 over 256 rows and then float64.
type covariance struct {
	columns int
	centred bool
	covarianceNumbers
	shift   []float32 // the first row that counts, so that equal rows give sums that are exactly 0; zeros without Center
	linear  []float64
	squares []float64   // the diagonal of the sums, to all digits
	sums    matrix.Gram // the upper triangle; accumulate leaves them about the mean, with that diagonal

	machine *matrix.Machine
	panels  []float32 // memory for a block of rows
}

// covarianceNumbers say how far the sums are.
type covarianceNumbers struct {
	Read    int // rows of the source that are in the sums
	Counted int // of these
	Columns int // of the subspace that is then taken, and the most that there is room for; 0 where the covariance is decomposed
	Largest int
}

// newCovariance is the sums of no row.
func newCovariance(machine *matrix.Machine, columns int, o Options) *covariance {
	c := &covariance{columns: columns, centred: o.Center, machine: machine, shift: make([]float32, columns)}
	c.linear, c.squares, c.sums = make([]float64, columns), make([]float64, columns), machine.Gram(columns)
	c.panels = machine.Panels(covarianceRows, columns).Data
	return c
}

// covarianceBytes is the size of the matrices.
func covarianceBytes(columns int) int {
	return matrix.GramBytes(columns) + matrix.PanelBytes(covarianceRows, columns) + 2*64
}

func (c *covariance) matrices() matrices {
	return matrices{
		float32s: map[string][]float32{"shift": c.shift},
		float64s: map[string][]float64{"linear": c.linear, "squares": c.squares, "sums": c.sums.Data},
	}
}

// load takes up the sums that were kept, and reports whether there are any.
func (c *covariance) load(rows Source, keep *Keep) bool {
	var at covarianceNumbers
	var filled matrices
	kept := keep.load(stageCovariance, &at, func(*stateFile) (matrices, bool) {
		if at.Counted < 0 || at.Counted > at.Read || at.Read > rows.Rows() || at.Largest != c.Largest || at.Columns < min(1, c.Largest) || at.Columns > c.Largest {
			return matrices{}, false
		}
		filled = c.matrices()
		return filled, true
	})
	if !kept {
		filled.clear()
		return false
	}
	c.covarianceNumbers = at
	return true
}

// accumulate makes the pass over the rows, or what is left of it. Without Center the shift is 0.
func (c *covariance) accumulate(ctx context.Context, rows Source, o Options) error {
	n, read := rows.Rows(), make([]float32, covarianceRows*c.columns)
	o.Progress("fit", c.Read, n)
	for {
		if o.Keep.due() {
			if err := o.Keep.save(stageCovariance, c.covarianceNumbers, c.matrices()); err != nil {
				return err
			}
		}
		if c.Read == n {
			c.aboutMean()
			return nil
		}
		some := min(covarianceRows, n-c.Read)
		if err := c.addBlock(ctx, rows, read[:some*c.columns]); err != nil {
			return err
		}
		c.Read += some
		o.Keep.added(some)
		o.Progress("fit", c.Read, n)
	}
}

// addBlock reads the next rows and adds them to the sums.
func (c *covariance) addBlock(ctx context.Context, rows Source, read []float32) error {
	counts, err := c.readBlock(ctx, rows, read)
	if err != nil {
		return err
	}
	block := matrix.Panels{Rows: covarianceRows, Columns: c.columns, Data: c.panels}.OfRows(len(counts))
	const stripe = 8 // panels: a row of a stripe is some cache lines
	panels := (c.columns + panelColumns - 1) / panelColumns
	err = c.machine.Each(ctx, (panels+stripe-1)/stripe, func(i int) error {
		for r, counts := range counts {
			row := read[r*c.columns : (r+1)*c.columns]
			for first := i * stripe * panelColumns; first < min((i+1)*stripe*panelColumns, c.columns); first += panelColumns {
				to := (*[panelColumns]float32)(block.Data[block.Index(r, first):])
				*to = [panelColumns]float32{}
				if counts {
					c.addRow(to, row[first:min(first+panelColumns, c.columns)], first)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.machine.AddUpperGram(ctx, c.sums, block)
}

// addRow writes to a panel the columns of a row from first on, less the shift, and adds them to the sums over each column.
func (c *covariance) addRow(to *[panelColumns]float32, row []float32, first int) {
	if len(row) < panelColumns {
		for i, x := range row {
			shift := c.shift[first+i]
			to[i] = x - shift
			y := float64(x) - float64(shift)
			c.linear[first+i] += y
			c.squares[first+i] += float64(y * y)
		}
		return
	}
	// The same, of lengths that the compiler knows: it takes two thirds of the time.
	x, shift := (*[panelColumns]float32)(row), (*[panelColumns]float32)(c.shift[first:])
	linear, squares := (*[panelColumns]float64)(c.linear[first:]), (*[panelColumns]float64)(c.squares[first:])
	for i := range to {
		to[i] = x[i] - shift[i]
		y := float64(x[i]) - float64(shift[i])
		linear[i] += y
		squares[i] += float64(y * y)
	}
}

// aboutMean takes from the sums what the mean contributes.
func (c *covariance) aboutMean() {
	for i := range c.columns {
		m := 0.0
		if c.centred && c.Counted > 0 {
			m = c.linear[i] / float64(c.Counted)
		}
		row := c.row(i)
		row[0] = max(0, c.squares[i]-float64(m*c.linear[i]))
		for j := range row[1:] {
			row[1+j] -= float64(m * c.linear[i+1+j])
		}
	}
}

// row is row i of the sums, from the diagonal on.
func (c *covariance) row(i int) []float64 {
	return c.sums.Data[i*c.sums.Stride+i:][:c.columns-i]
}

// readBlock reads the next rows, and reports which of them count. The first that does is the shift.
func (c *covariance) readBlock(ctx context.Context, rows Source, read []float32) (counts []bool, err error) {
	d := c.columns
	const chunk = 64
	counts = make([]bool, len(read)/d)
	err = c.machine.Each(ctx, (len(counts)+chunk-1)/chunk, func(i int) error {
		first, end := i*chunk, min((i+1)*chunk, len(counts))
		skip, err := rows.Read(read[first*d:end*d], c.Read+first, end-first)
		for r := first; r < end; r++ {
			counts[r] = skip == nil || !skip[r-first]
		}
		return err
	})
	for r, does := range counts {
		if does && c.centred && c.Counted == 0 {
			copy(c.shift, read[r*d:])
		}
		if does {
			c.Counted++
		}
	}
	return counts, err
}

// mean returns the rows' mean, or zeros where they are not centred.
func (c *covariance) mean() []float32 {
	mean := make([]float32, c.columns)
	if c.centred && c.Counted > 0 {
		for i := range mean {
			mean[i] = float32(float64(c.shift[i]) + c.linear[i]/float64(c.Counted))
		}
	}
	return mean
}
