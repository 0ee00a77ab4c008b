package fit

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// spectrum is rows with known variances in a random basis, made once.
type spectrum struct {
	rows, columns int
	data          []float32
	skip          map[int]bool
}

func (s *spectrum) Rows() int    { return s.rows }
func (s *spectrum) Columns() int { return s.columns }

func (s *spectrum) Read(dst []float32, first, n int) ([]bool, error) {
	copy(dst, s.data[first*s.columns:(first+n)*s.columns])
	skip := make([]bool, n)
	for i := range skip {
		skip[i] = s.skip[first+i]
	}
	return skip, nil
}

// newSpectrum makes rows whose principal directions have those standard deviations, about a mean that is not 0.
func newSpectrum(rows, columns int, deviation func(i int) float64) *spectrum {
	r := rand.New(rand.NewPCG(uint64(rows), uint64(columns)))
	s := &spectrum{rows: rows, columns: columns, data: make([]float32, rows*columns)}
	// Reflections turn the axes every which way.
	var mirrors [3][]float64
	for m := range mirrors {
		v, square := make([]float64, columns), 0.0
		for i := range v {
			v[i] = r.NormFloat64()
			square += v[i] * v[i]
		}
		for i := range v {
			v[i] /= math.Sqrt(square)
		}
		mirrors[m] = v
	}
	x := make([]float64, columns)
	for row := range rows {
		for i := range x {
			x[i] = r.NormFloat64() * deviation(i)
		}
		for _, v := range mirrors {
			dot := 0.0
			for i := range x {
				dot += x[i] * v[i]
			}
			for i := range x {
				x[i] -= 2 * dot * v[i]
			}
		}
		for i := range x {
			s.data[row*columns+i] = float32(x[i] + 0.1*float64(i%7))
		}
	}
	return s
}

func power(p float64) func(int) float64 {
	return func(i int) float64 { return math.Pow(float64(1+i), -p/2) }
}

func TestRandomizedIsNearExact(t *testing.T) {
	ctx := context.Background()
	for _, test := range []struct {
		name          string
		rows, columns int
		deviation     func(i int) float64
		o             Options
		subspaceGrows bool
	}{
		{"power 1", 3000, 400, power(1), Options{Variance: 0.95, Center: true}, false},
		{"power 2", 3000, 400, power(2), Options{Variance: 0.99, Center: true}, false},
		{"not centred", 3000, 400, power(1), Options{Variance: 0.9}, false},
		{"fixed", 3000, 400, power(1.5), Options{Components: 25, Center: true}, false},
		{"low rank", 2000, 300, func(i int) float64 { return map[bool]float64{true: 1, false: 0}[i < 12] }, Options{Variance: 0.95, Center: true}, false},
		{"fewer rows than columns", 90, 400, power(1), Options{Variance: 0.95, Center: true}, false},
		{"a block and a row", 513, 70, power(1), Options{Variance: 0.95, Center: true}, false},
		{"flat", 2000, 130, power(0), Options{Variance: 0.95, Center: true}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSpectrum(test.rows, test.columns, test.deviation)
			s.skip = map[int]bool{5: true, 7: true}
			o := test.o
			o.Threads, o.Progress = 2, func(string, int, int) {}
			exact, err := fitExact(ctx, s, o)
			if err != nil {
				t.Fatal(err)
			}
			for name, way := range ways {
				got, err := way(ctx, s, o)
				if err != nil {
					t.Fatal(err)
				}
				k, l := len(exact.Variances), len(got.Variances)
				if l < k || float64(l) > math.Ceil(1.03*float64(k)) {
					t.Errorf("%s: %d components; exactly it is %d", name, l, k)
				}
				if got.Rows != exact.Rows || math.Abs(got.Total/exact.Total-1) > 1e-5 {
					t.Errorf("%s: %d rows of variance %v; exactly %d of %v", name, got.Rows, got.Total, exact.Rows, exact.Total)
				}
				for i := range exact.Mean {
					if math.Abs(float64(got.Mean[i]-exact.Mean[i])) > 1e-5 {
						t.Fatalf("%s: mean of column %d is %v; exactly %v", name, i, got.Mean[i], exact.Mean[i])
					}
				}
				checkMeasured(t, s, got, o)
			}
		})
	}
}

