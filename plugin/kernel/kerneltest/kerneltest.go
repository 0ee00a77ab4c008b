// Package kerneltest is what every kernel.Kernel has to do.
//
// Input: a kernel. The suite runs all its loops and products against the plain definitions in this package, over
// lengths 0 to 130, at misalignments, with values of many magnitudes, NaN, infinities and denormals, on both sides of
// each block, and with guard values around everything that is written. A new kernel calls Run from its test.
package kerneltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
)

// longest is the greatest length that the loops are run over.
const longest = 130

// Run is the suite. The kernel is used by one goroutine at a time.
func Run(t *testing.T, k kernel.Kernel) {
	for _, part := range []struct {
		name string
		run  func(t *testing.T, k kernel.Kernel)
	}{
		{"Dot", testDot}, {"Norm", testNorm}, {"Scale", testScale}, {"Subtract", testSubtract}, {"Widen", testWiden},
		{"Quantize", testQuantize}, {"Above", testAbove}, {"Extend", testExtend}, {"Finite", testFinite},
		{"Screen", testScreen}, {"Project", testProject},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, k) })
	}
	if k.Name() == "" {
		t.Error("the kernel has no name")
	}
}

// eachLength runs a check for every length, at offsets of 0 to 7 values, with and without special values.
func eachLength(t *testing.T, check func(t *testing.T, r *rand.Rand, n, offset int, special bool)) {
	t.Helper()
	r := rand.New(rand.NewPCG(6, 6))
	for n := 0; n <= longest; n++ {
		for offset := range 8 {
			check(t, r, n, offset, (n+offset)%2 == 1)
		}
	}
}

func testDot(t *testing.T, k kernel.Kernel) {
	eachLength(t, func(t *testing.T, r *rand.Rand, n, offset int, special bool) {
		a, b := floats(r, n, offset, special), floats(r, n, 7-offset, special)
		if got, want := k.Dot(a.values, b.values), Dot(a.values, b.values); !sameBits64(got, want) {
			t.Fatalf("n %d, offset %d: got %v, the loop gives %v", n, offset, got, want)
		}
	})
}

func testNorm(t *testing.T, k kernel.Kernel) {
	for _, x := range []float32{0, 1, -3, math.SmallestNonzeroFloat32, math.MaxFloat32} {
		if got := kernel.Norm(k, []float32{x}); got != math.Abs(float64(x)) {
			t.Errorf("the norm of %v is %v", x, got)
		}
	}
}

func testScale(t *testing.T, k kernel.Kernel) {
	eachLength(t, func(t *testing.T, r *rand.Rand, n, offset int, special bool) {
		x, dst, by := floats(r, n, offset, special), floats(r, n, 7-offset, false), r.NormFloat64()*math.Exp2(float64(r.IntN(40)-20))
		want := make([]float32, n)
		for i, v := range x.values {
			want[i] = float32(float64(v) * by)
		}
		k.Scale(dst.values, x.values, by)
		dst.check(t, "n %d, offset %d", want, n, offset)
		k.Scale(x.values, x.values, by)
		x.check(t, "in place, n %d, offset %d", want, n, offset)
	})
}

func testSubtract(t *testing.T, k kernel.Kernel) {
	eachLength(t, func(t *testing.T, r *rand.Rand, n, offset int, special bool) {
		x, dst := floats(r, n, offset, special), floats(r, n, 7-offset, special)
		want, before := make([]float32, n), slices.Clone(x.values)
		for i, v := range x.values {
			want[i] = dst.values[i] - v
		}
		k.Subtract(dst.values, x.values)
		dst.check(t, "n %d, offset %d", want, n, offset)
		x.check(t, "x of n %d, offset %d", before, n, offset)
	})
}

// testWiden widens every binary16, and every length.
func testWiden(t *testing.T, k kernel.Kernel) {
	all := make([]uint16, 1<<16)
	for bits := range all {
		all[bits] = uint16(bits)
	}
	dst := guarded[float32](len(all), 1, nan32)
	k.Widen(dst.values, all)
	dst.check(t, "every binary16", Widen(all))
	eachLength(t, func(t *testing.T, r *rand.Rand, n, offset int, _ bool) {
		h, dst := guarded[uint16](n, offset, 0x7e01), guarded(n, 7-offset, nan32)
		for i := range h.values {
			h.values[i] = uint16(r.Uint32())
		}
		k.Widen(dst.values, h.values)
		dst.check(t, "n %d, offset %d", Widen(h.values), n, offset)
	})
}

