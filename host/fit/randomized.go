package fit

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"

	"github.com/quarry-hn/quarry/host/matrix"
)

// maxSubspace is the largest subspace that is tried. The eigenproblem of a larger one would take longer than the passes over the rows.
const maxSubspace = 2048

// byPasses improves the subspace by passes over the rows, until it holds what was asked for.
func (s *subspace) byPasses(ctx context.Context) (*Result, error) {
	for {
		if err := s.pass(ctx); err != nil {
			return nil, err
		}
		if r, err := s.afterPass(ctx); r != nil || err != nil {
			return r, err
		}
		s.nextPass()
	}
}

// subspace is a basis of l columns, and what is multiplied with it. Its matrices have room for the largest subspace; memory that is not used is
// never touched.
type subspace struct {
	source  Source
	o       Options
	machine *matrix.Machine
	bounded bool // the memory bounds how many columns there are

	block    matrix.Rows   // rows of the source, less the shift
	product  matrix.Panels // block times basis
	basis    matrix.Panels // d x l
	image    matrix.Panels // d x l: C times basis
	rotation matrix.Panels // l x l: what the basis or its image is multiplied with
	gram     matrix.Gram   // l x l
	room     *eigenRoom

	covariance *covariance // where it is held

	random    *rand.Rand
	generator *rand.PCG // what random draws from

	subspaceNumbers
	shift           []float32 // what is subtracted from every row: about the mean in the first pass, the mean afterwards
	linear, squares []float64 // sums over each column in the first pass: of values, and of their squares
}

// subspaceNumbers say how far a wide fit is, and what it needs to go on, beside matrices.
type subspaceNumbers struct {
	Pass      int     // under way, from 1
	Read      int     // rows of the source that are in the pass's sums
	Counted   int     // of these
	Columns   int     // of the basis
	Largest   int     // columns that there is room for
	Exhausted bool    // the basis has all directions that are more than rounding
	Total     float64 // variance over all columns, once the first pass is done
	Generator []byte  // state of the random numbers; only where the numbers are kept
}

// subspaceRows is how many rows are multiplied at a time: no power of two, for panels that far apart would fall into the same few cache lines.
const subspaceRows = 500

// newSubspace is a subspace that is improved by passes over the rows, or, with held, by the covariance, where there is
// memory for it.
func newSubspace(ctx context.Context, rows Source, o Options, held bool) (*subspace, error) {
	d := rows.Columns()
	s := &subspace{source: rows, o: o, generator: rand.NewPCG(o.Seed, 1), shift: make([]float32, d), linear: make([]float64, d), squares: make([]float64, d)}
	s.random = rand.New(s.generator)
	s.Largest = min(maxSubspace, d, max(rows.Rows(), 1))
	for o.Memory > 0 && subspaceMemory(d, s.Largest, o) > o.Memory {
		if s.Largest <= leastSubspace {
			return nil, &MemoryError{o.Memory, subspaceMemory(d, s.Largest, o)}
		}
		s.Largest, s.bounded = max(s.Largest*7/8, leastSubspace), true
	}
	held = held && (o.Memory == 0 || subspaceMemory(d, s.Largest, o)+heldMemory(d) <= o.Memory)
	bytes := matrixBytes(d, s.Largest, o)
	if held {
		bytes += covarianceBytes(d)
	}
	var err error
	if s.machine, err = o.machine()(ctx, bytes, max(1, o.Threads)); err != nil {
		return nil, err
	}
	if held {
		s.covariance = newCovariance(s.machine, d, o)
		s.covariance.Largest = s.Largest
	}
	s.block = s.machine.Rows(subspaceRows, d)
	s.product = s.machine.Panels(subspaceRows, s.Largest)
	s.basis, s.image = s.machine.Panels(d, s.Largest), s.machine.Panels(d, s.Largest)
	s.rotation, s.gram = s.machine.Panels(s.Largest, s.Largest), s.machine.Gram(s.Largest)
	s.room = newEigenRoom(s.machine, s.Largest, o)
	return s, nil
}

// leastSubspace is the largest subspace that there has to be room for.
const leastSubspace = 128

// matrixBytes is the size of the matrices for up to l columns.
func matrixBytes(d, l int, o Options) int {
	return 2*matrix.PanelBytes(d, l) + matrix.PanelBytes(subspaceRows, l) + matrix.PanelBytes(l, l) + matrix.RowBytes(subspaceRows, d) + matrix.GramBytes(l) +
		eigenBytes(l, o) + 6*64
}

// subspaceMemory is what a fit holds: the matrices, vectors of values that are close to one another, and the components.
func subspaceMemory(d, l int, o Options) int64 {
	return int64(matrixBytes(d, l, o)) + 8*int64(l)*int64(l) + 4*int64(d)*int64(l)
}