// checkMeasured checks that components are orthonormal, signed, in order, and have the variances that the rows have along them.
func checkMeasured(t *testing.T, s *spectrum, r *Result, o Options) {
	t.Helper()
	k, d := len(r.Variances), s.columns
	component := func(i int) []float32 { return r.Components[i*d : (i+1)*d] }
	for i := range k {
		for j := range i + 1 {
			want := 0.0
			if i == j {
				want = 1
			}
			dot := 0.0
			for c, x := range component(i) {
				dot += float64(x) * float64(component(j)[c])
			}
			if math.Abs(dot-want) > 1e-5 {
				t.Fatalf("components %d and %d have product %v", i, j, dot)
			}
		}
		largest := slices.MaxFunc(component(i), func(a, b float32) int { return int(math.Copysign(1, float64(abs32(a)-abs32(b)))) })
		if largest < 0 {
			t.Fatalf("the largest entry of component %d is %v", i, largest)
		}
		if i > 0 && r.Variances[i] > r.Variances[i-1]*(1+1e-6) {
			t.Fatalf("variance %d is %v, above %v before it", i, r.Variances[i], r.Variances[i-1])
		}
	}
	captured := 0.0
	for i := range k {
		sum, squares := 0.0, 0.0
		for row := range s.rows {
			if s.skip[row] {
				continue
			}
			y := 0.0
			for c, x := range component(i) {
				y += (float64(s.data[row*d+c]) - float64(r.Mean[c])) * float64(x)
			}
			sum += y
			squares += y * y
		}
		if o.Center {
			squares -= sum * sum / float64(r.Rows)
		}
		variance := squares / divisor(r.Rows, o)
		captured += variance
		if math.Abs(variance-r.Variances[i]) > 1e-4*r.Variances[0] {
			t.Fatalf("the rows' variance along component %d is %v; %v is given", i, variance, r.Variances[i])
		}
	}
	if math.Abs(captured-r.Captured) > 1e-5*r.Total || o.Components == 0 && captured < (o.Variance-1e-6)*r.Total {
		t.Errorf("%v of %v is captured; %v is given", captured, r.Total, r.Captured)
	}
}

func TestRandomizedGrows(t *testing.T) {
	// The rows that are sampled lie in a plane; the others do not.
	s := newSpectrum(5000, 200, power(0.5))
	for i := range 200 {
		row := i * 5000 / 200
		clear(s.data[row*200+2 : (row+1)*200])
	}
	o := Options{Variance: 0.9, Center: true, Threads: 2, Progress: func(string, int, int) {}}
	exact, err := fitExact(context.Background(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	for name, way := range ways {
		reports := map[string]int{}
		o.Progress = func(pass string, done, _ int) {
			if done > 0 {
				reports[pass]++
			}
		}
		got, err := way(context.Background(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(reports) <= 3 && reports["fit, products"] <= products {
			t.Errorf("%s: %v reports: the subspace did not grow", name, reports)
		}
		if k, l := len(exact.Variances), len(got.Variances); l < k || float64(l) > math.Ceil(1.03*float64(k)) {
			t.Errorf("%s: %d components; exactly it is %d", name, l, k)
		}
		checkMeasured(t, s, got, o)
	}
}

// noise is rows that vary alike in all directions.
type noise struct{ rows, columns int }

func (n noise) Rows() int    { return n.rows }
func (n noise) Columns() int { return n.columns }
func (n noise) Read(dst []float32, first, count int) ([]bool, error) {
	for i := range count {
		r := rand.New(rand.NewPCG(uint64(first+i), 3))
		for c := range n.columns {
			dst[i*n.columns+c] = float32(r.NormFloat64())
		}
	}
	return nil, nil
}

func TestFlatSpectrumSaysWhatItTakes(t *testing.T) {
	_, err := Fit(context.Background(), noise{2600, 2100}, Options{Variance: 0.95, Center: true, Threads: 2})
	if !errors.Is(err, ErrOption) || !strings.Contains(err.Error(), "too flat") || !strings.Contains(err.Error(), "--components") {
		t.Errorf("got %v", err)
	}
	_, err = Fit(context.Background(), noise{10, 3000}, Options{Variance: 1, Center: true, Threads: 2})
	if !errors.Is(err, ErrOption) {
		t.Errorf("all of the variance: got %v", err)
	}
}

func TestNothingToFit(t *testing.T) {
	same := &spectrum{rows: 20, columns: 30, data: make([]float32, 600)}
	for i := range same.data {
		same.data[i] = float32(i % 30)
	}
	none := newSpectrum(3, 30, power(1))
	none.skip = map[int]bool{0: true, 1: true, 2: true}
	for name, s := range map[string]*spectrum{"rows that are all the same": same, "rows that do not count": none, "one row": newSpectrum(1, 30, power(1))} {
		for way, f := range map[string]func(context.Context, Source, Options) (*Result, error){"exact": fitExact, "passes": fitRandomized, "covariance": fitByCovariance} {
			if _, err := f(context.Background(), s, Options{Variance: 0.95, Center: true, Threads: 2, Progress: func(string, int, int) {}}); !errors.Is(err, ErrNothingToFit) {
				t.Errorf("%s, %s: got %v", name, way, err)
			}
		}
	}
}
