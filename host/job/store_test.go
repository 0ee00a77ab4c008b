package job_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quarry-hn/quarry/host/objstore"
)

// Objects of the result; the second is the commit.
const (
	negativesKey = "negatives.jsonl"
	resultKey    = "negatives.manifest.json"
	sourceKey    = "source.json"
)

// kind is a fault of an operation on a store.
type kind string

const (
	killedBefore  kind = "killed before"
	killedAfter   kind = "killed after"
	killedReading kind = "killed while reading"
	throttled     kind = "throttled"
	failed        kind = "500, not done"
	failedDone    kind = "500, done"
	conflict      kind = "409"
	ownExists     kind = "exists, of its own write"
	timedOut      kind = "timed out, done"
	truncated     kind = "truncated"
	slow          kind = "slow"
	dead          kind = "after the kill"
)

var (
	anywhere = []kind{killedBefore, killedAfter, throttled, failed, timedOut}
	reads    = append(anywhere[:len(anywhere):len(anywhere)], killedReading, truncated, slow, truncated)
	lists    = append(anywhere[:len(anywhere):len(anywhere)], truncated)
	writes   = append(anywhere[:len(anywhere):len(anywhere)], failedDone, conflict)
	creates  = append(writes[:len(writes):len(writes)], ownExists, ownExists, killedAfter)
)

var errKilled = errors.New("the worker was killed")

// ledger is what all workers of a schedule met and did.
type ledger struct {
	mu       sync.Mutex
	met      map[kind]int
	planned  kind           // it is met for sure, by whoever comes to its operation; empty for none, or once it was met
	skip     int            // operations that could have the planned fault, before the one that has it
	budget   int            // faults left that are drawn; negative for none
	created  map[string]int // objects of results that PutNew made, by key
	lost     bool           // the commit was done, and its worker was not told
	open     int            // reads of results that are under way
	mostOpen int            // the most of them at once
}

func newLedger(budget int) *ledger {
	return &ledger{met: map[kind]int{}, created: map[string]int{}, budget: budget}
}

// counted is a store of results that counts what it makes and what is read.
type counted struct {
	objstore.Store
	ledger *ledger
}

func (c *counted) PutNew(ctx context.Context, key string, body io.ReadSeeker) error {
	err := c.Store.PutNew(ctx, key, body)
	if err == nil {
		c.ledger.mu.Lock()
		c.ledger.created[key]++
		c.ledger.mu.Unlock()
	}
	return err
}

func (c *counted) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, objstore.Object, error) {
	r, o, err := c.Store.Get(ctx, key, from, etag)
	if err != nil {
		return r, o, err
	}
	c.ledger.mu.Lock()
	c.ledger.open++
	c.ledger.mostOpen = max(c.ledger.mostOpen, c.ledger.open)
	c.ledger.mu.Unlock()
	return &countedRead{r, c.ledger}, o, nil
}

type countedRead struct {
	io.ReadCloser
	ledger *ledger
}

func (r *countedRead) Close() error {
	r.ledger.mu.Lock()
	r.ledger.open--
	r.ledger.mu.Unlock()
	return r.ReadCloser.Close()
}

// process is what a worker runs in. Its operations on both stores meet faults, and after a kill all of them fail.
type process struct {
	ledger *ledger
	die    context.CancelFunc // of what it is at

	mu      sync.Mutex
	random  *rand.Rand
	rate    float64       // the share of operations that meet a fault
	writing bool          // instead, most writes meet a fault, and nothing else does
	latency time.Duration // the longest that an operation takes
	lags    bool          // one operation in ten takes up to a hundred times that
	n       int           // operations so far
	killAt  int           // the operation that meets killed, counted from 0; -1 for none
	killed  kind
	lasting bool // the operations after killAt meet killed too
	dead    bool
}

// next counts an operation and decides on its fault, one of those kinds; empty is none.
func (p *process) next(kinds []kind) kind {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, drawn, which := p.n, p.random.Float64(), kinds[p.random.IntN(len(kinds))]
	rate := p.rate
	if p.writing {
		rate = 0
		if slices.Contains(kinds, conflict) || slices.Contains(kinds, error409) {
			rate = 0.7
		}
	}
	p.n++
	if p.dead {
		return dead
	}
	planned, due := p.ledger.due(kinds)
	switch {
	case due:
		which = planned
	case (n == p.killAt || p.lasting && n > p.killAt) && slices.Contains(kinds, p.killed):
		which = p.killed
	case drawn >= rate || !p.ledger.spend():
		return ""
	}
	p.ledger.meet(which)
	if which == killedBefore {
		p.kill()
	}
	return which
}

