package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// workers are plugin instances with a projection loaded, one for each thread.
type workers struct {
	projection  *Projection
	instances   []engine.Instance
	rows        int // of a block, where the caller says
	interpreted bool
}

// newWorkers starts n instances, each of which may use limit bytes.
func newWorkers(ctx context.Context, e engine.Engine, p *Projection, n int, limit int64, blockRows int) (_ *workers, err error) {
	w := &workers{projection: p, rows: blockRows, interpreted: e.Name() == engine.InterpreterName}
	for range n {
		i, err := e.Open(ctx)
		if err != nil {
			return nil, errors.Join(err, w.closeAll(ctx))
		}
		w.instances = append(w.instances, i)
	}
	err = w.each(ctx, func(i engine.Instance) error {
		_, err := engine.SendTensors(ctx, i, abi.OpReset, nil, map[string]string{"memory_limit": strconv.FormatInt(limit, 10)})
		if err == nil {
			_, err = engine.SendBytes(ctx, i, abi.OpLoadProjection, p.File)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, w.closeAll(ctx))
	}
	return w, nil
}

// each calls f for every instance, on all threads.
func (w *workers) each(ctx context.Context, f func(engine.Instance) error) error {
	return parallel.Each(ctx, len(w.instances), len(w.instances), func(_, i int) error { return f(w.instances[i]) })
}

func (w *workers) closeAll(ctx context.Context) error {
	var errs []error
	for _, i := range w.instances {
		errs = append(errs, i.Close(context.WithoutCancel(ctx)))
	}
	w.instances = nil
	return errors.Join(errs...)
}

// blockRows is how many rows to send in a call: what takes some 10 ms at the multiply-adds a second of the module's kernels, in whole passes of
// theirs, which read all pairs each time. An interpreter, a thousand times slower, gets what takes it a second.
func (w *workers) blockRows(queries int) int {
	if w.rows > 0 {
		return w.rows
	}
	if w.interpreted {
		return max(1, min(32, 7_000_000/w.multiplyAdds(queries)))
	}
	const pass = 64
	return max(1, min(256, 120_000_000/w.multiplyAdds(queries))/pass) * pass
}

// multiplyAdds is what a row takes: to project it, and to hold it against that many queries.
func (w *workers) multiplyAdds(queries int) int {
	n := w.projection.Width() * queries
	if w.projection.Components != nil {
		n += w.projection.Width() * w.projection.Columns()
	}
	return max(n, 1)
}

// project projects rows of one side's matrices, in blocks on all threads. zero tells which rows are zero; none is unless they may be.
func (w *workers) project(ctx context.Context, xs []dataset.Matrix, rows []int, zero string, done func(rows int)) (y []float32, zeros []bool, err error) {
	k, block := w.projection.Width(), w.blockRows(0)
	y, zeros = make([]float32, len(rows)*k), make([]bool, len(rows))
	options := map[string]string{"zero": zero}
	err = parallel.Each(ctx, len(w.instances), (len(rows)+block-1)/block, func(worker, piece int) error {
		at := piece * block
		n := min(block, len(rows)-at)
		out, err := w.send(ctx, w.instances[worker], abi.OpTransform, xs, rows[at:at+n], options)
		if err != nil {
			return err
		}
		f, err := safetensors.Parse(out, abi.MaxHeader)
		if err != nil {
			return fmt.Errorf("answer to transform: %w", err)
		}
		answer, _ := f.Tensor("documents")
		if copy(y[at*k:(at+n)*k], safetensors.Float32s(answer.Data)) != n*k {
			return fmt.Errorf("answer to transform: %d bytes for %d rows of %d", len(answer.Data), n, k)
		}
		for i := range n {
			zeros[at+i] = !slices.ContainsFunc(y[(at+i)*k:(at+i+1)*k], func(x float32) bool { return x != 0 })
		}
		done(n)
		return nil
	})
	return y, zeros, err
}

// send calls an operation on rows of the models' matrices, read straight into the instance's memory. An error names the file and
// the row there.
func (w *workers) send(ctx context.Context, i engine.Instance, op abi.Op, xs []dataset.Matrix, rows []int, options map[string]string) ([]byte, error) {
	const kind = "documents"
	byName := map[string]dataset.Matrix{}
	tensors := make([]safetensors.Tensor, len(xs))
	for m, x := range xs {
		name := kind + "/" + w.projection.Models[m].Name
		byName[name] = x
		tensors[m] = safetensors.Tensor{Name: name, DType: x.DType(), Shape: []int{len(rows), x.Width()}}
	}
	out, err := engine.Send(ctx, i, op, tensors, options, func(tensor string, data []byte) error {
		return readRows(byName[tensor], data, rows)
	})
	if e := (*abi.Error)(nil); errors.As(err, &e) && e.Row >= 0 && e.Row < len(rows) {
		x, ok := byName[e.Tensor]
		if !ok { // a projected vector, which all models make together
			x = xs[0]
		}
		return nil, vectorError(x.Name(), rows[e.Row], e)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", kind, op, err)
	}
	return out, nil
}

// readRows reads rows, runs of consecutive ones at once.
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
