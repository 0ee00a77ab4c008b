package fit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/quarry-hn/quarry/host/matrix"
)

// maxSubspace is the largest subspace that is tried. The eigenproblem of a larger one would take longer than the passes over the rows.
const maxSubspace = 2048

// fitRandomized finds the leading components in a random subspace, by subspace iteration and Rayleigh-Ritz (Halko, Martinsson and
// Tropp, Finding structure with randomness, SIAM Review 53, 2011: algorithm 4.4 with a power scheme, and section 5.1), the basis made
// orthonormal by SVQB (Stathopoulos and Wu, SIAM J. Sci. Comput. 23, 2002), and the subspace grown until it holds the variance asked for.
//
// With C the covariance, Q a basis of l random columns, and orth their orthonormal basis:
//
//	Z = C Q                     pass 1, with the mean and the total variance, the trace of C
//	U = orth(Z); Z = C U        pass 2
//	U = orth(Z); M = U' C U     pass 3, half the work of the others
//
// The eigenvalues of M are the variances along the best directions within the span of C C Q. Where their sum does not reach the target, U gets
// more random columns, and three passes are made again. The rows are only ever held a block at a time, C never.
func fitRandomized(ctx context.Context, rows Source, o Options) (_ *Result, err error) {
	if o.Components == 0 && o.Variance == 1 {
		return nil, fmt.Errorf("%w: all of the variance of %d columns takes as many components: choose less --variance, or --no-pca", ErrOption, rows.Columns())
	}
	s, err := newSubspace(ctx, rows, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.machine.Close(ctx)) }()
	l, err := s.firstGuess(ctx)
	if err != nil {
		return nil, err
	}
	s.grow(0, l)
	if err := s.firstPass(ctx); err != nil {
		return nil, err
	}
	if s.total, err = totalVariance(s.total, s.counted, o); err != nil {
		return nil, err
	}
	for {
		if err := s.orthonormalize(ctx, 1); err != nil {
			return nil, err
		}
		if err := s.multiply(ctx); err != nil {
			return nil, err
		}
		values, vectors, stride, err := s.ritz(ctx)
		if err != nil {
			return nil, err
		}
		next, err := s.next(values)
		if err != nil {
			return nil, err
		}
		if next == 0 {
			return s.result(ctx, values, vectors, stride)
		}
		s.grow(len(values), next)
		if err := s.multiply(ctx); err != nil {
			return nil, err
		}
	}
}

// subspace is a basis of l columns, and what is multiplied with it. Its matrices have room for the largest subspace; memory that is not used is
// never touched.
type subspace struct {
	source  Source
	o       Options
	machine *matrix.Machine
	largest int  // columns that there is room for
	bounded bool // by memory

	block    matrix.Rows   // rows of the source, less the shift
	product  matrix.Panels // block times basis
	basis    matrix.Panels // d x l
	image    matrix.Panels // d x l: C times basis
	rotation matrix.Panels // l x l: what the basis or its image is multiplied with
	gram     matrix.Gram   // l x l
	random   *rand.Rand

	passes    int  // begun
	exhausted bool // the basis has all directions that are more than rounding

	shift   []float32 // what is subtracted from every row: about the mean in the first pass, the mean afterwards
	counted int       // rows
	total   float64   // variance over all columns
}

// subspaceRows is how many rows are multiplied at a time: no power of two, for panels that far apart would fall into the same few cache lines.
const subspaceRows = 500

func newSubspace(ctx context.Context, rows Source, o Options) (*subspace, error) {
	d := rows.Columns()
	s := &subspace{source: rows, o: o, largest: min(maxSubspace, d, max(rows.Rows(), 1)), random: rand.New(rand.NewPCG(o.Seed, 1)), shift: make([]float32, d)}
	for o.Memory > 0 && subspaceMemory(d, s.largest) > o.Memory {
		if s.largest <= leastSubspace {
			return nil, &MemoryError{o.Memory, subspaceMemory(d, s.largest)}
		}
		s.largest, s.bounded = max(s.largest*7/8, leastSubspace), true
	}
	var err error
	if s.machine, err = o.machine()(ctx, matrixBytes(d, s.largest), max(1, o.Threads)); err != nil {
		return nil, err
	}
	s.block = s.machine.Rows(subspaceRows, d)
	s.product = s.machine.Panels(subspaceRows, s.largest)
	s.basis, s.image = s.machine.Panels(d, s.largest), s.machine.Panels(d, s.largest)
	s.rotation, s.gram = s.machine.Panels(s.largest, s.largest), s.machine.Gram(s.largest)
	return s, nil
}

// leastSubspace is the largest subspace that there has to be room for.
const leastSubspace = 128

