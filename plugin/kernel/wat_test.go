//go:build !wasip1

package kernel_test

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/kernel/kerneltest"
)

//go:embed scalar.wasm
var scalarModule []byte

// watModules are the two files of kernels that are linked into modules. They pass the same tests.
var watModules = map[string][]byte{"kernel.wat": kernel.Module, "scalar.wat": scalarModule}

// wat is kernel.wasm or scalar.wasm on wazero, with a memory of its own in the guest's place.
type wat struct {
	testing.TB
	functions api.Module
	memory    []byte
}

// pages of the memory: enough for the tests, and for the benchmarks.
const testPages, benchPages = 12, 112

func newWAT(t testing.TB, module []byte, pages byte) *wat {
	t.Helper()
	ctx := context.Background()
	runtime := wazero.NewRuntime(ctx)
	t.Cleanup(func() { _ = runtime.Close(ctx) })
	// A module that is a memory, exported.
	guest, err := runtime.InstantiateWithConfig(ctx, []byte("\x00asm\x01\x00\x00\x00\x05\x03\x01\x00"+string(rune(pages))+"\x07\x0a\x01\x06memory\x02\x00"),
		wazero.NewModuleConfig().WithName("guest"))
	if err != nil {
		t.Fatal(err)
	}
	w := &wat{TB: t}
	if w.functions, err = runtime.Instantiate(ctx, module); err != nil {
		t.Fatal(err)
	}
	w.memory, _ = guest.Memory().Read(0, guest.Memory().Size())
	return w
}

func (w *wat) call(name string, args ...uint64) uint64 {
	w.Helper()
	results, err := w.functions.ExportedFunction(name).Call(context.Background(), args...)
	if err != nil {
		w.Fatal(err)
	}
	if len(results) == 0 {
		return 0
	}
	return results[0]
}

// expect calls a function that is to write want at address to, and nothing else anywhere.
func (w *wat) expect(what string, to int, want []byte, name string, args ...uint64) {
	w.Helper()
	after := bytes.Clone(w.memory)
	copy(after[to:], want)
	w.call(name, args...)
	const page = 1 << 12
	for start := 0; start < len(after); start += page {
		if bytes.Equal(after[start:start+page], w.memory[start:start+page]) {
			continue
		}
		for i := start; i < start+page; i += 4 {
			// A NaN's bits are the machine's.
			if got, want := float32At(w.memory, i), float32At(after, i); got == got || want == want {
				if math.Float32bits(got) != math.Float32bits(want) {
					w.Fatalf("%s: %d bytes from the result's start: got %v, the loop gives %v", what, i-to, got, want)
				}
			}
		}
	}
}

func float32At(b []byte, at int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(b[at:]))
}

func put[T any](memory []byte, at int, values []T) {
	if _, err := binary.Encode(memory[at:], binary.LittleEndian, values); err != nil {
		panic(err)
	}
}

func raw[T any](values []T) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		panic(err)
	}
	return b
}

// eachLength runs a check on both modules for every length up to 130, at every misalignment, with and without special
// values; with -short at a quarter of the misalignments, others for each length.
func eachLength(t *testing.T, check func(w *wat, r *rand.Rand, n, a, b int, special bool)) {
	t.Parallel()
	step := 1
	if testing.Short() {
		step = 8
	}
	for name, module := range watModules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r := newWAT(t, module, testPages), rand.New(rand.NewPCG(6, 6))
			for n := 1; n <= 130; n++ {
				for shift := n / 2 % step; shift < 16; shift += step {
					check(w, r, n, 1<<12+shift, 1<<14+15-shift, (n+shift)%2 == 1)
				}
			}
		})
	}
}

func TestWATDot(t *testing.T) {
	eachLength(t, func(w *wat, r *rand.Rand, n, a, b int, special bool) {
		n8 := n &^ 7
		x, y := kerneltest.Floats(r, n8+8, special), kerneltest.Floats(r, n8+8, special)
		clear(x[n:])
		clear(y[n:])
		const lastA, lastB = 1 << 16, 1<<16 + 100
		put(w.memory, a, x[:n8])
		put(w.memory, b, y[:n8])
		put(w.memory, lastA, x[n8:])
		put(w.memory, lastB, y[n8:])
		got, want := math.Float64frombits(w.call("kernel_dot", uint64(a), uint64(b), lastA, lastB, uint64(n8))), kerneltest.Dot(x[:n], y[:n])
		if math.Float64bits(got) != math.Float64bits(want) && (got == got || want == want) {
			w.Fatalf("n %d: got %v, the loop gives %v", n, got, want)
		}
	})
}

