package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Job is what to mine, ready: pairs selected and projected. Any range of documents can be mined with it, in any order, and
// the parts merged.
type Job struct {
	options    MineOptions
	rule       mine.Rule
	folder     *dataset.Folder
	projection *Projection
	models     []dataset.Model
	documents  []dataset.Matrix // of each model
	set        *pairSet
	zeroPairs  int          // left out because their query or positive is a zero vector
	begin      beginMessage // what every instance is told
	workers    *workers
	close      func() error // the engine, where it is the job's own
}

// beginMessage is a begin message's tensors and options.
type beginMessage struct {
	tensors []safetensors.Tensor
	options map[string]string
}

// NewJob selects the pairs of a folder and projects them. Close it after use.
func NewJob(ctx context.Context, folder *dataset.Folder, p *Projection, o MineOptions) (_ *Job, err error) {
	o, rule, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	models, err := p.ensemble(folder)
	if err != nil {
		return nil, err
	}
	j := &Job{options: o, rule: rule, folder: folder, projection: p, models: models}
	var queries []dataset.Matrix
	for _, m := range models {
		j.documents, queries = append(j.documents, m.Documents), append(queries, m.Queries)
	}
	if j.set, err = selectPairs(folder, o); err != nil {
		return nil, err
	}
	e, closeEngine, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	j.close = closeEngine
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close(ctx))
		}
	}()
	if j.workers, err = newWorkers(ctx, e, p, o.RunOptions); err != nil {
		return nil, err
	}
	done := progressOf(o.Progress, "project pairs", len(j.set.queries)+len(j.set.positives))
	q, zeroQueries, err := j.workers.project(ctx, queries, j.set.queries, o.Zero, done)
	if err != nil {
		return nil, err
	}
	d, zeroPositives, err := j.workers.project(ctx, j.documents, j.set.positives, o.Zero, done)
	if err != nil {
		return nil, err
	}
	j.prepare(q, d, zeroQueries, zeroPositives)
	if len(j.set.pairs) == 0 {
		return nil, &dataset.Error{Path: j.set.path, Row: -1, Problem: fmt.Sprintf("all %d pairs of split %q were left out: their vectors are zero", j.zeroPairs, o.Split),
			Hint: "make the vectors again"}
	}
	return j, j.workers.each(ctx, func(i engine.Instance) error {
		_, err := engine.SendTensors(ctx, i, abi.OpBegin, j.begin.tensors, j.begin.options)
		return err
	})
}

// progressOf returns a function to count rows with.
func progressOf(p Progress, stage string, total int) func(rows int) {
	c := &counter{progress: p, stage: stage, total: int64(total)}
	p.report(stage, 0, c.total)
	return c.add
}

// prepare lays out the begin message, with a zero vector's pairs left out.
func (j *Job) prepare(queries, positives []float32, zeroQueries, zeroPositives []bool) {
	s, k := j.set, j.projection.Width()
	j.zeroPairs = s.drop(zeroQueries, zeroPositives)
	// The rows of the pairs left out stay, unused, as unit vectors: a zero row is an error to the plugin.
	for i, zero := range zeroQueries {
		if zero {
			queries[i*k] = 1
		}
	}
	for i, zero := range zeroPositives {
		if zero {
			positives[i*k] = 1
		}
	}
	pairQuery, pairPositive := make([]int64, len(s.pairs)), make([]int64, len(s.pairs))
	for i, p := range s.pairs {
		pairQuery[i], pairPositive[i] = p[0], p[1]
	}
	excludeOffsets, exclude := ragged(s.exclude)
	togetherOffsets, together := ragged(s.together)
	j.begin.tensors = []safetensors.Tensor{
		safetensors.OfFloat32("queries", queries, len(s.queries), k),
		safetensors.OfFloat32("positives", positives, len(s.positives), k),
		safetensors.OfInt64("pair_query", pairQuery, len(pairQuery)),
		safetensors.OfInt64("pair_positive", pairPositive, len(pairPositive)),
		safetensors.OfInt64("exclude_offsets", excludeOffsets, len(excludeOffsets)),
		safetensors.OfInt64("exclude", exclude, len(exclude)),
	}
	if len(together) > 0 {
		j.begin.tensors = append(j.begin.tensors, safetensors.OfInt64("together_offsets", togetherOffsets, len(togetherOffsets)),
			safetensors.OfInt64("together", together, len(together)))
	}
	j.begin.options = map[string]string{
		"rule": j.rule.Name, "top": strconv.Itoa(j.options.Top), "counts": strconv.FormatBool(j.options.Counts), "zero": j.options.Zero,
		"projection": j.projection.Fingerprint,
		"perc":       strconv.FormatFloat(j.options.Perc, 'g', -1, 64),
	}
	if j.options.Margin != nil {
		j.begin.options["margin"] = strconv.FormatFloat(*j.options.Margin, 'g', -1, 64)
	}
}

