package matrix

import (
	"context"
	"sync/atomic"
)

// Work counts the multiply-adds of machines, whole panels of them.
type Work struct{ multiplyAdds atomic.Int64 }

// MultiplyAdds is how many there were.
func (w *Work) MultiplyAdds() int64 { return w.multiplyAdds.Load() }

// Counted makes machines as make does, and counts their work. Tests hold fits to bounds with it.
func Counted(make New, work *Work) New {
	return func(ctx context.Context, bytes, lanes int) (*Machine, error) {
		m, err := make(ctx, bytes, lanes)
		if err == nil {
			m.products = countedProducts{m.products, work}
		}
		return m, err
	}
}

type countedProducts struct {
	Products
	work *Work
}

func (p countedProducts) Multiply(ctx context.Context, lane int, dst Panels, first int, x Strip, b Panels, from int, add bool) error {
	p.work.multiplyAdds.Add(int64(x.Rows) * int64(x.Terms) * int64(b.count()*panelColumns))
	return p.Products.Multiply(ctx, lane, dst, first, x, b, from, add)
}

func (p countedProducts) AddGram(ctx context.Context, lane int, dst Gram, b Panels, panel, other, from, terms int) error {
	p.work.multiplyAdds.Add(panelColumns * int64(terms) * int64((b.count()-other)*panelColumns))
	return p.Products.AddGram(ctx, lane, dst, b, panel, other, from, terms)
}