// matrixBytes is the size of the matrices for up to l columns.
func matrixBytes(d, l int) int {
	return 2*matrix.PanelBytes(d, l) + matrix.PanelBytes(subspaceRows, l) + matrix.PanelBytes(l, l) + matrix.RowBytes(subspaceRows, d) + matrix.GramBytes(l) + 6*64
}

// subspaceMemory is what a fit holds: the matrices, LAPACK's, and the components.
func subspaceMemory(d, l int) int64 {
	return int64(matrixBytes(d, l)) + 16*int64(l)*int64(l) + 12*int64(d)*int64(l)
}

// width sets how many columns basis, image and product have.
func (s *subspace) width(l int) {
	s.basis, s.image, s.product = s.basis.FirstColumns(l), s.image.FirstColumns(l), s.product.FirstColumns(l)
}

// grow adds random columns to the basis, which has l, until there are next.
func (s *subspace) grow(l, next int) {
	s.width(next)
	for r := range s.basis.Rows {
		for c := l; c < next; c++ {
			s.basis.Data[s.basis.Index(r, c)] = float32(s.random.NormFloat64())
		}
	}
}

// read fills the block with n rows, less the shift; a row that does not count is zeros.
func (s *subspace) read(ctx context.Context, first, n int) (counted int, err error) {
	d := s.source.Columns()
	const piece = 32
	counts := make([]int, (n+piece-1)/piece)
	err = s.machine.Each(ctx, len(counts), func(p int) error {
		at := p * piece
		m := min(piece, n-at)
		x := make([]float32, m*d)
		skip, err := s.source.Read(x, first+at, m)
		if err != nil {
			return err
		}
		for r := range m {
			row, to := x[r*d:(r+1)*d], s.block.Row(at+r)
			if skip != nil && skip[r] {
				clear(to)
				continue
			}
			counts[p]++
			for c, v := range row {
				to[c] = v - s.shift[c]
			}
		}
		return nil
	})
	for _, c := range counts {
		counted += c
	}
	return counted, err
}

// pass streams all rows: visit gets each block of them, and its product with the basis.
func (s *subspace) pass(ctx context.Context, visit func(block matrix.Rows, product matrix.Panels) error) error {
	n := s.source.Rows()
	s.passes++
	name := fmt.Sprintf("fit, pass %d", s.passes)
	s.o.Progress(name, 0, n)
	s.counted = 0
	for first := 0; first < n; first += subspaceRows {
		block := s.block
		block.Rows = min(subspaceRows, n-first)
		product := s.product.OfRows(block.Rows)
		counted, err := s.read(ctx, first, block.Rows)
		if err != nil {
			return err
		}
		s.counted += counted
		if err := s.machine.Times(ctx, product, block, s.basis); err != nil {
			return err
		}
		if err := visit(block, product); err != nil {
			return err
		}
		s.o.Progress(name, first+block.Rows, n)
	}
	return nil
}

// firstPass makes image = C basis, with the mean and the total variance. Until the mean is known, rows are shifted by that of the first
// block, and the product is corrected by what was left of it.
func (s *subspace) firstPass(ctx context.Context) error {
	d := s.source.Columns()
	linear, squares := make([]float64, d), make([]float64, d)
	if s.o.Center {
		if err := s.shiftByBlock(ctx); err != nil {
			return err
		}
	}
	err := s.pass(ctx, func(block matrix.Rows, product matrix.Panels) error {
		err := s.columns(ctx, func(from, to int) {
			for r := range block.Rows {
				row := block.Row(r)
				for c := from; c < to; c++ {
					x := float64(row[c])
					linear[c] += x
					squares[c] += x * x
				}
			}
		})
		if err != nil {
			return err
		}
		return s.machine.AddTransposedTimes(ctx, s.image, block, product)
	})
	if err != nil {
		return err
	}
	if s.counted == 0 {
		return nil // totalVariance says so
	}
	n := float64(s.counted)
	left := make([]float64, d) // mean of the shifted rows
	for c := range d {
		if s.o.Center {
			left[c] = linear[c] / n
		}
		s.total += squares[c] - float64(left[c]*linear[c])
	}
	if !s.o.Center {
		return nil
	}
	// image -= n left (left' basis)
	err = s.machine.Each(ctx, s.basis.Columns, func(j int) error {
		dot := 0.0
		for c := range d {
			dot += left[c] * float64(s.basis.Data[s.basis.Index(c, j)])
		}
		for c := range d {
			s.image.Data[s.image.Index(c, j)] -= float32(n * left[c] * dot)
		}
		return nil
	})
	for c := range d {
		s.shift[c] = float32(float64(s.shift[c]) + left[c])
	}
	return err
}

