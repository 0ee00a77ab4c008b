// Package matrix multiplies the matrices of a fit: float32, with sums in one order whatever the number of threads.
//
// Matrices lie in the memory of a Machine, most of them as panels: that is the layout the products read and write, so that a product is the
// next one's operand as it is. Package fit calls it. Products is what a kernel has to give: those of kernel.wat on wazero (Wasm) and loops in
// Go (Plain) are here, and a native kernel would be one more; matrix_test.go is what each of them has to pass.
package matrix

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/quarry-hn/quarry/host/internal/offheap"
	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

// panelColumns is how many columns a panel has.
const panelColumns = kernel.PanelRows

// What a lane takes at a time: so many rows of a product, and so many terms of its sums before it goes on to the next panel.
const (
	lapRows  = 32
	lapTerms = kernel.BlockColumns
)

// Products are the inner loops. A lane is a thread's own share of them: calls for different lanes may be made at the same time, and write to
// different places.
type Products interface {
	// Name says whose loops they are, for reports.
	Name() string
	// Multiply adds products to sums, term by term in ascending order, a multiplication and then an addition, never fused:
	//
	//	for i := range x.Rows {
	//		for j := range b.Columns { // and the rest of the last panel
	//			if !add {
	//				dst[first+i][j] = 0
	//			}
	//			for t := range x.Terms {
	//				dst[first+i][j] += float32(x[i][t] * b[from+t][j])
	//			}
	//		}
	//	}
	Multiply(ctx context.Context, lane int, dst Panels, first int, x Strip, b Panels, from int, add bool) error
	// AddGram adds to 16 rows of dst, those of a panel of b, in the columns of the panels other and after: float32 sums, as in Multiply, over
	// rows from to from+terms-1 of b, each then added in float64.
	//
	//	dst[16*panel+i][j] += float64(sum over t of float32(b[from+t][16*panel+i] * b[from+t][j])) // j from 16*other on
	AddGram(ctx context.Context, lane int, dst Gram, b Panels, panel, other, from, terms int) error
	// Close frees what the products hold, the machine's memory too.
	Close(ctx context.Context) error
}

// Machine is memory for matrices, and products on some lanes. Methods that multiply are for one goroutine at a time; they use all lanes.
type Machine struct {
	products Products
	lanes    int
	memory   []byte
	used     int
	scratch  []Panels // of each lane, for Update and AddProduct
}

// New makes a machine with room for matrices of so many bytes together, each rounded up to 64, and so many lanes. Wasm and Plain are what
// there is to be given.
type New func(ctx context.Context, bytes, lanes int) (*Machine, error)

// Close frees the machine. Its matrices must not be used any more.
func (m *Machine) Close(ctx context.Context) error { return m.products.Close(ctx) }

// Name says whose loops the machine multiplies with.
func (m *Machine) Name() string { return m.products.Name() }

func (m *Machine) take(bytes int) (address int) {
	address = m.used
	m.used += (bytes + 63) &^ 63
	if m.used > len(m.memory) {
		panic(fmt.Sprintf("matrix: %d bytes taken of %d", m.used, len(m.memory)))
	}
	return address
}

func (m *Machine) floats(n int) []float32 {
	at := m.take(4 * n)
	x := unsafe.Slice((*float32)(unsafe.Pointer(&m.memory[at])), n) // 64-aligned; Wasm and the machines that run it are little endian
	offheap.Populate(x)
	return x
}

// Panels is a matrix of Rows x Columns, 16 columns in a panel: element (r, c) is Data[((c/16)*Rows+r)*16 + c%16]. Columns past the last are
// whatever the products of zeros are.
type Panels struct {
	Rows, Columns int
	Data          []float32
}

// PanelBytes is the size of a matrix in panels.
func PanelBytes(rows, columns int) int { return 4 * rows * kernel.PackedRows(columns) }

// Panels takes a matrix from the machine's memory, zeros at first.
func (m *Machine) Panels(rows, columns int) Panels {
	return Panels{rows, columns, m.floats(rows * kernel.PackedRows(columns))}
}

// FirstColumns is the matrix's first columns: a matrix that shares its memory.
func (p Panels) FirstColumns(n int) Panels {
	p.Columns, p.Data = n, p.Data[:p.Rows*kernel.PackedRows(n)]
	return p
}

// OfRows is a matrix of fewer rows in the same memory, whose elements lie elsewhere.
func (p Panels) OfRows(n int) Panels {
	p.Rows, p.Data = n, p.Data[:n*kernel.PackedRows(p.Columns)]
	return p
}

// Index is where element (r, c) is in Data.
func (p Panels) Index(r, c int) int { return (c/panelColumns*p.Rows+r)*panelColumns + c%panelColumns }

// count is how many panels there are.
func (p Panels) count() int { return kernel.PackedRows(p.Columns) / panelColumns }