// Documents is how many documents there are to mine.
func (j *Job) Documents() int { return j.documents[0].Rows() }

// Part mines documents first to end-1.
func (j *Job) Part(ctx context.Context, first, end int) (*mine.Part, error) {
	if first < 0 || end > j.Documents() || first >= end {
		return nil, fmt.Errorf("%w: documents %d to %d; there are %d", ErrOption, first, end-1, j.Documents())
	}
	block := j.workers.blockRows(len(j.set.queries))
	done := progressOf(j.options.Progress, "mine", end-first)
	err := parallel.Each(ctx, len(j.workers.instances), (end-first+block-1)/block, func(w, piece int) error {
		at := first + piece*block
		n := min(block, end-at)
		rows := make([]int, n)
		for i := range rows {
			rows[i] = at + i
		}
		_, err := j.workers.send(ctx, j.workers.instances[w], abi.OpPush, j.documents, rows, map[string]string{"first": strconv.Itoa(at)})
		if err == nil {
			done(n)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var merged *mine.Part
	for _, i := range j.workers.instances {
		out, err := engine.SendBytes(ctx, i, abi.OpFinish, nil)
		if err != nil {
			return nil, err
		}
		part, err := mine.ParsePart(bytes.Clone(out))
		if err == nil && merged != nil {
			part, err = mine.Merge(merged, part)
		}
		if err != nil {
			return nil, fmt.Errorf("merge the parts: %w", err)
		}
		merged = part
	}
	return merged, nil
}

// Close frees the plugin instances, and the engine where it is the job's own.
func (j *Job) Close(ctx context.Context) error {
	var errs []error
	if j.workers != nil {
		errs = append(errs, j.workers.closeAll(ctx))
	}
	return errors.Join(append(errs, j.close())...)
}

// workers are plugin instances with a projection loaded, one for each thread.
type workers struct {
	projection *Projection
	instances  []engine.Instance
	rows       int // of a block, where the caller says
}

func newWorkers(ctx context.Context, e engine.Engine, p *Projection, o RunOptions) (_ *workers, err error) {
	w := &workers{projection: p, rows: o.BlockRows}
	for range o.threads() {
		i, err := e.Open(ctx)
		if err != nil {
			return nil, errors.Join(err, w.closeAll(ctx))
		}
		w.instances = append(w.instances, i)
	}
	err = w.each(ctx, func(i engine.Instance) error {
		_, err := engine.SendBytes(ctx, i, abi.OpLoadProjection, p.File)
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

// blockRows is how many rows to send in a call: what takes some 10 ms, at the multiply-adds a second of a plain kernel.
func (w *workers) blockRows(queries int) int {
	if w.rows > 0 {
		return w.rows
	}
	const callMultiplyAdds = 10_000_000
	k, d := w.projection.Width(), w.projection.Columns()
	perRow := k * queries
	if w.projection.Components != nil {
		perRow += k * d
	}
	return max(4, min(256, callMultiplyAdds/max(perRow, 1)))
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