func testQuantize(t *testing.T, k kernel.Kernel) {
	odd := []float32{1, -1, 1.0000002, -1.0000002, 1.001, -1.001, 0.5 / kernel.Unit, -0.5 / kernel.Unit, 1.5 / kernel.Unit, 0, math.SmallestNonzeroFloat32}
	eachLength(t, func(t *testing.T, r *rand.Rand, n, offset int, _ bool) {
		x, dst := guarded(n, offset, nan32), guarded(kernel.Words(n), 7-offset, guard32)
		for i := range x.values {
			if x.values[i] = float32(r.Float64()); r.IntN(2) == 0 {
				x.values[i] = -x.values[i]
			}
			if r.IntN(4) == 0 {
				x.values[i] = odd[r.IntN(len(odd))]
			}
		}
		k.Quantize(dst.values, x.values)
		dst.check(t, "n %d, offset %d", Quantize(x.values), n, offset)
	})
}

func testAbove(t *testing.T, k kernel.Kernel) {
	eachLength(t, func(t *testing.T, r *rand.Rand, n, offset int, special bool) {
		n &^= 3
		x, dst := words(r, n, offset), guarded(n, 7-offset, guard32)
		floor, tails, tail := floats(r, n, offset, special), floats(r, n, 7-offset, special), float32(r.Float64())
		for i := range floor.values {
			floor.values[i] *= float32(x.values[i])
			if r.IntN(8) == 0 { // exactly at the bound
				floor.values[i], tails.values[i] = float32(x.values[i]), 0
			}
		}
		var want []int32
		for i, v := range x.values {
			if float32(v) >= floor.values[i]-float32(tails.values[i]*tail) {
				want = append(want, int32(i))
			}
		}
		if got := k.Above(dst.values, x.values, floor.values, tails.values, tail); got != len(want) || !slices.Equal(dst.values[:got], want) {
			t.Fatalf("n %d, offset %d: %d numbers, %v; expected %v", n, offset, got, dst.values[:min(got, n)], want)
		}
		for i := len(want); i < n; i++ {
			dst.values[i] = guard32
		}
		dst.check(t, "n %d, offset %d", dst.values, n, offset)
	})
}

// testExtend checks sums and numbers, and that the sums of numbers that are not kept stay as they were.
func testExtend(t *testing.T, k kernel.Kernel) {
	const count = 12
	eachLength(t, func(t *testing.T, r *rand.Rand, n, offset int, special bool) {
		n &^= 3
		stride := n + r.IntN(3)
		x, rows, sums := words(r, n, offset), words(r, stride*(count-1)+n, 7-offset), words(r, count, offset) // the last row ends with x
		floor, tails, tail := floats(r, count, offset, special), floats(r, count, 7-offset, special), float32(r.Float64())
		kept := guarded(count, offset, guard32)
		list, want, wantSums := kept.values[:0], []int32{}, slices.Clone(sums.values)
		for i := range int32(count) {
			if i%5 == 2 {
				continue
			}
			list = append(list, i)
			wantSums[i] = Sum16(wantSums[i], x.values, rows.values[int(i)*stride:][:n])
			if r.IntN(4) > 0 { // at the bound, or next to it
				floor.values[i], tails.values[i] = float32(wantSums[i]), 0
				if r.IntN(2) == 0 {
					floor.values[i] = math.Nextafter32(floor.values[i], float32(math.Inf(1)))
				}
			}
			if float32(wantSums[i]) >= floor.values[i]-float32(tails.values[i]*tail) {
				want = append(want, i)
			}
		}
		if r.IntN(8) == 0 { // nothing is kept
			list, want, wantSums = list[:0], want[:0], slices.Clone(sums.values)
		}
		if got := k.Extend(list, sums.values, rows.values, stride, x.values, floor.values, tails.values, tail); got != len(want) || !slices.Equal(list[:got], want) {
			t.Fatalf("n %d, offset %d: leaves %d numbers of %v; expected %v", n, offset, got, list, want)
		}
		sums.check(t, "sums of n %d, offset %d", wantSums, n, offset)
		kept.guards(t, "n %d, offset %d", n, offset)
	})
}

