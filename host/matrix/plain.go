package matrix

import (
	"context"
	"unsafe"
)

var _ New = Plain

// Plain makes a machine whose products are loops in Go. They are several times as slow as those of Wasm, and run where wazero has no compiler.
func Plain(_ context.Context, bytes, lanes int) (*Machine, error) {
	words := make([]uint64, bytes/8+2*8)
	memory := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
	return &Machine{products: plainProducts{}, lanes: lanes, memory: memory, used: 64}, nil
}

type plainProducts struct{}

func (plainProducts) Name() string { return "go" }

func (plainProducts) Close(context.Context) error { return nil }

func (plainProducts) Multiply(_ context.Context, _ int, dst Panels, first int, x Strip, b Panels, from int, add bool) error {
	for panel := range b.count() {
		kept := b.Data[b.Index(from, panel*panelColumns):]
		for i := range x.Rows {
			to := (*[panelColumns]float32)(dst.Data[dst.Index(first+i, panel*panelColumns):])
			if !add {
				*to = [panelColumns]float32{}
			}
			addProducts(to, x.Data[i*x.RowStride:], x.TermStride, x.Terms, kept)
		}
	}
	return nil
}

// addProducts adds the products of terms values, stride apart, with as many rows of a panel to 16 sums.
func addProducts(sums *[panelColumns]float32, x []float32, stride, terms int, panel []float32) {
	for t := range terms {
		v, row := x[t*stride], (*[panelColumns]float32)(panel[t*panelColumns:])
		for j := range sums {
			sums[j] += float32(v * row[j])
		}
	}
}

func (plainProducts) AddGram(_ context.Context, _ int, dst Gram, b Panels, panel, other, from, terms int) error {
	x := b.Data[b.Index(from, panel*panelColumns):]
	for ; other < b.count(); other++ {
		kept := b.Data[b.Index(from, other*panelColumns):]
		for i := range panelColumns {
			var sums [panelColumns]float32
			addProducts(&sums, x[i:], panelColumns, terms, kept)
			to := dst.Data[(panel*panelColumns+i)*dst.Stride+other*panelColumns:][:panelColumns]
			for j, s := range sums {
				to[j] += float64(s)
			}
		}
	}
	return nil
}
