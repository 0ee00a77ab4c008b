package fit

import (
	"fmt"
	"runtime"
	"testing"
)

// BenchmarkFit fits rows that are in memory, on all cores: by their covariance, and in a random subspace.
func BenchmarkFit(b *testing.B) {
	for _, shape := range []struct{ rows, columns int }{{8192, 1024}, {4096, 2304}} {
		s := newSpectrum(shape.rows, shape.columns, power(1.2))
		b.Run(fmt.Sprintf("%dx%d", shape.rows, shape.columns), func(b *testing.B) {
			for b.Loop() {
				r, err := Fit(b.Context(), s, Options{Variance: 0.95, Center: true, Threads: runtime.GOMAXPROCS(0)})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(r.Variances)), "components")
			}
		})
	}
}
