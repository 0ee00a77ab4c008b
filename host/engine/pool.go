package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/quarry-hn/quarry/plugin/abi"
)

// Pool keeps instances of an engine for reuse, so that a server need not start one for every request. Its methods may be
// called by several goroutines at once.
type Pool struct {
	engine Engine
	mutex  sync.Mutex
	idle   []Instance
	size   int
}

// NewPool returns a pool that keeps up to size idle instances of e. It does not close e.
func NewPool(e Engine, size int) *Pool { return &Pool{engine: e, size: size} }

// Engine is the engine of the pool's instances.
func (p *Pool) Engine() Engine { return p.engine }

// Get returns an idle instance, or a new one. Either has no projection and no pairs.
func (p *Pool) Get(ctx context.Context) (Instance, error) {
	p.mutex.Lock()
	if n := len(p.idle); n > 0 {
		defer p.mutex.Unlock()
		i := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return i, nil
	}
	p.mutex.Unlock()
	return p.engine.Open(ctx)
}

// Put takes an instance back after use, and has it forget what it held. It closes an instance that is lost, or that the pool has no room for.
func (p *Pool) Put(ctx context.Context, i Instance) {
	ctx = context.WithoutCancel(ctx)
	if _, err := SendBytes(ctx, i, abi.OpReset, nil); err == nil && p.keep(i) {
		return
	}
	_ = i.Close(ctx) // it is of no more use
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
