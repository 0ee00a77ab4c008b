package fit

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
)

// This file guesses how many columns a subspace needs: at first from a sample of the rows, afterwards from what the subspace holds.

// firstGuess is how many columns to begin with: somewhat more than the components asked for, or than a sample says the target needs.
func (s *subspace) firstGuess(ctx context.Context) (int, error) {
	k := s.o.Components
	if k > s.Largest {
		return 0, fmt.Errorf("%w: %d components were asked for; of %d rows and more than %d columns there are up to %d to have",
			ErrOption, k, s.source.Rows(), MaxExact, s.Largest)
	}
	if k == 0 {
		var err error
		if k, err = s.sample(ctx); err != nil {
			return 0, err
		}
		if k > s.Largest*3/2 {
			return 0, s.tooFlat("a sample says", k)
		}
	}
	return max(1, min(k+k/8+16, s.Largest)), nil
}

func (s *subspace) tooFlat(why string, k int) error {
	hint := "fit with --components N or less --variance, or leave the vectors as they are with --no-pca"
	if s.bounded {
		hint = fmt.Sprintf("give more --memory: there is room for %d components; or %s", s.Largest, hint)
	}
	return fmt.Errorf("%w: the spectrum is too flat: %s that %.4g %% of the variance takes about %d components of %d\n  hint: %s",
		ErrOption, why, 100*s.o.Variance, min(k, s.source.Columns()), s.source.Columns(), hint)
}

// sample estimates how many components hold the target's share of the variance, from up to 1,024 rows, spread evenly. Few rows need fewer
// components than all rows do. It takes k(n), for n rows, to be K n / (n + c), and finds K from the whole sample and from half of it.
func (s *subspace) sample(ctx context.Context) (int, error) {
	const most = 1024
	n := min(most, s.source.Rows(), s.Largest)
	if n < 2 {
		return n, nil
	}
	d := s.source.Columns()
	columns := s.image.FirstColumns(n) // a sampled row is a column here; half of the rows come first
	err := s.machine.Each(ctx, n, func(i int) error {
		x := make([]float32, d)
		at := 2 * i
		if at >= n {
			at = at - n | 1
		}
		skip, err := s.source.Read(x, int(int64(at)*int64(s.source.Rows())/int64(n)), 1)
		if err != nil || skip != nil && skip[0] {
			return err
		}
		for c, v := range x {
			columns.Data[columns.Index(c, i)] = v
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	clear(s.gram.Data)
	err = s.machine.AddUpperGram(ctx, s.gram, columns)
	clear(columns.Data)
	if err != nil {
		return 0, err
	}
	half, err := s.gramComponents(ctx, n/2)
	if err != nil {
		return 0, err
	}
	all, err := s.gramComponents(ctx, n)
	if err != nil || n == s.source.Rows() {
		return all, err
	}
	inverse := 2/float64(all) - 1/float64(half)
	return int(1 / max(inverse, 1/float64(4*all))), err
}

// gramComponents is how many components hold the target's share of the variance of the first n columns that the Gram matrix is of.
func (s *subspace) gramComponents(ctx context.Context, n int) (int, error) {
	g := s.gram
	mean, all := make([]float64, n), 0.0 // of the Gram matrix's rows
	if s.o.Center {
		for i := range n {
			for j := range n {
				mean[i] += g.Data[min(i, j)*g.Stride+max(i, j)] / float64(n)
			}
			all += mean[i] / float64(n)
		}
	}
	centred := make([]float64, n*n)
	for i := range n {
		for j := i; j < n; j++ {
			centred[i*n+j] = g.Data[i*g.Stride+j] - mean[i] - mean[j] + all
		}
	}
	spectrum, err := s.room.newEigen(ctx, n, centred, n)
	if err != nil {
		return 0, err
	}
	return reach(spectrum.values, s.o.Variance*floats.Sum(spectrum.values)), nil
}

// reach is how many of the values have a sum that reaches the target. It is one more than all where their sum does not.
func reach(values []float64, target float64) int {
	sum := 0.0
	for i, v := range values {
		if sum += v; sum >= target {
			return i + 1
		}
	}
	return len(values) + 1
}

// extrapolate estimates how many components the target needs. It lets the values go on as the power law that the third quarter of them
// follows, since the last quarter is the least exact.
func (s *subspace) extrapolate(values []float64) int {
	l := len(values)
	a, b := max(l/2, 1), max(3*l/4, 2)
	if l < 8 || !(values[b-1] > 0) {
		return 2 * l
	}
	power := math.Log(values[a-1]/values[b-1]) / math.Log(float64(b)/float64(a))
	left := s.o.Variance * s.Total
	for _, v := range values[:b] {
		left -= v
	}
	for k := b; k < s.source.Columns(); k++ {
		if left <= 0 {
			return k
		}
		left -= values[b-1] * math.Pow(float64(k+1)/float64(b), -power)
	}
	return s.source.Columns()
}

// next is how many columns to go on with. It is 0 where the subspace holds what was asked for, with a sixteenth to spare, since the last
// directions are the least exact. It fails where there cannot be as many columns as are needed.
func (s *subspace) next(values []float64) (int, error) {
	l, k := len(values), s.o.Components
	if k == 0 {
		k = reach(values, s.o.Variance*s.Total)
	}
	end := s.Exhausted || l == s.Largest
	switch {
	case k <= l && (k+k/16 <= l || end):
		return 0, nil
	case s.o.Components > 0:
		return 0, tooMany(k, l)
	case k > l:
		k = s.extrapolate(values)
	}
	if !end && k <= s.Largest {
		return min(max(k+k/4+32, l+l/4), s.Largest), nil
	}
	captured := 0.0
	for _, v := range values {
		captured += v
	}
	return 0, s.tooFlat(fmt.Sprintf("%d components hold %.4g %%, which says", l, 100*captured/s.Total), max(k, l+1))
}