// kill ends the process. It is called with the lock held.
func (p *process) kill() {
	p.dead = true
	p.die()
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

func (p *process) intN(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.random.IntN(n)
}

// plan has one fault met for sure, at one of the first operations that can have it.
func (s *schedule) plan(drawn []kind, number int) {
	s.ledger.planned, s.ledger.skip = drawn[number%len(drawn)], s.random(6).IntN(4)
}

// due returns the planned fault, where it comes at an operation that can have those.
func (l *ledger) due(kinds []kind) (kind, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.planned == "" || !slices.Contains(kinds, l.planned) {
		return "", false
	}
	if l.skip > 0 {
		l.skip--
		return "", false
	}
	k := l.planned
	l.planned = ""
	return k, true
}

// spend takes a fault from the budget, and reports whether there was one left.
func (l *ledger) spend() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.budget--
	return l.budget >= 0
}

func (l *ledger) meet(k kind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.met[k]++
}

// do does an operation with its fault.
func (p *process) do(what, key string, k kind, op func() error) error {
	if most := int(p.latency); most > 0 {
		if p.lags && p.intN(10) == 0 {
			most *= 100
		}
		time.Sleep(time.Duration(p.intN(most)))
	}
	fault := func() error { return fmt.Errorf("%s %s: the test has it %s", what, key, k) }
	var err error
	switch k {
	case dead, killedBefore:
		return errKilled
	case throttled, failed, conflict:
		return fault()
	case killedAfter:
		err = op()
		p.mu.Lock()
		p.kill()
		p.mu.Unlock()
		p.answerLost(key, err)
		return errKilled
	case failedDone, timedOut:
		p.answerLost(key, op())
		return fault()
	case ownExists:
		if err = op(); err == nil {
			p.answerLost(key, nil)
			err = fmt.Errorf("%s %s: %w", what, key, objstore.ErrExists)
		}
		return err
	default:
		return op()
	}
}

// answerLost notes that the commit was done, and its worker was not told.
func (p *process) answerLost(key string, err error) {
	if err == nil && key == resultKey {
		p.ledger.mu.Lock()
		p.ledger.lost = true
		p.ledger.mu.Unlock()
	}
}

// faulty is a store as a process sees it.
type faulty struct {
	objstore.Store
	*process
}

var _ objstore.Store = (*faulty)(nil)

func (f *faulty) Head(ctx context.Context, key string) (o objstore.Object, err error) {
	err = f.do("head", "", f.next(anywhere), func() error { o, err = f.Store.Head(ctx, key); return err })
	return o, err
}

func (f *faulty) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	return f.do("put", key, f.next(writes), func() error { return f.Store.Put(ctx, key, body) })
}

func (f *faulty) PutNew(ctx context.Context, key string, body io.ReadSeeker) error {
	return f.do("put new", key, f.next(creates), func() error { return f.Store.PutNew(ctx, key, body) })
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	return f.do("delete", "", f.next(writes), func() error { return f.Store.Delete(ctx, key) })
}

func (f *faulty) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		var objects []objstore.Object
		k := f.next(lists)
		err := f.do("list", "", k, func() error {
			for o, err := range f.Store.List(ctx, prefix, after) {
				if err != nil {
					return err
				}
				objects = append(objects, o)
			}
			return nil
		})
		if k == truncated && err == nil {
			objects, err = objects[:f.intN(len(objects)+1)], errors.New("list: the test ends it early")
		} else if err != nil {
			objects = nil
		}
		for _, o := range objects {
			if !yield(o, nil) {
				return
			}
		}
		if err != nil {
			yield(objstore.Object{}, err)
		}
	}
}

func (f *faulty) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, objstore.Object, error) {
	var r io.ReadCloser
	var o objstore.Object
	k := f.next(reads)
	err := f.do("get", "", k, func() (err error) {
		r, o, err = f.Store.Get(ctx, key, from, etag)
		return err
	})
	if err != nil {
		if r != nil {
			_ = r.Close()
		}
		return nil, objstore.Object{}, err
	}
	return &faultyRead{r, f.process, k, f.intN(int(max(1, o.Size-from)))}, o, nil
}

// faultyRead is a read that has its fault after some bytes.
type faultyRead struct {
	io.ReadCloser
	process *process
	kind    kind
	left    int
}

func (r *faultyRead) Read(p []byte) (int, error) {
	if r.process.isDead() {
		return 0, errKilled
	}
	if r.kind == slow {
		time.Sleep(10 * time.Millisecond)
		return r.ReadCloser.Read(p[:min(len(p), 1<<16)])
	}
	if r.kind != truncated && r.kind != killedReading {
		return r.ReadCloser.Read(p)
	}
	if r.left == 0 {
		if r.kind == truncated {
			return 0, io.ErrUnexpectedEOF
		}
		r.process.mu.Lock()
		r.process.kill()
		r.process.mu.Unlock()
		return 0, errKilled
	}
	n, err := r.ReadCloser.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// copyObjects copies what is there below a prefix.
func copyObjects(ctx context.Context, from, to objstore.Store, prefix string) error {
	for o, err := range from.List(ctx, prefix, "") {
		if err == nil {
			err = copyObject(ctx, from, to, o.Key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyObject(ctx context.Context, from, to objstore.Store, key string) error {
	b, _, err := objstore.ReadAll(ctx, from, key, 1<<30)
	if err != nil {
		return err
	}
	return to.Put(ctx, key, strings.NewReader(string(b)))
}