func TestWATVectors(t *testing.T) {
	eachLength(t, func(w *wat, r *rand.Rand, n, a, b int, special bool) {
		n = (n + 3) &^ 3
		dst, x := kerneltest.Floats(r, n, special), kerneltest.Floats(r, n, special)
		put(w.memory, a, dst)
		put(w.memory, b, x)
		kernel.Plain.Subtract(dst, x)
		w.expect("subtract", a, raw(dst), "kernel_subtract", uint64(a), uint64(b), uint64(n))
		tails, tail, sums := kerneltest.Floats(r, n, special), float32(r.Float64()), kerneltest.Words(r, n)
		put(w.memory, 1<<17, tails)
		put(w.memory, a, sums)
		floor := kerneltest.Floats(r, n, special)
		for i := range floor {
			floor[i] *= float32(sums[i])
		}
		put(w.memory, b, floor)
		want := make([]int32, n)
		want = want[:kernel.Plain.Above(want, sums, floor, tails, tail)]
		clear(w.memory[1<<18 : 1<<18+4*n])
		w.expect("above", 1<<18, raw(want), "kernel_above", 1<<18, uint64(a), uint64(b), 1<<17, uint64(n), uint64(math.Float32bits(tail)))
		put(w.memory, a, dst)
		put(w.memory, b, x)
		checkExtend(w, r, n, a+1<<15, b+1<<18)
		units := make([]float32, (n+7)&^7)
		for i := range units {
			units[i] = float32(2.00001*r.Float64() - 1.000005)
		}
		put(w.memory, b, units)
		quantized := make([]int32, len(units)/2)
		kernel.Plain.Quantize(quantized, units)
		w.expect("quantize", a, raw(quantized), "kernel_quantize", uint64(a), uint64(b), uint64(len(units)))
		put(w.memory, a, dst)
		put(w.memory, b, x)
		by := r.NormFloat64()
		kernel.Plain.Scale(dst, x, by)
		w.expect("scale", a, raw(dst), "kernel_scale", uint64(a), uint64(b), uint64(n), math.Float64bits(by))
		if got, want := w.call("kernel_finite", uint64(b), uint64(n)) == 1, kernel.Plain.Finite(x); got != want {
			w.Fatalf("n %d: finite is %v, the loop says %v", n, got, want)
		}
		h := make([]uint16, n)
		for i := range h {
			h[i] = uint16(r.Uint32())
		}
		put(w.memory, b, h)
		kernel.Plain.Widen(dst, h)
		w.expect("widen", a, raw(dst), "kernel_widen", uint64(a), uint64(b), uint64(n))
	})
}

// checkExtend compares sums, and the numbers that are left, with those of Plain.
func checkExtend(w *wat, r *rand.Rand, n, x, rows int) {
	w.Helper()
	const kept, sums, floors, tails, count = 1 << 17, 1<<17 + 1<<10, 1<<17 + 1<<11, 1<<17 + 1<<12, 12
	stride := n + r.IntN(3)
	xs, ys, sum := kerneltest.Words(r, n), kerneltest.Words(r, stride*count), kerneltest.Words(r, count)
	floor, tail, by := make([]float32, count), kerneltest.Floats(r, count, false), float32(r.Float64())
	var list []int32
	for i := range int32(count) {
		floor[i] = float32(kerneltest.Sum16(sum[i], xs, ys[int(i)*stride:][:n])) + float32(r.IntN(3)-1)
		if i%5 != 2 {
			list = append(list, i)
		}
	}
	put(w.memory, x, xs)
	put(w.memory, rows, ys)
	put(w.memory, sums, sum)
	put(w.memory, floors, floor)
	put(w.memory, tails, tail)
	put(w.memory, kept, list)
	got := w.call("kernel_extend", kept, uint64(len(list)), sums, uint64(rows), uint64(4*stride), uint64(x), uint64(4*n), floors, tails, uint64(math.Float32bits(by)))
	want := list[:kernel.Plain.Extend(list, sum, ys, stride, xs, floor, tail, by)]
	if int(got) != len(want) || !bytes.Equal(w.memory[kept:kept+4*len(want)], raw(want)) || !bytes.Equal(w.memory[sums:sums+4*count], raw(sum)) {
		w.Fatalf("extend by %d words leaves %d numbers, expected %v", n, got, want)
	}
}

