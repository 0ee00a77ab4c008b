package mining

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// How long things are to take. What that is in rows depends on the engine's speed.
const (
	callTime    = 50 * time.Millisecond // a call of the plugin: the context is looked at between calls
	maxCallTime = time.Second           // a call of an engine that is so slow that a pass takes it longer than callTime
	partTime    = 30 * time.Second      // a part: what a run that is killed loses at most, for each instance
)

// passRows is how many rows the kernels hold against all queries before they read the queries anew.
const passRows = 64

// scanSpeed is how much faster an instance screens than it projects, for a query and a component: screening reads some of the components, in
// 16 bits.
const scanSpeed = 4

// instances are plugin instances with a projection loaded, one for each thread.
type instances struct {
	projection *projection.Projection
	all        []engine.Client
	fixedRows  int     // of a block, where the caller says; otherwise 0
	mostRows   int     // of a block, where the caller does not say
	perSecond  float64 // multiply-adds that one instance makes

	closeEngine func() error // does nothing where the engine is the caller's
}

// open opens the engine, unless the caller gave one, and as many instances of it as a split has. Close them after use.
func (c Compute) open(ctx context.Context, p *projection.Projection, split memorySplit) (_ *instances, err error) {
	e, closeEngine, err := c.openEngine(ctx)
	if err != nil {
		return nil, err
	}
	s := &instances{projection: p, fixedRows: c.BlockRows, mostRows: split.blockRows, closeEngine: closeEngine}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	if s.perSecond, err = e.Speed(ctx); err != nil {
		return nil, err
	}
	s.all = make([]engine.Client, split.instances)
	return s, parallel.Each(ctx, len(s.all), len(s.all), func(_, number int) error {
		i, err := e.Open(ctx)
		if err != nil {
			return err
		}
		s.all[number] = engine.Client{Instance: i}
		if err := s.all[number].Reset(ctx, split.instanceLimit); err != nil {
			return err
		}
		return s.all[number].LoadProjection(ctx, p.File)
	})
}

// each calls f for every instance, on all threads.
func (s *instances) each(ctx context.Context, f func(engine.Client) error) error {
	return parallel.Each(ctx, len(s.all), len(s.all), func(_, i int) error { return f(s.all[i]) })
}

// close closes the instances, and then the engine where it is their own.
func (s *instances) close(ctx context.Context) error {
	var errs []error
	for _, i := range s.all {
		if i.Instance != nil { // it was opened
			errs = append(errs, i.Close(context.WithoutCancel(ctx)))
		}
	}
	s.all = nil
	return errors.Join(append(errs, s.closeEngine())...)
}

// blockRows is how many rows go to an instance in one call: as many as the caller says, or whole passes that take it about callTime together. It
// is less than a pass where that would take longer than maxCallTime.
func (s *instances) blockRows(queries int) int {
	if s.fixedRows > 0 {
		return s.fixedRows
	}
	if passes := min(s.perInstance(callTime, queries), s.mostRows) / passRows; passes > 0 {
		return passes * passRows
	}
	return max(1, min(s.perInstance(maxCallTime, queries), passRows))
}

// rowsIn is how many documents all instances together mine in so much time. It is at least 4,096, so that starting does not count.
func (s *instances) rowsIn(t time.Duration, queries int) int {
	const least, most = 4096, 1 << 30
	return max(least, min(len(s.all)*s.perInstance(t, queries), most))
}

// perInstance is how many rows one instance projects, and holds against so many queries, in a time.
func (s *instances) perInstance(t time.Duration, queries int) int {
	return int(min(s.perSecond*t.Seconds()/float64(s.multiplyAdds(queries)), 1<<40))
}

// multiplyAdds is what a row takes: to project it, and to hold it against so many queries.
func (s *instances) multiplyAdds(queries int) int {
	n := s.projection.Width() * queries / scanSpeed
	if s.projection.Components != nil {
		n += s.projection.Width() * s.projection.Columns()
	}
	return max(n, 1)
}

