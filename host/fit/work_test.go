package fit

import (
	"context"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/matrix"
)

// TestWork holds the work of fits to bounds: how often each row is read, multiply-adds of float32, and products with a
// covariance that is held. What a fit does is the same every time, so the bounds are what it did when they were set.
func TestWork(t *testing.T) {
	const n, d = 1500, 200
	for _, test := range []struct {
		name         string
		fit          func(context.Context, Source, Options) (*Result, error)
		o            Options
		reads        float64 // of each row
		multiplyAdds int64
		products     int
	}{
		{"covariance", fitExact, Options{Variance: 0.95, Center: true}, 1, 38_607_520, 0},
		{"covariance, all components", fitExact, Options{Components: d, Center: true}, 1, 44_469_152, 0},
		{"passes", fitRandomized, Options{Variance: 0.8, Center: true}, 3.47, 55_175_424, 0},
		{"passes, components", fitRandomized, Options{Components: 20, Center: true}, 3.34, 77_149_056, 0},
		{"held covariance", fitByCovariance, Options{Variance: 0.8, Center: true}, 1.14, 46_620_480, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			rows := &counted{Source: newSpectrum(n, d, power(1.5))}
			var work matrix.Work
			products := 0
			o := test.o
			o.Threads, o.Machine = 2, matrix.Counted(matrix.Plain, &work)
			o.Progress = func(pass string, done, total int) {
				if strings.HasSuffix(pass, "products") && done > 0 {
					products++
				}
			}
			r, err := test.fit(t.Context(), rows, o)
			if err != nil {
				t.Fatal(err)
			}
			if reads := float64(rows.rows.Load()) / n; reads > test.reads {
				t.Errorf("each row is read %v times; expected %v", reads, test.reads)
			}
			if got := work.MultiplyAdds(); got > test.multiplyAdds {
				t.Errorf("%d multiply-adds for %d components; expected up to %d", got, len(r.Variances), test.multiplyAdds)
			}
			if products > test.products {
				t.Errorf("%d products with the covariance; expected up to %d", products, test.products)
			}
		})
	}
}
