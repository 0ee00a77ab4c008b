package fit

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
)

// made is rows with a spectrum that falls as a power law, made as they are read.
type made struct{ rows, columns int }

func (m made) Rows() int    { return m.rows }
func (m made) Columns() int { return m.columns }
func (m made) Read(dst []float32, first, n int) ([]bool, error) {
	r := rand.New(rand.NewPCG(1, uint64(first)))
	for i := range n * m.columns {
		dst[i] = float32(r.NormFloat64() / math.Sqrt(float64(1+i%m.columns)))
	}
	return nil, nil
}

func BenchmarkFit1536(b *testing.B) {
	for b.Loop() {
		if _, err := Fit(context.Background(), made{4096, 1536}, Options{Variance: 0.95, Center: true, Threads: runtime.GOMAXPROCS(0)}); err != nil {
			b.Fatal(err)
		}
	}
}