// width sets how many columns basis, image and product have.
func (s *subspace) width(l int) {
	s.Columns = l
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

// matrices are what the pass under way needs.
func (s *subspace) matrices() matrices {
	m := matrices{float32s: map[string][]float32{"shift": s.shift, "basis": s.basis.Data}, float64s: map[string][]float64{}}
	if s.ofGram() {
		m.float64s["gram"] = s.gram.FirstColumns(s.Columns).Data
	} else {
		m.float32s["image"] = s.image.Data
	}
	if s.Pass == 1 {
		m.float64s["linear"], m.float64s["squares"] = s.linear, s.squares
	}
	return m
}

// keepIfDue keeps the sums of the pass where it is time to.
func (s *subspace) keepIfDue() (err error) {
	if !s.o.Keep.due() {
		return nil
	}
	numbers := s.subspaceNumbers
	if numbers.Generator, err = s.generator.MarshalBinary(); err != nil {
		return err
	}
	return s.o.Keep.save(stageSubspace, numbers, s.matrices())
}

// resume fills in what was kept, and reports whether there was something.
func (s *subspace) resume() bool {
	if s.covariance != nil {
		kept := s.covariance.load(s.source, s.o.Keep)
		if kept {
			s.width(s.covariance.Columns)
		}
		return kept
	}
	fresh := s.subspaceNumbers
	var kept subspaceNumbers
	var filled matrices
	generator := &rand.PCG{}
	ok := s.o.Keep.load(stageSubspace, &kept, func(*stateFile) (matrices, bool) {
		if kept.Pass < 1 || kept.Largest != s.Largest || kept.Columns < 1 || kept.Columns > s.Largest ||
			kept.Counted < 0 || kept.Counted > kept.Read || kept.Read > s.source.Rows() || generator.UnmarshalBinary(kept.Generator) != nil {
			return matrices{}, false
		}
		s.subspaceNumbers = kept
		s.width(kept.Columns)
		filled = s.matrices()
		return filled, true
	})
	if ok {
		*s.generator = *generator
		return true
	}
	filled.clear()
	s.subspaceNumbers = fresh
	return false
}

// start makes the basis of the first pass, or begins with the covariance.
func (s *subspace) start(ctx context.Context, l int) (err error) {
	if s.covariance != nil {
		s.covariance.Columns = l
		s.width(l)
		return nil
	}
	s.grow(0, l)
	if s.o.Center {
		err = s.shiftByBlock(ctx)
	}
	s.nextPass()
	return err
}

// nextPass begins a pass with sums that are 0.
func (s *subspace) nextPass() {
	s.Pass, s.Read, s.Counted = s.Pass+1, 0, 0
	if s.ofGram() {
		clear(s.gram.FirstColumns(s.image.Columns).Data)
	} else {
		clear(s.image.Data)
	}
}

// ofGram reports whether the pass makes gram = basis' C basis, without the divisor. The others make image = C basis.
func (s *subspace) ofGram() bool { return s.Pass%3 == 0 }

// pass streams the rows that are not yet in the sums, and adds them. Until the mean is known, rows are shifted by
// that of the first block.
func (s *subspace) pass(ctx context.Context) error {
	n := s.source.Rows()
	name := fmt.Sprintf("fit, pass %d", s.Pass)
	s.o.Progress(name, s.Read, n)
	for {
		if err := s.keepIfDue(); err != nil {
			return err
		}
		if s.Read == n {
			return nil
		}
		block := s.block
		block.Rows = min(subspaceRows, n-s.Read)
		counted, err := s.read(ctx, s.Read, block.Rows)
		if err != nil {
			return err
		}
		if err := s.add(ctx, block); err != nil {
			return err
		}
		s.Counted += counted
		s.Read += block.Rows
		s.o.Keep.added(block.Rows)
		s.o.Progress(name, s.Read, n)
	}
}

// add adds a block of rows to the sums of the pass.
func (s *subspace) add(ctx context.Context, block matrix.Rows) error {
	product := s.product.OfRows(block.Rows)
	if err := s.machine.Times(ctx, product, block, s.basis); err != nil {
		return err
	}
	if s.ofGram() {
		return s.machine.AddUpperGram(ctx, s.gram, product)
	}
	if s.Pass == 1 {
		if err := s.addColumns(ctx, block); err != nil {
			return err
		}
	}
	return s.machine.AddTransposedTimes(ctx, s.image, block, product)
}

// addColumns adds a block to the sums over each column.
func (s *subspace) addColumns(ctx context.Context, block matrix.Rows) error {
	linear, squares := s.linear, s.squares
	return s.columns(ctx, func(from, to int) {
		for r := range block.Rows {
			row := block.Row(r)
			for c := from; c < to; c++ {
				x := float64(row[c])
				linear[c] += x
				squares[c] += x * x
			}
		}
	})
}

// afterPass makes the basis of the next pass from the sums of one, or the result.
func (s *subspace) afterPass(ctx context.Context) (*Result, error) {
	switch s.Pass % 3 {
	case 1:
		if s.Pass == 1 {
			if err := s.firstMoments(ctx); err != nil {
				return nil, err
			}
		}
		return nil, s.orthonormalize(ctx, 1)
	case 2:
		return nil, s.orthonormalize(ctx, 2)
	}
	spectrum, err := s.room.newEigen(ctx, s.Columns, s.gram.Data, s.gram.Stride)
	if err != nil {
		return nil, err
	}
	floats.Scale(1/divisor(s.Counted, s.o), spectrum.values)
	next, err := s.next(spectrum.values)
	if err != nil {
		return nil, err
	}
	if next == 0 {
		return s.result(ctx, spectrum)
	}
	s.grow(s.Columns, next)
	return nil, nil
}

// firstMoments finds the mean and the total variance, and corrects image by what the shift of the first pass left of
// the mean.
func (s *subspace) firstMoments(ctx context.Context) (err error) {
	d := s.source.Columns()
	n := max(1, float64(s.Counted))
	left := make([]float64, d) // mean of the shifted rows
	for c := range d {
		if s.o.Center {
			left[c] = s.linear[c] / n
		}
		s.Total += s.squares[c] - float64(left[c]*s.linear[c])
	}
	if s.Total, err = totalVariance(s.Total, s.Counted, s.o); err != nil || !s.o.Center {
		return err
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

// orthonormalize makes basis = orth(image), by SVQB: with G = Z'Z and D its diagonal, to the power of -1/2, the eigenvectors of DGD give the
// columns. Directions that are nothing but rounding are left out. image is overwritten.
func (s *subspace) orthonormalize(ctx context.Context, rounds int) error {
	for round := range rounds {
		if round > 0 {
			s.basis, s.image = s.image, s.basis
		}
		l := s.image.Columns
		clear(s.gram.FirstColumns(s.image.Columns).Data)
		if err := s.machine.AddUpperGram(ctx, s.gram, s.image); err != nil {
			return err
		}
		g := s.gram
		scale := make([]float64, l)
		for i := range scale {
			if x := g.Data[i*g.Stride+i]; x > 0 {
				scale[i] = 1 / math.Sqrt(x)
			}
		}
		for i := range l {
			for j := i; j < l; j++ {
				g.Data[i*g.Stride+j] *= scale[i] * scale[j]
			}
		}
		spectrum, err := s.room.newEigen(ctx, l, g.Data, g.Stride)
		if err != nil {
			return err
		}
		values := spectrum.values
		const noise = 1e-9 // of G, whose terms are float32
		rank := 0
		for rank < l && values[rank] > noise*values[0] {
			rank++
		}
		if rank == 0 {
			return fmt.Errorf("%w: the vectors do not vary", ErrNothingToFit)
		}
		s.Exhausted = s.Exhausted || rank < l
		s.rotation = s.rotation.OfRows(l).FirstColumns(rank)
		if err := spectrum.vectors(ctx, s.rotation); err != nil {
			return err
		}
		for i := range l {
			for j := range rank {
				at := s.rotation.Index(i, j)
				s.rotation.Data[at] = float32(scale[i] * float64(s.rotation.Data[at]) / math.Sqrt(values[j]))
			}
		}
		s.basis = s.basis.FirstColumns(rank)
		if err := s.machine.PanelsTimes(ctx, s.basis, s.image, s.rotation); err != nil {
			return err
		}
		s.width(rank)
	}
	return nil
}

// result is the best components within the subspace, and the variances M gives them.
func (s *subspace) result(ctx context.Context, spectrum *eigen) (*Result, error) {
	l := spectrum.n
	if s.o.Components > l {
		return nil, tooMany(s.o.Components, l)
	}
	s.rotation = s.rotation.OfRows(l).FirstColumns(l)
	if err := spectrum.vectors(ctx, s.rotation); err != nil {
		return nil, err
	}
	if err := s.machine.PanelsTimes(ctx, s.image, s.basis, s.rotation); err != nil {
		return nil, err
	}
	r := &Result{Mean: s.shift, Rows: s.Counted, Total: s.Total}
	return r, r.setComponents(ctx, s.image, spectrum.values, s.o)
}
