package engine

import (
	"context"
	"errors"
	"sync"
)

var _ Engine = (*Pool)(nil)

// Pool is an engine that keeps the instances of another for reuse, so that a server need not start one for every request. To close an instance
// gives it back. A plan takes a pool as it takes any engine.
type Pool struct {
	Engine
	size  int
	mutex sync.Mutex
	idle  []Instance
}

// NewPool returns a pool that keeps up to size idle instances of e. Its Close closes those, and not e.
func NewPool(e Engine, size int) *Pool { return &Pool{Engine: e, size: size} }

// Open returns an idle instance, or a new one. Either has no projection and no pairs, and its engine's memory limit.
func (p *Pool) Open(ctx context.Context) (Instance, error) {
	p.mutex.Lock()
	if n := len(p.idle); n > 0 {
		defer p.mutex.Unlock()
		i := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return &pooled{i, p}, nil
	}
	p.mutex.Unlock()
	i, err := p.Engine.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &pooled{i, p}, nil
}

// pooled is an instance that goes back to its pool.
type pooled struct {
	Instance
	pool *Pool
}

// Close has the instance forget what it held, and gives it back. It closes an instance that is lost, or that the pool has no room for.
func (i *pooled) Close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if err := (Client{i.Instance}).Reset(ctx, i.pool.MemoryLimit()); err == nil && i.pool.keep(i.Instance) {
		return nil
	}
	return i.Instance.Close(ctx)
}

func (p *Pool) keep(i Instance) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if len(p.idle) >= p.size {
		return false
	}
	p.idle = append(p.idle, i)
	return true
}

// Close closes the idle instances.
func (p *Pool) Close(ctx context.Context) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	var errs []error
	for _, i := range p.idle {
		errs = append(errs, i.Close(ctx))
	}
	p.idle = nil
	return errors.Join(errs...)
}