// TestWATWidens checks every binary16.
func TestWATWidens(t *testing.T) {
	h := make([]uint16, 1<<16)
	for bits := range h {
		h[bits] = uint16(bits)
	}
	const from, to = 1 << 12, 1 << 19
	for _, module := range watModules {
		w := newWAT(t, module, testPages)
		put(w.memory, from, h)
		w.expect("widen", to, raw(kerneltest.Widen(h)), "kernel_widen", to, from, uint64(len(h)))
	}
}

// tiles are what the two matrix products are handed: rows that stream, splatted by kernel_splat, and panels.
type tiles struct {
	rows, panels, columns int
	x, kept               []float32
	splats, packed        int // addresses
	stride                int // of the panels
}

// eachTiles runs a check over all numbers of columns up to 130, small numbers of rows and panels, and misalignments.
func eachTiles(t *testing.T, check func(w *wat, r *rand.Rand, m tiles)) {
	eachLength(t, func(w *wat, r *rand.Rand, n, a, b int, special bool) {
		if !testing.Short() && (a+n/2)%4 != 0 { // a quarter of the misalignments for each length
			return
		}
		m := tiles{rows: 1 + n%5, panels: 1 + n%3, columns: n, splats: 1<<17 + a, packed: 1<<18 + b}
		m.x, m.kept = kerneltest.Floats(r, m.rows*n, special), kerneltest.Floats(r, kernel.PanelRows*m.panels*n, special)
		put(w.memory, a, m.x)
		splats := make([]float32, 0, 8*n*((m.rows+1)/2))
		for i := 0; i < m.rows; i += 2 {
			for c := range n {
				u, v := m.x[i*n+c], m.x[min(i+1, m.rows-1)*n+c]
				splats = append(splats, u, u, u, u, v, v, v, v)
			}
		}
		w.expect("splat", m.splats, raw(splats), "kernel_splat", uint64(m.splats), uint64(a), uint64(4*n), 4, uint64(m.rows), uint64(n))
		// The same rows, lying as columns.
		across := make([]float32, len(m.x))
		for i := range m.rows {
			for c := range n {
				across[c*m.rows+i] = m.x[i*n+c]
			}
		}
		put(w.memory, a, across)
		clear(w.memory[m.splats:][:4*len(splats)])
		w.expect("splat of columns", m.splats, raw(splats), "kernel_splat", uint64(m.splats), uint64(a), 4, uint64(4*m.rows), uint64(m.rows), uint64(n))
		// Panels lie further apart than they are long, as where only a block of their columns is taken.
		m.stride = 4*kernel.PanelRows*n + 4*(n%7)
		packed := kernel.Pack(m.kept, kernel.PanelRows*m.panels, n).Data
		for p := range m.panels {
			put(w.memory, m.packed+p*m.stride, packed[p*kernel.PanelRows*n:(p+1)*kernel.PanelRows*n])
		}
		check(w, r, m)
	})
}

// sum is one element of the product, going on from s.
func (m tiles) sum(s float32, i, j int) float32 {
	for c := range m.columns {
		s += float32(m.x[i*m.columns+c] * m.kept[j*m.columns+c])
	}
	return s
}

