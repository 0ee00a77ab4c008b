package matrix

import (
	"context"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// BenchmarkProducts runs the products in which fits spend their time, on all cores: 2,048 rows of 1,024 columns with 512 others, and with
// themselves, the upper triangle alone.
func BenchmarkProducts(b *testing.B) {
	const rows, terms, columns = 2048, 1024, 512
	random := rand.New(rand.NewPCG(14, 4))
	for _, name := range slices.Sorted(maps.Keys(machines)) {
		bytes := RowBytes(rows, terms) + PanelBytes(terms, columns) + PanelBytes(rows, columns) + PanelBytes(rows, terms) + GramBytes(terms) + 5*64
		m, err := machines[name](b.Context(), bytes, runtime.GOMAXPROCS(0))
		if err != nil {
			b.Fatal(err)
		}
		x, y, product, panels, gram := m.Rows(rows, terms), m.Panels(terms, columns), m.Panels(rows, columns), m.Panels(rows, terms), m.Gram(terms)
		for _, values := range [][]float32{x.Data, y.Data, panels.Data} {
			for i := range values {
				values[i] = float32(random.NormFloat64())
			}
		}
		run := func(what string, multiplyAdds float64, multiply func(ctx context.Context) error) {
			b.Run(what+"/"+name, func(b *testing.B) {
				for b.Loop() {
					if err := multiply(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(multiplyAdds*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gmadd/s")
				b.ReportMetric(0, "ns/op")
			})
		}
		run("rows", rows*terms*columns, func(ctx context.Context) error { return m.Times(ctx, product, x, y) })
		run("gram", rows*terms*(terms+1)/2, func(ctx context.Context) error { return m.AddUpperGram(ctx, gram, panels) })
		if err := m.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