func testFinite(t *testing.T, k kernel.Kernel) {
	eachLength(t, func(t *testing.T, r *rand.Rand, n, offset int, special bool) {
		x := floats(r, n, offset, special)
		want := !slices.ContainsFunc(x.values, func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) })
		if got := k.Finite(x.values); got != want {
			t.Fatalf("n %d, offset %d: finite is %v, expected %v", n, offset, got, want)
		}
		if n == 0 {
			return
		}
		Fill(r, x.values, false)
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			at := r.IntN(n)
			before := x.values[at]
			if x.values[at] = float32(bad); k.Finite(x.values) {
				t.Fatalf("n %d, offset %d: %v at %d is finite", n, offset, bad, at)
			}
			x.values[at] = before
		}
	})
}

// product is the shape of a matrix product.
type product struct {
	columns, kept, vectors, offset int
	special                        bool
}

func (p product) String() string {
	return fmt.Sprintf("%d columns, %d kept rows, %d vectors, offset %d", p.columns, p.kept, p.vectors, p.offset)
}

// products are all numbers of columns to 130 with small numbers of rows, and both sides of the blocks that kernels work
// in: 16 kept rows, 64 vectors, 256 columns, 512 and 1,024 kept rows.
func products() (all []product) {
	for k := 1; k <= longest; k++ {
		all = append(all, product{k, 1 + k%37, 1 + k%5, k % 8, k%2 == 1})
	}
	for i, p := range []product{
		{columns: 255, kept: 15, vectors: 31}, {columns: 256, kept: 16, vectors: 32}, {columns: 257, kept: 17, vectors: 33},
		{columns: 511, kept: 31, vectors: 63}, {columns: 512, kept: 32, vectors: 64}, {columns: 513, kept: 33, vectors: 65},
		{columns: 40, kept: 511, vectors: 3}, {columns: 33, kept: 512, vectors: 66}, {columns: 34, kept: 513, vectors: 2},
		{columns: 20, kept: 1023, vectors: 1}, {columns: 21, kept: 1024, vectors: 129}, {columns: 258, kept: 1025, vectors: 3},
		{columns: 700, kept: 19, vectors: 5},
	} {
		p.offset, p.special = i%8, i%2 == 1
		all = append(all, p)
	}
	return all
}

// testScreen checks every sum, and that kept rows past the last give 0.
func testScreen(t *testing.T, k kernel.Kernel) {
	r := rand.New(rand.NewPCG(3, 3))
	for i, p := range products() {
		rows, vectors := Words(r, p.kept*p.columns), words(r, p.vectors*p.columns, p.offset)
		packed := kernel.Pack(rows, p.kept, p.columns)
		first := kernel.PanelRows * r.IntN(kernel.PackedRows(p.kept)/kernel.PanelRows)
		n := kernel.PackedRows(p.kept) - first
		if i%3 == 0 {
			n = kernel.PanelRows * (1 + r.IntN(n/kernel.PanelRows))
		}
		words := 1 + r.IntN(p.columns)
		if i%2 == 0 {
			words = p.columns
		}
		want := make([]int32, p.vectors*n)
		for v := range p.vectors {
			for j := range min(n, p.kept-first) {
				want[v*n+j] = Sum16(0, vectors.values[v*p.columns:][:words], rows[(first+j)*p.columns:][:words])
			}
		}
		dst := guarded(p.vectors*n, 7-p.offset, guard32)
		k.Screen(dst.values, packed, first, n, vectors.values, words)
		dst.check(t, "%v; first %d, %d rows, %d words", want, p, first, n, words)
	}
}

func testProject(t *testing.T, k kernel.Kernel) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, p := range products() {
		rows, vectors := floats(r, p.kept*p.columns, p.offset, p.special), floats(r, p.vectors*p.columns, 7-p.offset, p.special)
		want := make([]float32, p.vectors*p.kept)
		for v := range p.vectors {
			for j := range p.kept {
				want[v*p.kept+j] = Project(vectors.values[v*p.columns:][:p.columns], rows.values[j*p.columns:][:p.columns])
			}
		}
		dst := guarded(p.vectors*p.kept, p.offset, nan32)
		k.Project(dst.values, kernel.Pack(rows.values, p.kept, p.columns), vectors.values)
		dst.check(t, "%v", want, p)
	}
}
