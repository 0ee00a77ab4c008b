package matrix

import (
	"context"

	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

// Update is a product to add to a matrix, from row First on: x += the transpose of U times V times x. V and U have as
// many rows, up to UpdateRows, and a column for each row of x from First on.
type Update struct {
	First int
	V, U  Rows
}

// UpdateRows is how many rows an update may have.
const UpdateRows = lapRows

// Update makes updates of x, one after another. Sums are float32.
func (m *Machine) Update(ctx context.Context, x Panels, updates []Update) error {
	m.takeScratch()
	// As many panels at a time as leave every lane some.
	pieces := (x.count() + scratchPanels - 1) / scratchPanels
	pieces = (pieces + m.lanes - 1) / m.lanes * m.lanes
	some := (x.count() + pieces - 1) / pieces
	return parallel.Each(ctx, m.lanes, (x.count()+some-1)/some, func(lane, piece int) error {
		part := x.part(piece*some, some)
		for _, u := range updates {
			if err := m.update(ctx, lane, part, u); err != nil {
				return err
			}
		}
		return nil
	})
}

// update makes one update of some panels.
func (m *Machine) update(ctx context.Context, lane int, x Panels, u Update) error {
	y := m.scratch[lane].OfRows(u.V.Rows).FirstColumns(x.Columns)
	for t := 0; t < u.V.Columns; t += lapTerms {
		strip := Strip{u.V.Data[t:], u.V.Stride, 1, u.V.Rows, min(lapTerms, u.V.Columns-t)}
		if err := m.products.Multiply(ctx, lane, y, 0, strip, x, u.First+t, t > 0); err != nil {
			return err
		}
	}
	for r := 0; r < u.U.Columns; r += lapRows {
		strip := Strip{u.U.Data[r:], 1, u.U.Stride, min(lapRows, u.U.Columns-r), u.U.Rows}
		if err := m.products.Multiply(ctx, lane, x, u.First+r, strip, y, 0, true); err != nil {
			return err
		}
	}
	return nil
}

// scratchPanels is how many panels of a product a lane has room for. With 2,000 rows, as many of the other operand take
// a megabyte.
const scratchPanels = 8

// ScratchBytes is the memory that Update and AddProduct take beside their matrices.
func ScratchBytes(lanes int) int { return lanes * PanelBytes(UpdateRows, scratchPanels*panelColumns) }

// takeScratch takes that memory when it is first needed.
func (m *Machine) takeScratch() {
	for len(m.scratch) < m.lanes {
		m.scratch = append(m.scratch, m.Panels(UpdateRows, scratchPanels*panelColumns))
	}
}

// part is some of the panels, from one on: a matrix that shares their memory.
func (p Panels) part(first, some int) Panels {
	from := first * panelColumns
	p.Columns = min(some*panelColumns, p.Columns-from)
	p.Data = p.Data[p.Rows*from:][:p.Rows*kernel.PackedRows(p.Columns)]
	return p
}
