//go:build !wasip1

package kernel_test

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/kernel/kerneltest"
)

//go:embed testdata/peak.wasm
var peakModule []byte

// BenchmarkKernels runs the products on one core, splatting included: the scan's, 64 vectors against 512 kept rows of
// 654 columns in 16 bits; the projection's, 64 vectors of 1,536 columns to 654; and the fit's, which has the
// projection's tile. share-of-peak is of a loop on registers alone, run right before: of float32 in Wasm, or of a native
// kernel's own instructions.
func BenchmarkKernels(b *testing.B) {
	r := rand.New(rand.NewPCG(4, 4))
	x, kept := kerneltest.Floats(r, benchVectors*1536, false), kernel.Pack(kerneltest.Floats(r, 654*1536, false), 654, 1536)
	x16, kept16 := kerneltest.Words(r, benchVectors*kernel.Words(654)), kernel.Pack(kerneltest.Words(r, 512*kernel.Words(654)), 512, kernel.Words(654))
	dst, dst16 := make([]float32, benchVectors*654), make([]int32, benchVectors*512)

	speed(b, "screen/wat", 512*654, peakSpeed, putBench(b, x16, kept16.Data), func(w *wat) { w.blocks(512, kernel.Words(654), w.product("kernel_screen16")) })
	speed(b, "project/wat", 654*1536, peakSpeed, putBench(b, x, kept.Data), func(w *wat) { w.blocks(654, 1536, w.project) })
	speed(b, "multiply/wat", 654*1536, peakSpeed, putBench(b, x, kept.Data), func(w *wat) { w.blocks(654, 1536, w.product("kernel_multiply")) })
	native := func(k kernel.Kernel, peak func(words bool) func(*testing.B) float64) {
		speed(b, "screen/"+k.Name(), 512*654, peak(true), nil, func(*wat) { k.Screen(dst16, kept16, 0, 512, x16, kernel.Words(654)) })
		speed(b, "screen-prefix/"+k.Name(), 512*128, peak(true), nil, func(*wat) { k.Screen(dst16, kept16, 0, 512, x16, kernel.Words(128)) })
		speed(b, "project/"+k.Name(), 654*1536, peak(false), nil, func(*wat) { k.Project(dst, kept, x) })
	}
	for _, n := range kernel.Natives() {
		native(n.New(), func(words bool) func(*testing.B) float64 {
			return func(*testing.B) float64 { return kerneltest.Peak(n.Name(), words) }
		})
	}
	native(kernel.Plain, func(bool) func(*testing.B) float64 { return peakSpeed })
}

// BenchmarkSurvivors runs what follows the first pass of screening on one core: the look at its sums, of which one in ten
// is above its bound, and one by one the steps of the survivors, of which one in ten stays.
func BenchmarkSurvivors(b *testing.B) {
	const queries, columns, repeats = 512, 654, 64
	r, stride := rand.New(rand.NewPCG(4, 4)), (kernel.Words(columns)+3)&^3
	rows, x := kerneltest.Words(r, queries*stride), kerneltest.Words(r, stride)
	floor, tails := make([]float32, queries*repeats), make([]float32, queries*repeats)
	sums, above := make([]int32, queries*repeats), make([]int32, queries*repeats)
	for i := range floor {
		if floor[i] = float32(math.Inf(1)); i%10 == 0 {
			floor[i] = float32(math.Inf(-1))
		}
	}
	var list []int32 // the same queries again and again, so that a call takes long
	for i := range int32(len(sums)) {
		list = append(list, i*10%queries)
	}
	const rowsAt, xAt, sumsAt, floorAt, tailsAt, keptAt = 1 << 21, 1 << 12, 1 << 14, 1 << 18, 1 << 19, 1 << 20
	w := putBench(b, x, rows)
	put(w.memory, xAt, x)
	put(w.memory, sumsAt, sums)
	put(w.memory, floorAt, floor)
	put(w.memory, tailsAt, tails)
	each := func(name string, run func()) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				run()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(len(list))/float64(b.N), "ns/each")
			b.ReportMetric(0, "ns/op")
		})
	}
	const long = 1 << 13
	put(w.memory, rowsAt, kerneltest.Floats(r, 2*long, false))
	each("dot/wat", func() {
		for range 4 { // of as many columns as there are numbers in the list
			w.call("kernel_dot", rowsAt, rowsAt+4*long, rowsAt, rowsAt, long)
		}
	})
	each("above/wat", func() { w.call("kernel_above", keptAt, sumsAt, floorAt, tailsAt, uint64(len(sums)), 0) })
	kernels := []kernel.Kernel{kernel.Plain}
	for _, n := range kernel.Natives() {
		kernels = append(kernels, n.New())
	}
	for _, k := range kernels {
		each("above/"+k.Name(), func() { k.Above(above, sums, floor, tails, 0) })
	}
	for _, columns := range []int{96, 464} {
		words := kernel.Words(columns)
		each(fmt.Sprintf("extend by %d columns/wat", columns), func() {
			put(w.memory, keptAt, list)
			w.call("kernel_extend", keptAt, uint64(len(list)), sumsAt, rowsAt, uint64(4*stride), xAt, uint64(4*words), floorAt, tailsAt, 0)
		})
		for _, k := range kernels {
			each(fmt.Sprintf("extend by %d columns/%s", columns, k.Name()), func() {
				copy(above, list)
				k.Extend(above, sums, rows, stride, x[:words], floor, tails, 0)
			})
		}
	}
}

