package fit

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/quarry-hn/quarry/host/matrix"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

// ways are the two ways of a wide fit.
var ways = map[string]func(context.Context, Source, Options) (*Result, error){"passes": fitRandomized, "covariance": fitByCovariance}

// fitRandomized makes passes over the rows, and fitByCovariance holds the covariance.
func fitRandomized(ctx context.Context, rows Source, o Options) (*Result, error) {
	return fitSubspace(ctx, rows, o, func(int, int, int) bool { return false })
}

func fitByCovariance(ctx context.Context, rows Source, o Options) (*Result, error) {
	return fitSubspace(ctx, rows, o, func(int, int, int) bool { return true })
}

// TestHoldsCovariance has shapes on both sides of the choice.
func TestHoldsCovariance(t *testing.T) {
	for _, test := range []struct {
		rows, columns, subspace int
		want                    bool
	}{
		{36871, 2049, 800, true},
		{36871, 5632, 950, true},
		{36871, 12800, 950, false},
		{36871, 5632, 200, false},
		{3000, 5632, 800, false},
	} {
		if got := holdsCovariance(test.rows, test.columns, test.subspace); got != test.want {
			t.Errorf("%d rows of %d columns, a subspace of %d: %v", test.rows, test.columns, test.subspace, got)
		}
	}
}

// TestHeldWhereThereIsRoom fits with the memory that a held covariance takes, and with a byte less, which makes passes.
// It goes on with less memory, too, and starts anew.
func TestHeldWhereThereIsRoom(t *testing.T) {
	s := newSpectrum(1000, 150, power(1.5))
	o := Options{Variance: 0.8, Center: true, Threads: 2, Machine: matrix.Plain}
	enough := subspaceMemory(150, 150, o) + heldMemory(150)
	reads := map[int64]int64{}
	for _, memory := range []int64{enough, enough - 1} {
		o.Memory = memory
		_, reads[memory] = interrupted(t, fitByCovariance, s, o, 0)
	}
	if reads[enough] >= 2000 || reads[enough-1] < 3000 {
		t.Errorf("rows that are read: %v", reads)
	}
	o.Memory = enough
	o.Keep = &Keep{File: filepath.Join(t.TempDir(), "fit"), Of: "this", Resume: true, Rows: 1}
	interrupted(t, fitByCovariance, s, o, 2)
	if !o.Keep.at(stageCovariance) {
		t.Fatal("the covariance is not kept")
	}
	o.Memory, o.Keep = enough-1, &Keep{File: o.Keep.File, Of: "this", Resume: true}
	if _, got := interrupted(t, fitByCovariance, s, o, 0); got != reads[enough-1] {
		t.Errorf("%d rows are read with less memory; expected %d", got, reads[enough-1])
	}
}

// TestWideDoesNotDependOnMachine fits with the products of kernel.wat, with those in Go and with native ones, and compares the bits.
func TestWideDoesNotDependOnMachine(t *testing.T) {
	machines := []matrix.New{matrix.Wasm, matrix.Plain}
	for _, n := range kernel.Natives() {
		machines = append(machines, matrix.Native(n))
	}
	for name, way := range ways {
		var want *Result
		for _, machine := range machines {
			got, err := way(t.Context(), newSpectrum(300, 70, power(1)), Options{Variance: 0.9, Center: true, Threads: 2, Machine: machine, Progress: func(string, int, int) {}})
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			} else if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: the machines give different components", name)
			}
		}
	}
}

func TestWideDoesNotDependOnThreads(t *testing.T) {
	s := newSpectrum(1500, 300, power(1))
	for name, way := range ways {
		want := ""
		for _, threads := range []int{1, 2, 7} {
			r, err := way(t.Context(), s, Options{Variance: 0.95, Center: true, Threads: threads, Seed: 3, Progress: func(string, int, int) {}})
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%x %x %x", r.Components, r.Variances, r.Mean); want == "" {
				want = got
			} else if got != want {
				t.Errorf("%s: another result with %d threads", name, threads)
			}
		}
	}
}

// TestExactIsExact fits all components, of rows of full rank and of less, and compares their variances with the rows'.
func TestExactIsExact(t *testing.T) {
	for _, test := range []struct {
		name      string
		deviation func(i int) float64
		want      int
	}{
		{"full rank", power(2), 60},
		{"low rank", func(i int) float64 { return math.Pow(2, -float64(i)) * float64(min(1, max(0, 7-i))) }, 7},
		{"equal", func(i int) float64 { return 1 }, 60},
	} {
		s := newSpectrum(900, 60, test.deviation)
		o := Options{Variance: 1, Center: true, Threads: 2, Progress: func(string, int, int) {}}
		r, err := fitExact(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Variances) != test.want {
			t.Errorf("%s: %d components; expected %d", test.name, len(r.Variances), test.want)
		}
		for i, given := range r.Variances {
			sum, squares := 0.0, 0.0
			for row := range s.rows {
				y := 0.0
				for c, x := range r.Components[i*60 : (i+1)*60] {
					y += (float64(s.data[row*60+c]) - float64(r.Mean[c])) * float64(x)
				}
				sum += y
				squares += y * y
			}
			variance := (squares - sum*sum/float64(r.Rows)) / divisor(r.Rows, o)
			if math.Abs(variance-given) > 1e-6*r.Variances[0] {
				t.Errorf("%s: variance %d is %v; that of the rows is %v", test.name, i, given, variance)
			}
		}
	}
}
