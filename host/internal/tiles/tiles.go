// Package tiles multiplies matrices of float32 with the kernels of kernel.wat, on wazero.
//
// Matrices lie in one Wasm memory, which every worker's instance of the kernels imports, as panels: that is the layout the kernels read and
// write, so that a product is the next one's operand as it is. Package fit calls it. Every sum is formed in one order, whatever the
// number of workers.
package tiles

import (
	"context"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/quarry-hn/quarry/host/internal/offheap"
	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

const lanes = kernel.PanelRows

// A worker takes that many rows at a time, and sums that many products before it goes on to the next panel.
const (
	groupRows = 32
	chunk     = kernel.BlockColumns
)

// Machine is a memory and workers on it. Methods that multiply are for one goroutine at a time; they use all workers.
type Machine struct {
	runtime wazero.Runtime
	memory  []byte
	used    int
	workers []worker
}

// worker is an instance of the kernels with its scratch memory.
type worker struct {
	splat, screen, project api.Function
	splats, sums           uint64 // addresses
}

const (
	pageSize   = 1 << 16
	splatBytes = groupRows * chunk * 16
	sumBytes   = 128
)

// New returns a machine with room for matrices of that many bytes together, each rounded up to 64. Memory that is not touched
// costs nothing.
func New(ctx context.Context, matrices, workers int) (_ *Machine, err error) {
	pages := (matrices+workers*(splatBytes+sumBytes)+pageSize-1)/pageSize + 1 // one for address 0, and for rounding up
	if pages > 1<<16 {
		return nil, fmt.Errorf("%d MiB of matrices were asked for; there is room for 4096", matrices>>20)
	}
	m := &Machine{runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig())}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close(ctx))
		}
	}()
	guest, err := m.runtime.InstantiateWithConfig(offheap.WithAllocator(ctx), memoryModule(uint32(pages)), wazero.NewModuleConfig().WithName("guest"))
	if err != nil {
		return nil, err
	}
	m.memory, _ = guest.Memory().Read(0, guest.Memory().Size())
	if len(m.memory) == 0 { // a size of exactly 4 GiB is 0 in 32 bits
		m.memory, _ = guest.Memory().Read(0, math.MaxUint32)
	}
	m.used = 64 // address 0 is nobody's
	compiled, err := m.runtime.CompileModule(ctx, kernel.Module)
	if err != nil {
		return nil, err
	}
	for range workers {
		i, err := m.runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName(""))
		if err != nil {
			return nil, err
		}
		m.workers = append(m.workers, worker{
			splat: i.ExportedFunction("kernel_splat"), screen: i.ExportedFunction("kernel_multiply"), project: i.ExportedFunction("kernel_project"),
			splats: uint64(m.take(splatBytes)), sums: uint64(m.take(sumBytes)),
		})
	}
	return m, nil
}

// memoryModule is a module that is a memory of so many pages, exported as "memory".
func memoryModule(pages uint32) []byte {
	leb := func(b []byte, n uint32) []byte {
		for ; n >= 0x80; n >>= 7 {
			b = append(b, byte(n)|0x80)
		}
		return append(b, byte(n))
	}
	limits := leb(leb([]byte{1, 1}, pages), pages) // one memory, with a maximum
	module := append([]byte("\x00asm\x01\x00\x00\x00\x05"), byte(len(limits)))
	return append(append(module, limits...), "\x07\x0a\x01\x06memory\x02\x00"...)
}

// Close frees the machine; its matrices' memory must not be used any more.
func (m *Machine) Close(ctx context.Context) error {
	return m.runtime.Close(context.WithoutCancel(ctx))
}

func (m *Machine) take(bytes int) (address int) {
	address = m.used
	m.used += (bytes + 63) &^ 63
	if m.used > len(m.memory) {
		panic(fmt.Sprintf("tiles: %d bytes taken of %d", m.used, len(m.memory)))
	}
	return address
}

// Panels is a matrix of Rows x Columns, 16 columns in a panel: element (r, c) is Data[((c/16)*Rows+r)*16 + c%16].
type Panels struct {
	Rows, Columns int
	Data          []float32 // in the machine's memory; columns past the last are whatever the products of zeros are
	address       int
}

// PanelBytes is the size of a matrix in panels.
func PanelBytes(rows, columns int) int { return 4 * rows * kernel.PackedRows(columns) }

// Panels takes a matrix from the machine's memory, zeros at first.
func (m *Machine) Panels(rows, columns int) Panels {
	at := m.take(PanelBytes(rows, columns))
	return Panels{rows, columns, m.floats(at, rows*kernel.PackedRows(columns)), at}
}

// Take is the matrix's first columns: a matrix that shares its memory.
func (p Panels) Take(columns int) Panels {
	p.Columns, p.Data = columns, p.Data[:p.Rows*kernel.PackedRows(columns)]
	return p
}

// Head is a matrix of fewer rows in the same memory, whose elements lie elsewhere.
func (p Panels) Head(rows int) Panels {
	p.Rows, p.Data = rows, p.Data[:rows*kernel.PackedRows(p.Columns)]
	return p
}

// Index is where element (r, c) is in Data.
func (p Panels) Index(r, c int) int { return (c/lanes*p.Rows+r)*lanes + c%lanes }

func (p Panels) panels() int { return kernel.PackedRows(p.Columns) / lanes }