const benchVectors = 64

// speed reports multiply-adds a second, perVector of them for each vector.
func speed(b *testing.B, name string, perVector int, peakOf func(*testing.B) float64, w *wat, run func(w *wat)) {
	b.Run(name, func(b *testing.B) {
		peak := peakOf(b)
		for b.Loop() {
			run(w)
		}
		speed := float64(perVector) * benchVectors * float64(b.N) / b.Elapsed().Seconds() / 1e9
		b.ReportMetric(speed, "Gmadd/s")
		b.ReportMetric(speed/peak, "share-of-peak")
		b.ReportMetric(0, "ns/op")
	})
}

func putBench[T float32 | int32](b *testing.B, x, kept []T) *wat {
	w := newWAT(b, kernel.Module, benchPages)
	put(w.memory, vectorsAt, x)
	put(w.memory, keptAt, kept)
	return w
}

// Addresses of the benchmark's matrices.
const (
	scratchAt = 1 << 12
	splatsAt  = 1 << 13
	sumsAt    = 1 << 19
	vectorsAt = 1 << 20
	keptAt    = 1 << 21
)

// blocks splats a block of columns at a time, and multiplies it with panels of kept rows.
func (w *wat) blocks(rows, columns int, multiply func(rows, panels, columns, c, n int)) {
	for c := 0; c < columns; c += kernel.BlockColumns {
		n := min(kernel.BlockColumns, columns-c)
		w.call("kernel_splat", splatsAt, uint64(vectorsAt+4*c), uint64(4*columns), 4, benchVectors, uint64(n))
		multiply(kernel.PackedRows(rows), kernel.PackedRows(rows)/kernel.PanelRows, columns, c, n)
	}
}

func (w *wat) product(name string) func(rows, panels, columns, c, n int) {
	return func(rows, panels, columns, c, n int) {
		w.call(name, sumsAt, uint64(4*rows), 4*kernel.PanelRows, uint64(keptAt+4*kernel.PanelRows*c), uint64(4*kernel.PanelRows*columns), uint64(panels),
			splatsAt, benchVectors, uint64(n), uint64(min(c, 1)))
	}
}

func (w *wat) project(rows, panels, columns, c, n int) {
	w.call("kernel_project", sumsAt, uint64(8*rows), uint64(keptAt+4*kernel.PanelRows*c), uint64(4*kernel.PanelRows*columns), uint64(panels),
		splatsAt, benchVectors, uint64(n), scratchAt)
}

// peakSpeed is the best of some runs of the loop, in billions of multiply-adds a second.
func peakSpeed(b *testing.B) (best float64) {
	ctx := context.Background()
	runtime := wazero.NewRuntime(ctx)
	defer runtime.Close(ctx)
	module, err := runtime.Instantiate(ctx, peakModule)
	if err != nil {
		b.Fatal(err)
	}
	const turns, perTurn = 1_000_000, 16 * 4
	for range 5 {
		began := time.Now()
		if _, err := module.ExportedFunction("peak").Call(ctx, turns); err != nil {
			b.Fatal(err)
		}
		best = max(best, turns*perTurn/time.Since(began).Seconds()/1e9)
	}
	return best
}
