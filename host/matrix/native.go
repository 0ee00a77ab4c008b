package matrix

import (
	"context"

	"github.com/quarry-hn/quarry/host/internal/offheap"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

// Native makes what makes machines whose products are a native kernel's.
func Native(n *kernel.Native) New {
	return func(_ context.Context, bytes, lanes int) (*Machine, error) {
		memory, free := offheap.Allocate(bytes + 2*64)
		return &Machine{products: &nativeProducts{n, free}, lanes: lanes, memory: memory, used: 64}, nil
	}
}

type nativeProducts struct {
	kernel *kernel.Native
	free   func()
}

func (n *nativeProducts) Name() string { return n.kernel.Name() }

func (n *nativeProducts) Close(context.Context) error {
	n.free()
	return nil
}

func (n *nativeProducts) Multiply(_ context.Context, _ int, dst Panels, first int, x Strip, b Panels, from int, add bool) error {
	n.kernel.Multiply(dst.Data[dst.Index(first, 0):], panelColumns, panelColumns*dst.Rows, &kernel.Product{
		X: x.Data, XRow: x.RowStride, XTerm: x.TermStride, Rows: x.Rows, Terms: x.Terms,
		Panels: b.Data[b.Index(from, 0):], PanelStride: panelColumns * b.Rows, Count: b.count(),
	}, add)
	return nil
}

func (n *nativeProducts) AddGram(_ context.Context, _ int, dst Gram, b Panels, panel, other, from, terms int) error {
	n.kernel.AddWide(dst.Data[panel*panelColumns*dst.Stride+other*panelColumns:], dst.Stride, panelColumns, &kernel.Product{
		X: b.Data[b.Index(from, panel*panelColumns):], XRow: 1, XTerm: panelColumns, Rows: panelColumns, Terms: terms, // the panel's columns are the rows
		Panels: b.Data[b.Index(from, other*panelColumns):], PanelStride: panelColumns * b.Rows, Count: b.count() - other,
	})
	return nil
}