// Rows is a matrix in rows, Stride values apart.
type Rows struct {
	Rows, Columns, Stride int
	Data                  []float32
}

// rowPadding keeps columns of a matrix from falling into the same few cache lines where its width is a power of two.
const rowPadding = panelColumns

// RowBytes is the size of a matrix in rows.
func RowBytes(rows, columns int) int { return 4 * rows * (columns + rowPadding) }

// Rows takes a matrix from the machine's memory, zeros at first.
func (m *Machine) Rows(rows, columns int) Rows {
	stride := columns + rowPadding
	return Rows{rows, columns, stride, m.floats(rows * stride)}
}

// Row is row r.
func (x Rows) Row(r int) []float32 { return x.Data[r*x.Stride:][:x.Columns] }

// Gram is a square of float64, rows Stride values apart.
type Gram struct {
	Size, Stride int
	Data         []float64
}

// GramBytes is the size of the Gram matrix of n columns.
func GramBytes(n int) int { return 8 * kernel.PackedRows(n) * kernel.PackedRows(n) }

// Gram takes a square of n columns from the machine's memory, zeros at first.
func (m *Machine) Gram(n int) Gram {
	stride := kernel.PackedRows(n)
	at := m.take(GramBytes(n))
	g := Gram{n, stride, unsafe.Slice((*float64)(unsafe.Pointer(&m.memory[at])), stride*stride)}
	for r := range stride {
		offheap.Populate(g.Data[r*stride+r : (r+1)*stride]) // the upper triangle; what lies below is not touched
	}
	return g
}

// FirstColumns is what the square has of the first n columns: a matrix of n rows or somewhat more that shares its memory.
func (g Gram) FirstColumns(n int) Gram {
	g.Size, g.Data = n, g.Data[:kernel.PackedRows(n)*g.Stride]
	return g
}

// Strip is some rows of an operand, and some of its columns: the terms of sums. Value t of row i is Data[i*RowStride + t*TermStride].
type Strip struct {
	Data                  []float32
	RowStride, TermStride int
	Rows, Terms           int
}

// Times writes x * b to dst.
func (m *Machine) Times(ctx context.Context, dst Panels, x Rows, b Panels) error {
	return m.laps(ctx, x.Rows, func(lane, first, n int) error {
		for c := 0; c < x.Columns; c += lapTerms {
			strip := Strip{x.Data[first*x.Stride+c:], x.Stride, 1, n, min(lapTerms, x.Columns-c)}
			if err := m.products.Multiply(ctx, lane, dst, first, strip, b, c, c > 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// AddTransposedTimes adds the product of the transpose of x with b to dst.
func (m *Machine) AddTransposedTimes(ctx context.Context, dst Panels, x Rows, b Panels) error {
	return m.laps(ctx, x.Columns, func(lane, first, n int) error {
		for r := 0; r < x.Rows; r += lapTerms {
			strip := Strip{x.Data[r*x.Stride+first:], 1, x.Stride, n, min(lapTerms, x.Rows-r)}
			if err := m.products.Multiply(ctx, lane, dst, first, strip, b, r, true); err != nil {
				return err
			}
		}
		return nil
	})
}

// PanelsTimes writes a * b to dst.
func (m *Machine) PanelsTimes(ctx context.Context, dst, a, b Panels) error {
	return m.laps(ctx, a.Rows, func(lane, first, n int) error {
		for c := 0; c < a.Columns; c += panelColumns {
			strip := Strip{a.Data[a.Index(first, c):], panelColumns, 1, n, min(panelColumns, a.Columns-c)}
			if err := m.products.Multiply(ctx, lane, dst, first, strip, b, c, c > 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// AddUpperGram adds the product of the transpose of b with b to dst: the upper triangle, with its diagonal. Float32 sums
// over 256 rows are added in float64. Below the diagonal, dst has some of the products.
func (m *Machine) AddUpperGram(ctx context.Context, dst Gram, b Panels) error {
	return parallel.Each(ctx, m.lanes, b.count(), func(lane, panel int) error {
		for r := 0; r < b.Rows; r += lapTerms {
			if err := m.products.AddGram(ctx, lane, dst, b, panel, panel, r, min(lapTerms, b.Rows-r)); err != nil {
				return err
			}
		}
		return nil
	})
}

// laps hands rows to the lanes, some at a time.
func (m *Machine) laps(ctx context.Context, rows int, work func(lane, first, n int) error) error {
	return parallel.Each(ctx, m.lanes, (rows+lapRows-1)/lapRows, func(lane, lap int) error {
		first := lap * lapRows
		return work(lane, first, min(lapRows, rows-first))
	})
}

// Each runs pieces of other work on as many goroutines as there are lanes.
func (m *Machine) Each(ctx context.Context, n int, work func(piece int) error) error {
	return parallel.Each(ctx, m.lanes, n, func(_, piece int) error { return work(piece) })
}
