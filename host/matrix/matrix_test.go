package matrix

import (
	"context"
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
		2*RowBytes(1, 16) + 4*GramBytes(columns) + GramBytes(terms) + PanelBytes(terms, columns) + ScratchBytes(3) + 4*RowBytes(UpdateRows, terms) + 24*64
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
					checkSymmetric(t, m, o.b)
					checkUpdate(t, m, o)
				})
			}
		}
	}
}

func checkGram(t *testing.T, m *Machine, b Panels) {
	t.Helper()
	g := m.Gram(b.Columns)
	if err := m.AddUpperGram(t.Context(), g, b); err != nil {
		t.Fatal(err)
	}
	for i := range b.Columns {
		for j := i; j < b.Columns; j++ {
			want := blockSums(b.Rows, func(r int) float32 { return float32(b.Data[b.Index(r, i)] * b.Data[b.Index(r, j)]) })
			if got := g.Data[i*g.Stride+j]; math.Float64bits(got) != math.Float64bits(want) {
				t.Fatalf("Gram (%d, %d) is %v; expected %v", i, j, got, want)
			}
		}
	}
}

// checkSymmetric multiplies b with a symmetric matrix of which there is the upper triangle, and with what comes of that.
func checkSymmetric(t *testing.T, m *Machine, b Panels) {
	t.Helper()
	n := b.Rows
	random := rand.New(rand.NewPCG(uint64(n), 5))
	g, image := m.Gram(n), m.Panels(n, b.Columns)
	full := make([]float32, n*n)
	for i := range n {
		for j := range n {
			v := random.NormFloat64()
			g.Data[i*g.Stride+j] = v
			if j >= i {
				full[i*n+j], full[j*n+i] = float32(v*3), float32(v*3)
			}
		}
	}
	c, err := m.Float32(t.Context(), g, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SymmetricTimes(t.Context(), image, c, b); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		for j := range b.Columns {
			want := float32(0)
			for r := range n {
				want += float32(full[i*n+r] * b.Data[b.Index(r, j)])
			}
			if got := image.Data[image.Index(i, j)]; math.Float32bits(got) != math.Float32bits(want) {
				t.Fatalf("SymmetricTimes (%d, %d) is %v; in ascending order it is %v", i, j, got, want)
			}
		}
	}
	product := m.Gram(b.Columns)
	if err := m.AddProduct(t.Context(), product, b, image); err != nil {
		t.Fatal(err)
	}
	for i := range b.Columns {
		for j := i; j < b.Columns; j++ {
			want := blockSums(n, func(r int) float32 { return float32(b.Data[b.Index(r, i)] * image.Data[image.Index(r, j)]) })
			if got := product.Data[i*product.Stride+j]; math.Float64bits(got) != math.Float64bits(want) {
				t.Fatalf("AddProduct (%d, %d) is %v; expected %v", i, j, got, want)
			}
		}
	}
}

// blockSums are sums of float32 over 256 terms, added in float64.
func blockSums(terms int, term func(i int) float32) float64 {
	sum := 0.0
	for from := 0; from < terms; from += lapTerms {
		s := float32(0)
		for i := from; i < min(from+lapTerms, terms); i++ {
			s += term(i)
		}
		sum += float64(s)
	}
	return sum
}

// checkUpdate makes two updates of b, one of all rows and one of all but the first.
func checkUpdate(t *testing.T, m *Machine, o *operands) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(o.b.Rows), 6))
	var updates []Update
	for first := range min(2, o.b.Rows) {
		u := Update{First: first, V: m.Rows(UpdateRows-first, o.b.Rows-first), U: m.Rows(UpdateRows-first, o.b.Rows-first)}
		for _, x := range []Rows{u.V, u.U} {
			for r := range x.Rows {
				for c := range x.Columns {
					x.Row(r)[c] = float32(random.NormFloat64())
				}
			}
		}
		updates = append(updates, u)
	}
	want := make([][]float32, o.b.Columns)
	for c := range want {
		x := make([]float32, o.b.Rows)
		for r := range x {
			x[r] = o.b.Data[o.b.Index(r, c)]
		}
		for _, u := range updates {
			y := make([]float32, u.V.Rows)
			for i := range y {
				for r, v := range u.V.Row(i) {
					y[i] += float32(v * x[u.First+r])
				}
			}
			for r := range u.U.Columns {
				for i, y := range y {
					x[u.First+r] += float32(u.U.Row(i)[r] * y)
				}
			}
		}
		want[c] = x
	}
	if err := m.Update(t.Context(), o.b, updates); err != nil {
		t.Fatal(err)
	}
	for c, x := range want {
		for r, want := range x {
			if got := o.b.Data[o.b.Index(r, c)]; math.Float32bits(got) != math.Float32bits(want) {
				t.Fatalf("Update (%d, %d) is %v; expected %v", r, c, got, want)
			}
		}
	}
}

// TestCounted counts the work of products whose panels are not full.
func TestCounted(t *testing.T) {
	var work Work
	m := newMachine(t, Counted(Plain, &work), 1<<20, 2)
	x, b, dst := m.Rows(33, 300), m.Panels(300, 17), m.Panels(33, 17)
	if err := m.Times(t.Context(), dst, x, b); err != nil || work.MultiplyAdds() != 33*300*32 {
		t.Errorf("%d multiply-adds: %v", work.MultiplyAdds(), err)
	}
	// Two panels of 16: that of the diagonal and the one right of it, and the last alone.
	if err := m.AddUpperGram(t.Context(), m.Gram(17), b); err != nil || work.MultiplyAdds() != 33*300*32+16*300*(32+16) {
		t.Errorf("%d multiply-adds: %v", work.MultiplyAdds(), err)
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