// project projects rows of one side's matrices, in blocks on all threads. zeros[i] is true where row i is the zero vector; that happens only
// where zero is option.ZeroSkip.
func (s *instances) project(ctx context.Context, xs []dataset.Matrix, rows []int, zero string, done func(rows int)) (y []float32, zeros []bool, err error) {
	k, block := s.projection.Width(), s.blockRows(0)
	y, zeros = make([]float32, len(rows)*k), make([]bool, len(rows))
	err = parallel.Each(ctx, len(s.all), (len(rows)+block-1)/block, func(lane, number int) error {
		at := number * block
		n := min(block, len(rows)-at)
		m := &message.Transform{Documents: s.layout(xs, n), SkipZero: zero == option.ZeroSkip}
		answer, err := s.all[lane].Transform(ctx, m, s.fill(xs, func(x dataset.Matrix, data []byte) error { return readRows(x, data, rows[at:at+n]) }))
		if err != nil {
			return s.locate(err, abi.OpTransform, xs, n, func(i int) int { return rows[at+i] })
		}
		if copy(y[at*k:(at+n)*k], answer.Projected) != n*k {
			return fmt.Errorf("answer to transform: %d x %d values for %d rows of %d", answer.Rows, answer.Width, n, k)
		}
		for i := range n {
			zeros[at+i] = !slices.ContainsFunc(y[(at+i)*k:(at+i+1)*k], func(x float32) bool { return x != 0 })
		}
		done(n)
		return nil
	})
	return y, zeros, err
}

// push gives n rows from row at on to an instance: they are the documents from position first on.
func (s *instances) push(ctx context.Context, lane int, xs []dataset.Matrix, at, n int, first int64) error {
	m := &message.Push{First: first, Documents: s.layout(xs, n)}
	err := s.all[lane].Push(ctx, m, s.fill(xs, func(x dataset.Matrix, data []byte) error { return x.ReadRows(data, at, n) }))
	return s.locate(err, abi.OpPush, xs, n, func(i int) int { return at + i })
}

// layout is the layout of n rows of the models' matrices in a message.
func (s *instances) layout(xs []dataset.Matrix, n int) message.Vectors {
	v := message.Vectors{Rows: n}
	for m, x := range xs {
		v.Raw = append(v.Raw, message.Raw{Model: s.projection.Models[m].Name, Width: x.Width(), Raw: pca.Raw{DType: x.DType()}})
	}
	return v
}

// fill has read read the rows of each model's matrix straight into an instance's memory.
func (s *instances) fill(xs []dataset.Matrix, read func(x dataset.Matrix, data []byte) error) engine.Fill {
	return func(tensor string, data []byte) error {
		x, ok := s.matrixOf(xs, tensor)
		if !ok {
			return fmt.Errorf("tensor %s is of no model", tensor)
		}
		return read(x, data)
	}
}

// matrixOf finds the matrix of a tensor's model.
func (s *instances) matrixOf(xs []dataset.Matrix, tensor string) (dataset.Matrix, bool) {
	for m, x := range xs {
		if tensor == abi.RawTensor(abi.TensorDocuments, s.projection.Models[m].Name) {
			return x, true
		}
	}
	return nil, false
}

// locate names the file, and the row there, of an error about a row of a message of n rows. rowOf gives the file's row
// of one of the message.
func (s *instances) locate(err error, op abi.Op, xs []dataset.Matrix, n int, rowOf func(int) int) error {
	if e := (*abi.Error)(nil); errors.As(err, &e) && e.Row >= 0 && e.Row < n {
		x, ok := s.matrixOf(xs, e.Tensor)
		if !ok { // a projected vector, which all models make together
			x = xs[0]
		}
		return projection.VectorError(x, rowOf(e.Row), e)
	}
	if err != nil {
		return fmt.Errorf("%s, %s: %w", abi.TensorDocuments, op, err)
	}
	return nil
}

// readRows reads rows of a matrix, and consecutive ones at once.
func readRows(x dataset.Matrix, dst []byte, rows []int) error {
	stride := x.Width() * x.DType().Size()
	for i := 0; i < len(rows); {
		n := 1
		for i+n < len(rows) && rows[i+n] == rows[i]+n {
			n++
		}
		if err := x.ReadRows(dst[i*stride:(i+n)*stride], rows[i], n); err != nil {
			return err
		}
		i += n
	}
	return nil
}
