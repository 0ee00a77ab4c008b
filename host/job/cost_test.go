package job

import (
	"math"
	"testing"
)

// TestDollars: sums made by hand, from the prices of docs/SCALE.md. A part costs an invocation, 3 messages, 7 gets, 3
// puts, and a list for every thousand parts of the job: 0.2 + 1.2 + 2.8 + 15 + 5 millionths of a dollar.
func TestDollars(t *testing.T) {
	for _, row := range []struct {
		gbSeconds float64
		paid, of  int
		millionth float64
	}{
		{0, 0, 40, 0},
		{0, 1, 1, 24.2},
		{0, 1, 1000, 24.2},
		{0, 1, 1001, 29.2},
		{0, 40, 40, 968},
		{1, 0, 40, 13.3334},
		{1000, 0, 40, 13_333.4},
		{60, 40, 40, 800.004 + 968},
		{100_000, 2500, 2500, 1_333_340 + 2500*(19.2+3*5)},
	} {
		if got := dollars(row.gbSeconds, row.paid, row.of) * 1e6; math.Abs(got-row.millionth) > 1e-9*(1+row.millionth) {
			t.Errorf("%v GB-seconds, %d of %d parts: %v millionths of a dollar, expected %v", row.gbSeconds, row.paid, row.of, got, row.millionth)
		}
	}
}
