package fit

import (
	"context"
	"errors"
	"fmt"

	"gonum.org/v1/gonum/floats"

	"github.com/quarry-hn/quarry/host/matrix"
)

// products is how often a basis is multiplied with a covariance that is held, before what it has found is looked at.
const products = 4

// fitWide finds the leading components where there are more than MaxExact columns.
func fitWide(ctx context.Context, rows Source, o Options) (*Result, error) {
	return fitSubspace(ctx, rows, o, holdsCovariance)
}

// holdsCovariance reports whether the covariance of n rows of d columns, and then its products with a basis of l, are less
// work than three passes over the rows, of which the last is half as much as the others. It counts multiply-adds over d.
func holdsCovariance(n, d, l int) bool {
	return float64(n)*float64(d)/2+products*float64(d)*float64(l) < 5*float64(n)*float64(l)
}

// fitSubspace finds the leading components in a random subspace, by subspace iteration and Rayleigh-Ritz (Halko,
// Martinsson and Tropp, Finding structure with randomness, SIAM Review 53, 2011: algorithm 4.4 with a power scheme, and
// section 5.1), the basis made orthonormal by SVQB (Stathopoulos and Wu, SIAM J. Sci. Comput. 23, 2002), and the subspace
// grown until it holds the variance asked for.
//
// With C the covariance, Q a basis of l random columns, and orth their orthonormal basis:
//
//	Z = C Q                     pass 1, with the mean and the total variance, the trace of C
//	U = orth(Z); Z = C U        pass 2
//	U = orth(Z); M = U' C U     pass 3, half the work of the others
//
// The eigenvalues of M are the variances along the best directions within the span of C C Q. Where their sum does not
// reach the target, U gets more random columns, and passes 4 to 6 are as passes 1 to 3, with the mean that is known. The
// rows are only ever held a block at a time.
//
// Where holds says so, and there is memory for it, one pass makes C, which is then held: the upper triangle, float32. The
// products are with C itself, and there is one more of them, since it takes little: the span is that of C C C Q.
//
// The sums of a pass are kept in Options.Keep after any block.
func fitSubspace(ctx context.Context, rows Source, o Options, holds func(rows, columns, subspace int) bool) (_ *Result, err error) {
	if o.Components == 0 && o.Variance == 1 {
		return nil, fmt.Errorf("%w: all of the variance of %d columns takes as many components: choose less --variance, or --no-pca", ErrOption, rows.Columns())
	}
	held := o.Keep.at(stageCovariance)
	s, err := newSubspace(ctx, rows, o, held)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.machine.Close(ctx)) }()
	if !s.resume() {
		l, err := s.firstGuess(ctx)
		if err != nil {
			return nil, err
		}
		if want := holds(rows.Rows(), rows.Columns(), l); want != held {
			other, err := newSubspace(ctx, rows, o, want)
			if err != nil {
				return nil, err
			}
			s, other = other, s
			if err := other.machine.Close(ctx); err != nil {
				return nil, err
			}
		}
		if err := s.start(ctx, l); err != nil {
			return nil, err
		}
	}
	if s.covariance != nil {
		return s.byCovariance(ctx)
	}
	return s.byPasses(ctx)
}

// heldMemory is what a covariance of d columns takes, and a block of rows as it is read.
func heldMemory(d int) int64 { return int64(covarianceBytes(d)) + 4*covarianceRows*int64(d) }

// byCovariance makes the one pass for the covariance, and improves the subspace by products with it.
func (s *subspace) byCovariance(ctx context.Context) (*Result, error) {
	c := s.covariance
	if err := c.accumulate(ctx, s.source, s.o); err != nil {
		return nil, err
	}
	total, largest := 0.0, 0.0
	for i := range c.columns {
		total += c.row(i)[0]
		largest = max(largest, c.row(i)[0])
	}
	var err error
	if s.Total, err = totalVariance(total, c.Counted, s.o); err != nil {
		return nil, err
	}
	s.Counted, s.shift = c.Counted, c.mean()
	operator, err := s.machine.Float32(ctx, c.sums, 1/largest)
	if err != nil {
		return nil, err
	}
	for l := 0; ; {
		s.grow(l, s.Columns)
		spectrum, err := s.multiply(ctx, operator)
		if err != nil {
			return nil, err
		}
		floats.Scale(largest/divisor(c.Counted, s.o), spectrum.values)
		next, err := s.next(spectrum.values)
		if err != nil {
			return nil, err
		}
		if next == 0 {
			return s.result(ctx, spectrum)
		}
		l, s.Columns = s.Columns, next
	}
}

// multiply multiplies the basis with the covariance, several times, and makes it orthonormal each time but the last. It
// returns the matrix within the subspace.
func (s *subspace) multiply(ctx context.Context, covariance matrix.Rows) (*eigen, error) {
	for i := range products {
		s.o.Progress("fit, products", i, products)
		if err := s.machine.SymmetricTimes(ctx, s.image, covariance, s.basis); err != nil {
			return nil, err
		}
		rounds := 1
		switch i {
		case products - 2: // what is now orthonormal has to be so exactly
			rounds = 2
		case products - 1:
			rounds = 0
		}
		if err := s.orthonormalize(ctx, rounds); err != nil {
			return nil, err
		}
	}
	s.o.Progress("fit, products", products, products)
	clear(s.gram.FirstColumns(s.Columns).Data)
	if err := s.machine.AddProduct(ctx, s.gram, s.basis, s.image); err != nil {
		return nil, err
	}
	return s.room.newEigen(ctx, s.Columns, s.gram.Data, s.gram.Stride)
}
