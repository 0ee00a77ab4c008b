package kernel

import (
	"context"
	_ "embed"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
)

//go:embed testdata/peak.wasm
var peakModule []byte

// BenchmarkKernels runs the products as a scan and a projection do, on one core: 64 vectors against 512 kept rows of 654 columns, and 64 vectors of
// 1,536 columns to 654, splatting included. share-of-peak is of a loop that only multiplies and adds in registers, run right before.
func BenchmarkKernels(b *testing.B) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, product := range []struct {
		name                   string
		rows, columns, vectors int
		plain                  func(dst []float32, kept Packed, vectors []float32)
		wat                    func(w *wat, rows, columns, vectors int)
	}{
		{"screen", 512, 654, 64, func(dst []float32, kept Packed, v []float32) { Plain.Screen(dst, kept, 0, kept.Rows, v, kept.Columns) }, watScreen},
		{"project", 654, 1536, 64, func(dst []float32, kept Packed, v []float32) { Plain.Project(dst, kept, v) }, watProject},
	} {
		rows, vectors := made(r, product.rows*product.columns, false), made(r, product.vectors*product.columns, false)
		kept := Pack(rows, product.rows, product.columns)
		work := float64(product.rows) * float64(product.columns) * float64(product.vectors)
		report := func(b *testing.B, peak float64) {
			speed := work * float64(b.N) / b.Elapsed().Seconds() / 1e9
			b.ReportMetric(speed, "Gmadd/s")
			b.ReportMetric(speed/peak, "share-of-peak")
			b.ReportMetric(0, "ns/op")
		}
		b.Run(product.name+"/wat", func(b *testing.B) {
			w := newWAT(b, benchPages)
			put(w.memory, vectorsAt, vectors)
			put(w.memory, keptAt, kept.Data)
			peak := peakSpeed(b)
			for b.Loop() {
				product.wat(w, PackedRows(product.rows), product.columns, product.vectors)
			}
			report(b, peak)
		})
		b.Run(product.name+"/go", func(b *testing.B) {
			peak := peakSpeed(b)
			dst := make([]float32, product.vectors*PackedRows(product.rows))
			for b.Loop() {
				product.plain(dst, kept, vectors)
			}
			report(b, peak)
		})
	}
}

// Addresses of the benchmark's matrices.
const (
	scratchAt = 1 << 12
	splatsAt  = 1 << 13
	sumsAt    = 1 << 19
	vectorsAt = 1 << 20
	keptAt    = 1 << 21
)

func eachBlock(w *wat, columns, vectors int, f func(c, n int)) {
	for c := 0; c < columns; c += BlockColumns {
		n := min(BlockColumns, columns-c)
		w.call("kernel_splat", splatsAt, uint64(vectorsAt+4*c), uint64(4*columns), 4, uint64(vectors), uint64(n))
		f(c, n)
	}
}

func watScreen(w *wat, rows, columns, vectors int) {
	eachBlock(w, columns, vectors, func(c, n int) {
		w.call("kernel_screen", sumsAt, uint64(4*rows), 4*PanelRows, uint64(keptAt+4*PanelRows*c), uint64(4*PanelRows*columns), uint64(rows/PanelRows),
			splatsAt, uint64(vectors), uint64(n), uint64(min(c, 1)))
	})
}

func watProject(w *wat, rows, columns, vectors int) {
	eachBlock(w, columns, vectors, func(c, n int) {
		w.call("kernel_project", sumsAt, uint64(8*rows), uint64(keptAt+4*PanelRows*c), uint64(4*PanelRows*columns), uint64(rows/PanelRows),
			splatsAt, uint64(vectors), uint64(n), scratchAt)
	})
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
