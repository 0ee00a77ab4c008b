package engine

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// The benchmarks run one instance, on one core. What is a multiply-add or a byte is counted as if nothing was left out.
const (
	benchColumns    = 1536 // of the vectors as they lie in a file, float16
	benchComponents = 654
	benchRows       = 256 // of a call
)

// eachEngine runs a benchmark with an instance of every engine that is meant to be fast.
func eachEngine(b *testing.B, run func(b *testing.B, c Client)) {
	for _, e := range engines(b) {
		if e.Name() != InterpreterName {
			b.Run(e.Name(), func(b *testing.B) { run(b, Client{open(b, e)}) })
		}
	}
}

func benchError(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// reportSpeed reports billions of multiply-adds a second, and that of a run instead of its nanoseconds.
func reportSpeed(b *testing.B, perRun float64) {
	b.ReportMetric(perRun*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gmadd/s")
	b.ReportMetric(0, "ns/op")
}

// falling is rows whose columns vary less and less, as projected vectors do.
func falling(r *rand.Rand, rows, columns int) []float32 {
	x := random(r, rows*columns)
	for i := range x {
		c := float64(i % columns)
		x[i] *= float32(math.Exp(-c/512) / math.Sqrt(c+6))
	}
	return x
}

// BenchmarkScan mines 8,192 projected documents for 1,024 pairs, from begin to the part, by a rule whose floor is known and by one that has to
// find its own.
func BenchmarkScan(b *testing.B) {
	const documents, pairs = 8192, 1024
	r := rand.New(rand.NewPCG(14, 1))
	x, q, p := falling(r, documents, benchComponents), falling(r, pairs, benchComponents), falling(r, pairs, benchComponents)
	indices := mine.Indices{PairQuery: make([]int64, pairs), PairPositive: make([]int64, pairs)}
	for i := range pairs {
		indices.PairQuery[i], indices.PairPositive[i] = int64(i), int64(i)
		for c := range benchComponents {
			p[i*benchComponents+c] += q[i*benchComponents+c] // about half of the query's direction
		}
	}
	eachEngine(b, func(b *testing.B, client Client) {
		for _, name := range []string{"dual", "perc"} {
			rule, err := mine.NewRule(name, nil)
			benchError(b, err)
			begin := &message.Begin{Queries: message.Vectors{Rows: pairs, Width: benchComponents, Projected: q},
				Positives: message.Vectors{Rows: pairs, Width: benchComponents, Projected: p}, Indices: indices}
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					benchError(b, client.Begin(b.Context(), begin.Tensors(), &mine.Options{Rule: rule, Top: message.DefaultTop}))
					for first := 0; first < documents; first += benchRows {
						push := &message.Push{First: int64(first), Documents: message.Vectors{Rows: benchRows, Width: benchComponents,
							Projected: x[first*benchComponents : (first+benchRows)*benchComponents]}}
						tensors, options := push.Encode()
						_, err := SendTensors(b.Context(), client, abi.OpPush, tensors, options)
						benchError(b, err)
					}
					_, err := client.Finish(b.Context())
					benchError(b, err)
				}
				reportSpeed(b, documents*pairs*benchComponents)
			})
		}
	})
}

// BenchmarkProject projects float16 vectors of 1,536 columns onto 654 components.
func BenchmarkProject(b *testing.B) {
	r := rand.New(rand.NewPCG(14, 2))
	p := &pca.Projection{Models: []pca.Model{{Name: "m", Width: benchColumns, Weight: 1}}, Normalize: true, Center: true, PCA: "components=" + strconv.Itoa(benchComponents),
		FitOn: "docs", Rows: 9, Mean: random(r, benchColumns), Components: random(r, benchComponents*benchColumns), Variances: make([]float64, benchComponents),
		TotalVariance: 2, CapturedVariance: 1}
	vectors := halves(r, benchRows)
	eachEngine(b, func(b *testing.B, client Client) {
		loadBench(b, client, p)
		m := &message.Transform{Documents: rawBench(benchRows)}
		for b.Loop() {
			_, err := client.Transform(b.Context(), m, func(_ string, data []byte) error { copy(data, vectors); return nil })
			benchError(b, err)
		}
		reportSpeed(b, benchRows*benchColumns*benchComponents)
	})
}

// BenchmarkPush takes float16 vectors of 1,536 columns in without projecting them: an instance copies, checks, fuses and measures them, and holds
// them against one query.
func BenchmarkPush(b *testing.B) {
	const rows = 16 * benchRows
	r := rand.New(rand.NewPCG(14, 3))
	p := &pca.Projection{Models: []pca.Model{{Name: "m", Width: benchColumns, Weight: 1}}, Normalize: true, PCA: "none", FitOn: "docs"}
	vectors := halves(r, benchRows)
	rule, err := mine.NewRule("dual", nil)
	benchError(b, err)
	one := message.Vectors{Rows: 1, Width: benchColumns, Projected: random(r, benchColumns)}
	begin := &message.Begin{Queries: one, Positives: one, Indices: mine.Indices{PairQuery: []int64{0}, PairPositive: []int64{0}}}
	eachEngine(b, func(b *testing.B, client Client) {
		loadBench(b, client, p)
		b.SetBytes(rows * benchColumns * 2)
		for b.Loop() {
			benchError(b, client.Begin(b.Context(), begin.Tensors(), &mine.Options{Rule: rule, Top: message.DefaultTop}))
			for first := 0; first < rows; first += benchRows {
				m := &message.Push{First: int64(first), Documents: rawBench(benchRows)}
				benchError(b, client.Push(b.Context(), m, func(_ string, data []byte) error { copy(data, vectors); return nil }))
			}
			_, err := client.Finish(b.Context())
			benchError(b, err)
		}
	})
}

func loadBench(b *testing.B, client Client, p *pca.Projection) {
	b.Helper()
	file, err := p.Marshal()
	benchError(b, err)
	benchError(b, client.LoadProjection(b.Context(), file))
}

// rawBench is the layout of rows of the benchmarks' one model.
func rawBench(rows int) message.Vectors {
	return message.Vectors{Rows: rows, Raw: []message.Raw{{Model: "m", Width: benchColumns, Raw: pca.Raw{DType: safetensors.F16}}}}
}

// halves is rows of float16 between -2 and 2.
func halves(r *rand.Rand, rows int) []byte {
	x := make([]byte, rows*benchColumns*2)
	for i := 0; i < len(x); i += 2 {
		x[i], x[i+1] = byte(r.Uint32()), byte(r.IntN(0x40)|r.IntN(2)<<7)
	}
	return x
}
