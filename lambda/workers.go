package lambda

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
)

// workers are the workers of the jobs that this process mines for: as many as invocations come at once, each with its
// own plugin instances, and each with an equal share of the memory and the threads. A worker that is idle keeps its
// job's projection, pairs and instances for the next invocation.
type workers struct {
	open  func(ctx context.Context, name string) (*job.Worker, error)
	slots chan struct{} // holds a token for each worker in use

	closed func() // is called after a worker was closed; tests count them

	mu   sync.Mutex
	idle []*worker // the one that was used last is the last
	busy int       // workers in use
}

// worker is a job's worker.
type worker struct {
	*job.Worker
	job string
}

func newWorkers(most int, open func(ctx context.Context, name string) (*job.Worker, error)) *workers {
	return &workers{open: open, slots: make(chan struct{}, most), closed: func() {}}
}

// share is what one of n workers at once may compute with.
func share(c mining.Compute, n int) mining.Compute {
	if n == 1 {
		return c
	}
	threads := c.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	c.Threads, c.Memory = max(1, threads/n), c.Memory.OrDefault().Share(n)
	return c
}

// with calls do with a worker of a job that nobody else uses meanwhile. Where all are in use it waits for one. After an
// error the worker is closed, so that the next call gets a new one, with new plugin instances.
func (w *workers) with(ctx context.Context, name string, do func(*job.Worker) (*job.Outcome, error)) (*job.Outcome, error) {
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	one, err := w.take(ctx, name)
	if err != nil {
		return nil, err
	}
	o, err := do(one.Worker)
	w.mu.Lock()
	w.busy--
	if err == nil {
		w.idle = append(w.idle, one)
	}
	w.mu.Unlock()
	if err != nil {
		err = errors.Join(err, w.closeAll(ctx, []*worker{one}))
	}
	return o, err
}

// take returns an idle worker of a job, or a new one. Before it makes a new one it closes idle ones of other jobs, so
// that no more than there are slots hold memory.
func (w *workers) take(ctx context.Context, name string) (one *worker, err error) {
	w.mu.Lock()
	w.busy++
	defer func() {
		if err != nil {
			w.mu.Lock()
			w.busy--
			w.mu.Unlock()
		}
	}()
	if i := slices.IndexFunc(w.idle, func(i *worker) bool { return i.job == name }); i >= 0 {
		defer w.mu.Unlock()
		one = w.idle[i]
		w.idle = slices.Delete(w.idle, i, i+1)
		return one, nil
	}
	var others []*worker
	for w.busy+len(w.idle) > cap(w.slots) {
		others, w.idle = append(others, w.idle[0]), slices.Delete(w.idle, 0, 1)
	}
	w.mu.Unlock()
	if err := w.closeAll(ctx, others); err != nil {
		return nil, err
	}
	opened, err := w.open(ctx, name)
	return &worker{opened, name}, err
}

// close closes the idle workers.
func (w *workers) close(ctx context.Context) error {
	w.mu.Lock()
	idle := w.idle
	w.idle = nil
	w.mu.Unlock()
	return w.closeAll(ctx, idle)
}

func (w *workers) closeAll(ctx context.Context, all []*worker) error {
	var errs []error
	for _, one := range all {
		errs = append(errs, one.Close(context.WithoutCancel(ctx)))
		w.closed()
	}
	return errors.Join(errs...)
}