// shiftByBlock sets the shift to the mean of the first block.
func (s *subspace) shiftByBlock(ctx context.Context) error {
	n := min(subspaceRows, s.source.Rows())
	counted, err := s.read(ctx, 0, n)
	if err != nil || counted == 0 {
		return err
	}
	return s.columns(ctx, func(from, to int) {
		for c := from; c < to; c++ {
			sum := 0.0
			for r := range n {
				sum += float64(s.block.Row(r)[c])
			}
			s.shift[c] = float32(sum / float64(counted))
		}
	})
}

// columns calls work for stripes of the columns, on all threads.
func (s *subspace) columns(ctx context.Context, work func(from, to int)) error {
	const stripe = 256
	d := s.source.Columns()
	return s.machine.Each(ctx, (d+stripe-1)/stripe, func(i int) error {
		work(i*stripe, min((i+1)*stripe, d))
		return nil
	})
}

// multiply makes image = C basis.
func (s *subspace) multiply(ctx context.Context) error {
	clear(s.image.Data)
	return s.pass(ctx, func(block matrix.Rows, product matrix.Panels) error {
		return s.machine.AddTransposedTimes(ctx, s.image, block, product)
	})
}

// orthonormalize makes basis = orth(image), by SVQB: with G = Z'Z and D its diagonal, to the power of -1/2, the eigenvectors of DGD give the
// columns. Directions that are nothing but rounding are left out. image is overwritten.
func (s *subspace) orthonormalize(ctx context.Context, rounds int) error {
	for round := range rounds {
		if round > 0 {
			s.basis, s.image = s.image, s.basis
		}
		l := s.image.Columns
		clear(s.gram.Data)
		if err := s.machine.AddGram(ctx, s.gram, s.image); err != nil {
			return err
		}
		g := s.gram
		scale := make([]float64, l)
		for i := range scale {
			if x := g.Data[i*g.Stride+i]; x > 0 {
				scale[i] = 1 / math.Sqrt(x)
			}
		}
		values, vectors, stride, err := eigen(l, func(i, j int) float64 { return g.Data[i*g.Stride+j] * scale[i] * scale[j] }, true)
		if err != nil {
			return err
		}
		const noise = 1e-9 // of G, whose terms are float32
		rank := 0
		for rank < l && values[rank] > noise*values[0] {
			rank++
		}
		if rank == 0 {
			return fmt.Errorf("%w: the vectors do not vary", ErrNothingToFit)
		}
		s.exhausted = s.exhausted || rank < l
		s.setRotation(l, rank, func(i, j int) float64 { return scale[i] * vectors[i*stride+j] / math.Sqrt(values[j]) })
		s.basis = s.basis.FirstColumns(rank)
		if err := s.machine.PanelsTimes(ctx, s.basis, s.image, s.rotation); err != nil {
			return err
		}
		s.width(rank)
	}
	return nil
}

// setRotation fills the rotation, of l rows.
func (s *subspace) setRotation(l, columns int, at func(i, j int) float64) {
	s.rotation = s.rotation.FirstColumns(columns)
	clear(s.rotation.Data)
	for i := range l {
		for j := range columns {
			s.rotation.Data[s.rotation.Index(i, j)] = float32(at(i, j))
		}
	}
}

// ritz makes basis = orth(image), and decomposes M = basis' C basis.
func (s *subspace) ritz(ctx context.Context) (values, vectors []float64, stride int, err error) {
	if err := s.orthonormalize(ctx, 2); err != nil {
		return nil, nil, 0, err
	}
	clear(s.gram.Data)
	err = s.pass(ctx, func(_ matrix.Rows, product matrix.Panels) error { return s.machine.AddGram(ctx, s.gram, product) })
	if err != nil {
		return nil, nil, 0, err
	}
	g, by := s.gram, divisor(s.counted, s.o)
	return eigen(s.basis.Columns, func(i, j int) float64 { return g.Data[i*g.Stride+j] / by }, true)
}

// result is the best components within the subspace, and the variances M gives them.
func (s *subspace) result(ctx context.Context, values, vectors []float64, stride int) (*Result, error) {
	l := len(values)
	s.setRotation(l, l, func(i, j int) float64 { return vectors[i*stride+j] })
	if err := s.machine.PanelsTimes(ctx, s.image, s.basis, s.rotation); err != nil {
		return nil, err
	}
	if s.o.Components > l {
		return nil, tooMany(s.o.Components, l)
	}
	r := &Result{Mean: s.shift, Rows: s.counted, Total: s.total}
	return r, r.appendComponents(ctx, l, s.o, func(i int) ([]float32, float64) {
		v := make([]float64, s.image.Rows)
		square := 0.0
		for c := range v {
			v[c] = float64(s.image.Data[s.image.Index(c, i)])
			square += v[c] * v[c]
		}
		for c := range v {
			v[c] /= math.Sqrt(square)
		}
		return withSign(v), values[i]
	})
}
