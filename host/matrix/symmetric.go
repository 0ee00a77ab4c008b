package matrix

import (
	"context"
	"unsafe"

	"github.com/quarry-hn/quarry/host/internal/parallel"
)

// Float32 makes the square the upper triangle of a symmetric matrix of float32 in the same memory: each value times a
// factor. SymmetricTimes takes it. It overwrites the square, of which it reads the upper triangle.
func (m *Machine) Float32(ctx context.Context, g Gram, by float64) (Rows, error) {
	all := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(g.Data))), 2*len(g.Data))
	// A row lies in the second half of that of float64: from the right, each value is read before it is overwritten, and
	// no memory is touched that was not. Of the blocks on the diagonal SymmetricTimes wants the lower triangle, too.
	to := Rows{g.Size, g.Size, 2 * g.Stride, all[g.Stride:]}
	err := m.laps(ctx, g.Size, func(_, first, n int) error {
		for i := first; i < first+n; i++ {
			for j := g.Size - 1; j >= i; j-- {
				to.Data[i*to.Stride+j] = float32(g.Data[i*g.Stride+j] * by)
			}
			for j := first; j < i; j++ {
				to.Data[i*to.Stride+j] = to.Data[j*to.Stride+i]
			}
		}
		return nil
	})
	return to, err
}

// SymmetricTimes writes c * b to dst. Of c, which is symmetric, it reads the upper triangle as Float32 leaves it.
func (m *Machine) SymmetricTimes(ctx context.Context, dst Panels, c Rows, b Panels) error {
	return m.laps(ctx, c.Rows, func(lane, first, n int) error {
		for t := 0; t < first; t += lapTerms {
			strip := Strip{c.Data[t*c.Stride+first:], 1, c.Stride, n, min(lapTerms, first-t)}
			if err := m.products.Multiply(ctx, lane, dst, first, strip, b, t, t > 0); err != nil {
				return err
			}
		}
		for t := first; t < c.Columns; t += lapTerms {
			strip := Strip{c.Data[first*c.Stride+t:], c.Stride, 1, n, min(lapTerms, c.Columns-t)}
			if err := m.products.Multiply(ctx, lane, dst, first, strip, b, t, t > 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// AddProduct adds the product of the transpose of a with b, which have as many columns, to dst: the upper triangle, and
// all of the blocks of 16 rows on its diagonal. Float32 sums over 256 rows are added in float64.
func (m *Machine) AddProduct(ctx context.Context, dst Gram, a, b Panels) error {
	m.takeScratch()
	return parallel.Each(ctx, m.lanes, a.count(), func(lane, panel int) error {
		for other := panel; other < b.count(); other += scratchPanels {
			for r := 0; r < b.Rows; r += lapTerms {
				// The columns of the panel are the rows of the product.
				strip := Strip{a.Data[a.Index(r, panel*panelColumns):], 1, panelColumns, panelColumns, min(lapTerms, b.Rows-r)}
				part := b.part(other, scratchPanels)
				sums := m.scratch[lane].OfRows(panelColumns).FirstColumns(part.Columns)
				if err := m.products.Multiply(ctx, lane, sums, 0, strip, part, r, false); err != nil {
					return err
				}
				sums.addTo(dst, panel, other)
			}
		}
		return nil
	})
}

// addTo adds the sums of 16 rows to those of a panel, in the columns of the panels other and after.
func (p Panels) addTo(dst Gram, panel, other int) {
	for i := range panelColumns {
		for c := range p.count() {
			to := dst.Data[(panel*panelColumns+i)*dst.Stride+(other+c)*panelColumns:][:panelColumns]
			for j, s := range p.Data[p.Index(i, c*panelColumns):][:panelColumns] {
				to[j] += float64(s)
			}
		}
	}
}
