//go:build !wasip1

package kernel

// Product is rows of terms, and panels of as many terms to multiply them with: for hosts that want the tiles themselves.
// Value t of row i is X[i*XRow+t*XTerm]; value t of row j of panel p is Panels[p*PanelStride+t*PanelRows+j]. There is at
// least one row, one term and one panel.
type Product struct {
	X                  []float32
	XRow, XTerm        int
	Rows, Terms        int
	Panels             []float32
	PanelStride, Count int
}

// check panics where an operand is too short: what is in assembly would not.
func (p *Product) check() {
	_ = p.X[(p.Rows-1)*p.XRow+(p.Terms-1)*p.XTerm]
	_ = p.Panels[(p.Count-1)*p.PanelStride+p.Terms*PanelRows-1]
}

// Multiply writes float32 sums in ascending order of terms, never fused, or goes on from those that are there. That of row
// i with row j of panel p is dst[i*dstRow+p*dstPanel+j].
func (n *Native) Multiply(dst []float32, dstRow, dstPanel int, p *Product, add bool) {
	p.check()
	_ = dst[(p.Rows-1)*dstRow+(p.Count-1)*dstPanel+PanelRows-1]
	eachPanels(n.multiply, p.Count, func(first int, tile tileOf[float32, float32]) {
		tile(&dst[first*dstPanel], uintptr(wordSize*dstRow), uintptr(wordSize*dstPanel), &p.Panels[first*p.PanelStride], uintptr(wordSize*p.PanelStride),
			&p.X[0], uintptr(wordSize*p.XRow), uintptr(wordSize*p.XTerm), p.Rows, p.Terms, add)
	})
}

// AddWide adds such sums, begun at 0, to dst in float64.
func (n *Native) AddWide(dst []float64, dstRow, dstPanel int, p *Product) {
	p.check()
	_ = dst[(p.Rows-1)*dstRow+(p.Count-1)*dstPanel+PanelRows-1]
	eachPanels(n.project, p.Count, func(first int, tile tileOf[float64, float32]) {
		tile(&dst[first*dstPanel], uintptr(doubleSize*dstRow), uintptr(doubleSize*dstPanel), &p.Panels[first*p.PanelStride], uintptr(wordSize*p.PanelStride),
			&p.X[0], uintptr(wordSize*p.XRow), uintptr(wordSize*p.XTerm), p.Rows, p.Terms, true)
	})
}
