package mine

import "testing"

// TestBoundIsNotFused takes a product that is just below 1 and rounds to it.
func TestBoundIsNotFused(t *testing.T) {
	for _, e := range []float64{0x1p-27, 0x1p-30, 0x1p-40} {
		if got := (Bound{1 + e, -1}).At(1 - e); got != 0 {
			t.Errorf("(1 + %v) * (1 - %v) - 1 is %v: fused", e, e, got)
		}
	}
}