// Rows is a matrix in rows, Stride values apart.
type Rows struct {
	Rows, Columns, Stride int
	Data                  []float32
	address               int
}

// rowPadding keeps columns of a matrix from falling into the same few cache lines where its width is a power of two.
const rowPadding = lanes

// RowBytes is the size of a matrix in rows.
func RowBytes(rows, columns int) int { return 4 * rows * (columns + rowPadding) }

// Rows takes a matrix from the machine's memory, zeros at first.
func (m *Machine) Rows(rows, columns int) Rows {
	at, stride := m.take(RowBytes(rows, columns)), columns+rowPadding
	return Rows{rows, columns, stride, m.floats(at, rows*stride), at}
}

// Row is row r.
func (x Rows) Row(r int) []float32 { return x.Data[r*x.Stride:][:x.Columns] }

func (m *Machine) floats(at, n int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(&m.memory[at])), n) // 64-aligned; Wasm and this machine are little endian
}

// Times writes x * b to dst.
func (m *Machine) Times(ctx context.Context, dst Panels, x Rows, b Panels) error {
	return m.groups(ctx, x.Rows, func(w *worker, first, n int) error {
		for c := 0; c < x.Columns; c += chunk {
			columns := min(chunk, x.Columns-c)
			if err := w.multiply(ctx, dst, first, n, x.address+4*(first*x.Stride+c), 4*x.Stride, 4, columns, b, c, c > 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// AddTransposedTimes adds the product of the transpose of x with b to dst.
func (m *Machine) AddTransposedTimes(ctx context.Context, dst Panels, x Rows, b Panels) error {
	return m.groups(ctx, x.Columns, func(w *worker, first, n int) error {
		for r := 0; r < x.Rows; r += chunk {
			if err := w.multiply(ctx, dst, first, n, x.address+4*(r*x.Stride+first), 4, 4*x.Stride, min(chunk, x.Rows-r), b, r, true); err != nil {
				return err
			}
		}
		return nil
	})
}

// PanelsTimes writes a * b to dst.
func (m *Machine) PanelsTimes(ctx context.Context, dst, a, b Panels) error {
	return m.groups(ctx, a.Rows, func(w *worker, first, n int) error {
		for c := 0; c < a.Columns; c += lanes {
			if err := w.multiply(ctx, dst, first, n, a.address+4*a.Index(first, c), 4*lanes, 4, min(lanes, a.Columns-c), b, c, c > 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// multiply writes rows first to first+n-1 of dst, or adds to them: the product of n rows at address x with the columns of b, over its
// rows from row c on.
func (w *worker) multiply(ctx context.Context, dst Panels, first, n, x, row, column, columns int, b Panels, c int, more bool) error {
	if _, err := w.splat.Call(ctx, w.splats, uint64(x), uint64(row), uint64(column), uint64(n), uint64(columns)); err != nil {
		return err
	}
	add := uint64(0)
	if more {
		add = 1
	}
	_, err := w.screen.Call(ctx, uint64(dst.address+4*dst.Index(first, 0)), 4*lanes, uint64(4*lanes*dst.Rows),
		uint64(b.address+4*b.Index(c, 0)), uint64(4*lanes*b.Rows), uint64(b.panels()), w.splats, uint64(n), uint64(columns), add)
	return err
}

// Gram is a square of float64 in the machine's memory, rows Stride values apart.
type Gram struct {
	Size, Stride int
	Data         []float64
	address      int
}

// GramBytes is the size of the Gram matrix of n columns.
func GramBytes(n int) int { return 8 * kernel.PackedRows(n) * kernel.PackedRows(n) }

// Gram takes a square of n columns from the machine's memory, zeros at first.
func (m *Machine) Gram(n int) Gram {
	stride := kernel.PackedRows(n)
	at := m.take(GramBytes(n))
	return Gram{n, stride, unsafe.Slice((*float64)(unsafe.Pointer(&m.memory[at])), stride*stride), at}
}

// AddGram adds the product of the transpose of b with b: float32 sums over 256 rows, added in float64.
func (m *Machine) AddGram(ctx context.Context, dst Gram, b Panels) error {
	return parallel.Each(ctx, len(m.workers), b.panels(), func(i, panel int) error {
		w := &m.workers[i]
		for r := 0; r < b.Rows; r += chunk {
			n := min(chunk, b.Rows-r)
			if _, err := w.splat.Call(ctx, w.splats, uint64(b.address+4*b.Index(r, panel*lanes)), 4, 4*lanes, lanes, uint64(n)); err != nil {
				return err
			}
			_, err := w.project.Call(ctx, uint64(dst.address+8*panel*lanes*dst.Stride), uint64(8*dst.Stride),
				uint64(b.address+4*b.Index(r, 0)), uint64(4*lanes*b.Rows), uint64(b.panels()), w.splats, lanes, uint64(n), w.sums)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// groups hands rows to the workers, some at a time.
func (m *Machine) groups(ctx context.Context, rows int, work func(w *worker, first, n int) error) error {
	return parallel.Each(ctx, len(m.workers), (rows+groupRows-1)/groupRows, func(i, group int) error {
		first := group * groupRows
		return work(&m.workers[i], first, min(groupRows, rows-first))
	})
}

// Each runs pieces of other work on as many goroutines as there are workers.
func (m *Machine) Each(ctx context.Context, n int, work func(piece int) error) error {
	return parallel.Each(ctx, len(m.workers), n, func(_, piece int) error { return work(piece) })
}
