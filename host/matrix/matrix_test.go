package matrix

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
)

// machines are all there are. Every one of them has to pass what is here.
var machines = func() map[string]New {
	all := map[string]New{"wasm": Wasm, "plain": Plain}
	for _, n := range kernel.Natives() {
		all[n.Name()] = Native(n)
	}
	return all
}()

// sizes are on both sides of a panel's 16 columns, a lap's 32 rows and 256 terms.
var sizes = []struct{ rows, terms, columns int }{{1, 1, 1}, {2, 3, 15}, {31, 16, 16}, {33, 17, 17}, {5, 255, 33}, {64, 256, 2}, {7, 257, 40}, {70, 600, 31}}

func newMachine(t *testing.T, make New, bytes, lanes int) *Machine {
	t.Helper()
	m, err := make(t.Context(), bytes, lanes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// guards are values beside a matrix that no product may touch.
const guard = 12345

// operands are random matrices in a machine's memory, and what they hold.
type operands struct {
	x          Rows   // rows x terms
	transposed Rows   // terms x rows
	a          Panels // rows x terms
	b          Panels // terms x columns
	dst        Panels // rows x columns
	before     Rows   // guards, in front of dst
	after      Rows   // guards, behind dst
}

func newOperands(m *Machine, rows, terms, columns int) *operands {
	random := rand.New(rand.NewPCG(uint64(rows), uint64(terms*columns)))
	o := &operands{x: m.Rows(rows, terms), transposed: m.Rows(terms, rows), a: m.Panels(rows, terms), b: m.Panels(terms, columns)}
	o.before, o.dst, o.after = m.Rows(1, 16), m.Panels(rows, columns), m.Rows(1, 16)
	for r := range rows {
		for t := range terms {
			v := float32(random.NormFloat64())
			o.x.Row(r)[t], o.transposed.Row(t)[r], o.a.Data[o.a.Index(r, t)] = v, v, v
		}
	}
	for t := range terms {
		for c := range columns {
			o.b.Data[o.b.Index(t, c)] = float32(random.NormFloat64())
		}
	}
	for i := range o.before.Data {
		o.before.Data[i], o.after.Data[i] = guard, guard
	}
	return o
}

// bytes is the size of all of them, each rounded up.
func (o *operands) bytes(rows, terms, columns int) int {
	return RowBytes(rows, terms) + RowBytes(terms, rows) + PanelBytes(rows, terms) + PanelBytes(terms, columns) + PanelBytes(rows, columns) +
		2*RowBytes(1, 16) + 2*GramBytes(columns) + 9*64
}

// check compares dst with sums that start at a value: float32, in ascending order.
func (o *operands) check(t *testing.T, what string, start float32) {
	t.Helper()
	for r := range o.dst.Rows {
		for c := range o.dst.Columns {
			want := start
			for i := range o.b.Rows {
				want += float32(o.x.Row(r)[i] * o.b.Data[o.b.Index(i, c)])
			}
			if got := o.dst.Data[o.dst.Index(r, c)]; math.Float32bits(got) != math.Float32bits(want) {
				t.Fatalf("%s: (%d, %d) is %v; in ascending order it is %v", what, r, c, got, want)
			}
		}
	}
	for i := range o.before.Data {
		if o.before.Data[i] != guard || o.after.Data[i] != guard {
			t.Fatalf("%s: memory beside the product was written", what)
		}
	}
}

// TestProducts holds every product of every machine against plain sums, to the bit, on one lane and on several.
func TestProducts(t *testing.T) {
	for name, make := range machines {
		for _, s := range sizes {
			for _, lanes := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s/%dx%dx%d/%d", name, s.rows, s.terms, s.columns, lanes), func(t *testing.T) {
					m := newMachine(t, make, (*operands)(nil).bytes(s.rows, s.terms, s.columns), lanes)
					o := newOperands(m, s.rows, s.terms, s.columns)
					for i := range o.dst.Data {
						o.dst.Data[i] = 7 // which a product that is written, not added to, must not see
					}
					if err := m.Times(t.Context(), o.dst, o.x, o.b); err != nil {
						t.Fatal(err)
					}
					o.check(t, "Times", 0)
					if err := m.PanelsTimes(t.Context(), o.dst, o.a, o.b); err != nil {
						t.Fatal(err)
					}
					o.check(t, "PanelsTimes", 0)
					for i := range o.dst.Data {
						o.dst.Data[i] = 0.5
					}
					if err := m.AddTransposedTimes(t.Context(), o.dst, o.transposed, o.b); err != nil {
						t.Fatal(err)
					}
					o.check(t, "AddTransposedTimes", 0.5)
					checkGram(t, m, o.b)
				})
			}
		}
	}
}

func checkGram(t *testing.T, m *Machine, b Panels) {
	t.Helper()
	g, upper := m.Gram(b.Columns), m.Gram(b.Columns)
	if err := errors.Join(m.AddGram(t.Context(), g, b), m.AddUpperGram(t.Context(), upper, b)); err != nil {
		t.Fatal(err)
	}
	for i := range b.Columns {
		for j := range b.Columns {
			want := 0.0
			for from := 0; from < b.Rows; from += lapTerms {
				s := float32(0)
				for r := from; r < min(from+lapTerms, b.Rows); r++ {
					s += float32(b.Data[b.Index(r, i)] * b.Data[b.Index(r, j)])
				}
				want += float64(s)
			}
			if got := g.Data[i*g.Stride+j]; math.Float64bits(got) != math.Float64bits(want) {
				t.Fatalf("Gram (%d, %d) is %v; expected %v", i, j, got, want)
			}
			if got := upper.Data[i*upper.Stride+j]; j >= i && math.Float64bits(got) != math.Float64bits(want) {
				t.Fatalf("upper Gram (%d, %d) is %v; expected %v", i, j, got, want)
			}
		}
	}
}

// TestViews checks that the first columns of a matrix are those of the whole, and that a matrix of fewer rows has room in the same memory.
func TestViews(t *testing.T) {
	m := newMachine(t, Plain, PanelBytes(9, 40)+64, 1)
	p := m.Panels(9, 40)
	for i := range p.Data {
		p.Data[i] = float32(i)
	}
	if first := p.FirstColumns(20); first.Data[first.Index(8, 19)] != p.Data[p.Index(8, 19)] {
		t.Error("the first columns are others")
	}
	if fewer := p.OfRows(4); fewer.Index(3, 39) >= len(fewer.Data) || len(fewer.Data) > len(p.Data) {
		t.Error("a matrix of fewer rows has no room")
	}
}

// TestTooLarge asks for more than a Wasm memory can have.
func TestTooLarge(t *testing.T) {
	if m, err := Wasm(t.Context(), 5<<30, 1); err == nil {
		t.Errorf("there is a machine of 5 GiB: %v", m.Close(t.Context()))
	}
}
