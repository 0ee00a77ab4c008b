package fit

import (
	"context"

	"gonum.org/v1/gonum/floats"

	"github.com/quarry-hn/quarry/host/matrix"
)

// products is how often the basis is multiplied with a covariance that is held, before what it has found is looked at.
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

// heldMemory is what a covariance of d columns takes, and a block of rows as it is read.
func heldMemory(d int) int64 { return int64(covarianceBytes(d)) + 4*covarianceRows*int64(d) }

// fitHeld makes the one pass for the covariance, and then fits as fitSubspace says, with products instead of passes.
func (s *subspace) fitHeld(ctx context.Context) (*Result, error) {
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
	by := largest / divisor(c.Counted, s.o)
	operator, err := s.machine.Float32(ctx, c.sums, 1/largest)
	if err != nil {
		return nil, err
	}
	for l := 0; ; {
		s.grow(l, s.Columns)
		spectrum, err := s.iterate(ctx, operator)
		if err != nil {
			return nil, err
		}
		floats.Scale(by, spectrum.values)
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

// iterate multiplies the basis with the covariance, and makes it orthonormal each time but the last: that product gives
// the matrix within the subspace.
func (s *subspace) iterate(ctx context.Context, operator matrix.Rows) (*eigen, error) {
	for i := range products {
		s.o.Progress("fit, products", i, products)
		if err := s.machine.SymmetricTimes(ctx, s.image, operator, s.basis); err != nil {
			return nil, err
		}
		rounds := 1
		switch i {
		case products - 1:
			rounds = 0
		case products - 2:
			rounds = 2
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