func TestWATMultiply(t *testing.T) {
	eachTiles(t, func(w *wat, r *rand.Rand, m tiles) {
		if w.functions.ExportedFunction("kernel_multiply") == nil { // scalar.wat is for the module alone, and fits call it
			return
		}
		const to = 1 << 19
		width := kernel.PanelRows*m.panels + m.columns%3 // rows of sums lie further apart than they are long
		row, panel := 4*width, 4*kernel.PanelRows
		at := func(i, j int) int { return i*width + j }
		if m.columns%2 == 1 { // panels of sums
			row, panel = 4*kernel.PanelRows, 4*kernel.PanelRows*m.rows
			at = func(i, j int) int { return (j/kernel.PanelRows*m.rows+i)*kernel.PanelRows + j%kernel.PanelRows }
		}
		for more := range 2 {
			sums := kerneltest.Floats(r, m.rows*width, false)
			put(w.memory, to, sums)
			for i := range m.rows {
				for j := range kernel.PanelRows * m.panels {
					from := float32(0)
					if more == 1 {
						from = sums[at(i, j)]
					}
					sums[at(i, j)] = m.sum(from, i, j)
				}
			}
			w.expect("multiply", to, raw(sums), "kernel_multiply", to, uint64(row), uint64(panel), uint64(m.packed), uint64(m.stride), uint64(m.panels),
				uint64(m.splats), uint64(m.rows), uint64(m.columns), uint64(more))
		}
	})
}

func TestWATScreen16(t *testing.T) {
	eachTiles(t, func(w *wat, r *rand.Rand, m tiles) {
		const to = 1 << 19
		x, kept := kerneltest.Words(r, len(m.x)), kerneltest.Words(r, len(m.kept))
		put(w.memory, 1<<15, x)
		w.call("kernel_splat", uint64(m.splats), 1<<15, uint64(4*m.columns), 4, uint64(m.rows), uint64(m.columns))
		packed := kernel.Pack(kept, kernel.PanelRows*m.panels, m.columns).Data
		for p := range m.panels {
			put(w.memory, m.packed+p*m.stride, packed[p*kernel.PanelRows*m.columns:(p+1)*kernel.PanelRows*m.columns])
		}
		width := kernel.PanelRows*m.panels + m.columns%3
		for more := range int32(2) {
			sums := kerneltest.Words(r, m.rows*width)
			put(w.memory, to, sums)
			for i := range m.rows {
				for j := range kernel.PanelRows * m.panels {
					sums[i*width+j] = kerneltest.Sum16(more*sums[i*width+j], x[i*m.columns:(i+1)*m.columns], kept[j*m.columns:(j+1)*m.columns])
				}
			}
			after := bytes.Clone(w.memory)
			copy(after[to:], raw(sums))
			w.call("kernel_screen16", to, uint64(4*width), 4*kernel.PanelRows, uint64(m.packed), uint64(m.stride), uint64(m.panels),
				uint64(m.splats), uint64(m.rows), uint64(m.columns), uint64(more))
			if !bytes.Equal(after, w.memory) {
				w.Fatalf("%d rows, %d panels, %d columns: the sums, or what lies beside them, differ", m.rows, m.panels, m.columns)
			}
		}
	})
}

func TestWATProject(t *testing.T) {
	eachTiles(t, func(w *wat, r *rand.Rand, m tiles) {
		const to, scratch = 1 << 19, 1<<19 + 1<<16 + 4
		width := kernel.PanelRows*m.panels + m.columns%3
		totals := make([]float64, m.rows*width)
		for i := range totals {
			totals[i] = r.NormFloat64()
		}
		put(w.memory, to, totals)
		for i := range m.rows {
			for j := range kernel.PanelRows * m.panels {
				totals[i*width+j] += float64(m.sum(0, i, j))
			}
		}
		after := bytes.Clone(w.memory)
		w.call("kernel_project", to, uint64(8*width), uint64(m.packed), uint64(m.stride), uint64(m.panels),
			uint64(m.splats), uint64(m.rows), uint64(m.columns), scratch)
		for i, want := range totals {
			got := math.Float64frombits(binary.LittleEndian.Uint64(w.memory[to+8*i:]))
			if math.Float64bits(got) != math.Float64bits(want) && (got == got || want == want) {
				w.Fatalf("rows %d, panels %d, columns %d: total %d is %v, the loop gives %v", m.rows, m.panels, m.columns, i, got, want)
			}
		}
		copy(w.memory[to:], after[to:to+8*len(totals)])
		copy(w.memory[scratch:], after[scratch:scratch+8*kernel.PanelRows])
		if !bytes.Equal(after, w.memory) {
			w.Fatalf("columns %d: something was written outside totals and scratch", m.columns)
		}
	})
}
