package matrix

import (
	"context"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/quarry-hn/quarry/host/internal/offheap"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

var _ New = Wasm

const (
	pageSize   = 1 << 16
	splatBytes = lapRows * lapTerms * 16
	sumBytes   = 128
)

// Wasm makes a machine whose products are those of kernel.wat, on wazero: every lane is an instance of the kernels, and all of them import one
// memory. Memory that is not touched costs nothing.
func Wasm(ctx context.Context, bytes, lanes int) (_ *Machine, err error) {
	pages := (bytes+lanes*(splatBytes+sumBytes)+pageSize-1)/pageSize + 1 // one for address 0, and for rounding up
	if pages > 1<<16 {
		return nil, fmt.Errorf("%d MiB of matrices were asked for; there is room for 4096", bytes>>20)
	}
	w := &wasmProducts{runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig())}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close(ctx))
		}
	}()
	guest, err := w.runtime.InstantiateWithConfig(offheap.WithAllocator(ctx), memoryModule(uint32(pages)), wazero.NewModuleConfig().WithName("guest"))
	if err != nil {
		return nil, err
	}
	w.memory, _ = guest.Memory().Read(0, guest.Memory().Size())
	if len(w.memory) == 0 { // a size of exactly 4 GiB is 0 in 32 bits
		w.memory, _ = guest.Memory().Read(0, math.MaxUint32)
	}
	compiled, err := w.runtime.CompileModule(ctx, kernel.Module)
	if err != nil {
		return nil, err
	}
	m := &Machine{products: w, lanes: lanes, memory: w.memory, used: 64} // address 0 is nobody's
	for range lanes {
		i, err := w.runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName(""))
		if err != nil {
			return nil, err
		}
		w.lanes = append(w.lanes, wasmLane{
			splat: i.ExportedFunction("kernel_splat"), multiply: i.ExportedFunction("kernel_multiply"), project: i.ExportedFunction("kernel_project"),
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

type wasmProducts struct {
	runtime wazero.Runtime
	memory  []byte
	lanes   []wasmLane
}

// wasmLane is an instance of the kernels with its scratch memory.
type wasmLane struct {
	splat, multiply, project api.Function
	splats, sums             uint64 // addresses
}

func (*wasmProducts) Name() string { return "wasm simd128" }

func (w *wasmProducts) Close(ctx context.Context) error {
	return w.runtime.Close(context.WithoutCancel(ctx))
}

// address is where a slice of the memory begins, as the kernels see it.
func address[T float32 | float64](w *wasmProducts, data []T) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(data))) - uintptr(unsafe.Pointer(unsafe.SliceData(w.memory))))
}

func (w *wasmProducts) Multiply(ctx context.Context, lane int, dst Panels, first int, x Strip, b Panels, from int, add bool) error {
	l := &w.lanes[lane]
	if _, err := l.splat.Call(ctx, l.splats, address(w, x.Data), uint64(4*x.RowStride), uint64(4*x.TermStride), uint64(x.Rows), uint64(x.Terms)); err != nil {
		return err
	}
	more := uint64(0)
	if add {
		more = 1
	}
	_, err := l.multiply.Call(ctx, address(w, dst.Data[dst.Index(first, 0):]), 4*panelColumns, uint64(4*panelColumns*dst.Rows),
		address(w, b.Data[b.Index(from, 0):]), uint64(4*panelColumns*b.Rows), uint64(b.count()), l.splats, uint64(x.Rows), uint64(x.Terms), more)
	return err
}

func (w *wasmProducts) AddGram(ctx context.Context, lane int, dst Gram, b Panels, panel, other, from, terms int) error {
	l := &w.lanes[lane]
	// The panel's columns are the rows of the product, and its rows are the terms.
	x := address(w, b.Data[b.Index(from, panel*panelColumns):])
	if _, err := l.splat.Call(ctx, l.splats, x, 4, 4*panelColumns, panelColumns, uint64(terms)); err != nil {
		return err
	}
	_, err := l.project.Call(ctx, address(w, dst.Data[panel*panelColumns*dst.Stride+other*panelColumns:]), uint64(8*dst.Stride),
		address(w, b.Data[b.Index(from, other*panelColumns):]), uint64(4*panelColumns*b.Rows), uint64(b.count()-other), l.splats, panelColumns, uint64(terms), l.sums)
	return err
}
