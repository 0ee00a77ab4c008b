package matrix

import (
	"context"

	"github.com/quarry-hn/quarry/host/internal/parallel"
)

// Update is a product to add to a matrix, from row First on: x += the transpose of U times V times x. V and U have as
// many rows, up to UpdateRows, and a column for each row of x from First on.
type Update struct {
	First int
	V, U  Rows
}

// UpdateRows is how many rows an update may have.
const UpdateRows = lapRows

// updatePanels is how many panels a lane updates at a time. With 2,000 rows they take a megabyte.
const updatePanels = 8

// UpdateBytes is the memory that updates take beside their matrices.
func UpdateBytes(lanes int) int { return lanes * PanelBytes(UpdateRows, updatePanels*panelColumns) }

// Update makes updates of x, one after another. Sums are float32.
func (m *Machine) Update(ctx context.Context, x Panels, updates []Update) error {
	for len(m.updates) < m.lanes {
		m.updates = append(m.updates, m.Panels(UpdateRows, updatePanels*panelColumns))
	}
	// As many panels at a time as leave every lane some.
	pieces := (x.count() + updatePanels - 1) / updatePanels
	pieces = (pieces + m.lanes - 1) / m.lanes * m.lanes
	some := (x.count() + pieces - 1) / pieces * panelColumns
	return parallel.Each(ctx, m.lanes, (x.Columns+some-1)/some, func(lane, piece int) error {
		first := piece * some
		part := Panels{Rows: x.Rows, Columns: min(some, x.Columns-first), Data: x.Data[x.Index(0, first):]}
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
	y := m.updates[lane].OfRows(u.V.Rows).FirstColumns(x.Columns)
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
