package job_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
)

// event says that an object of the job was uploaded, or that its turn has come again.
type event struct {
	key   string
	tries int
}

// queue delivers events in a random order. It is drained where no event waits, none is handled, and no more are uploaded.
type queue struct {
	mu            sync.Mutex
	changed       *sync.Cond
	random        *rand.Rand
	waiting       []*event
	busy          int
	uploading     bool
	pushed, acked int
}

func newQueue(random *rand.Rand) *queue {
	q := &queue{random: random, uploading: true}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// push adds an event, one to three times.
func (q *queue) push(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range 1 + q.random.IntN(3) {
		q.waiting = append(q.waiting, &event{key: key})
		q.pushed++
	}
	q.changed.Broadcast()
}

func (q *queue) uploaded() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.uploading = false
	q.changed.Broadcast()
}

// take waits for an event. It returns nil where the queue is drained.
func (q *queue) take() *event {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 {
		if q.busy == 0 && !q.uploading {
			return nil
		}
		q.changed.Wait()
	}
	i := q.random.IntN(len(q.waiting))
	e := q.waiting[i]
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.busy++
	return e
}

// done ends the handling of an event that was taken. After an error the event comes back.
func (q *queue) done(e *event, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy--
	if err == nil {
		q.acked++
	} else {
		e.tries++
		q.waiting = append(q.waiting, e)
	}
	q.changed.Broadcast()
}

// schedule is one run of a job. Its seed decides the uploads, the deliveries, and what each worker draws. In which
// order the workers come to their operations varies.
type schedule struct {
	t         testing.TB
	seed      uint64
	from      objstore.Store // a job's inputs, complete
	shards    []string
	clean     *job.Place                                // its stores, without faults
	place     func(p *process) (in, out objstore.Store) // its stores as a process sees them
	workers   int
	dir       string
	rate      float64 // these four are as in process
	writing   bool
	latency   time.Duration
	lags      bool
	anyInputs bool // pairs and projection come in any order too

	ledger    *ledger
	queue     *queue
	mu        sync.Mutex
	committed int
	processes int
}

func (s *schedule) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, stream)) }

func (s *schedule) errorf(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("schedule %d: %s", s.seed, fmt.Sprintf(format, args...))
}

// run uploads the job and has workers handle the events until the queue is drained.
func (s *schedule) run(ctx context.Context) {
	s.queue = newQueue(s.random(1))
	var all sync.WaitGroup
	all.Go(func() { s.upload(ctx) })
	for range s.workers {
		all.Go(func() { s.work(ctx) })
	}
	all.Wait()
	if s.queue.pushed != s.queue.acked {
		s.errorf("%d events, %d of them done", s.queue.pushed, s.queue.acked)
	}
}

// upload uploads the job in a random order, with the manifest before, after or among the shards.
func (s *schedule) upload(ctx context.Context) {
	random := s.random(2)
	defer s.queue.uploaded()
	first, order := []string{}, append([]string{job.ManifestKey}, s.shards...)
	for o, err := range s.from.List(ctx, "", "") {
		switch {
		case err != nil:
			s.errorf("%v", err)
			return
		case o.Key == job.ManifestKey || strings.HasPrefix(o.Key, job.ShardsPrefix):
		case s.anyInputs:
			order = append(order, o.Key)
		default:
			first = append(first, o.Key)
		}
	}
	switch random.IntN(4) {
	case 0: // the manifest first
		random.Shuffle(len(order)-1, func(i, j int) { order[1+i], order[1+j] = order[1+j], order[1+i] })
	case 1: // the manifest last
		slices.Reverse(order)
		random.Shuffle(len(order)-1, func(i, j int) { order[i], order[j] = order[j], order[i] })
	default:
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	for _, key := range append(first, order...) {
		if s.latency > 0 {
			time.Sleep(time.Duration(random.Int64N(20 * int64(s.latency))))
		}
		if err := copyObject(ctx, s.from, s.clean.In, key); err != nil {
			s.errorf("%v", err)
			return
		}
		s.queue.push(key)
	}
}

// process starts a worker in a process of its own.
func (s *schedule) process(ctx context.Context) (*process, *job.Worker, context.Context) {
	s.mu.Lock()
	s.processes++
	number := s.processes
	s.mu.Unlock()
	ctx, die := context.WithCancel(ctx)
	p := &process{ledger: s.ledger, die: die, random: s.random(10 + uint64(number)), rate: s.rate, writing: s.writing, latency: s.latency, lags: s.lags, killAt: -1}
	in, out := s.place(p)
	w, err := job.NewWorker(in, out, job.Options{Compute: mining.Compute{Engine: native, Threads: 1}, Dir: s.dir})
	if err != nil {
		panic(err) // the disk is full
	}
	return p, w, ctx
}

// work handles events. After a kill another worker goes on.
func (s *schedule) work(ctx context.Context) {
	p, w, within := s.process(ctx)
	defer func() { p.die(); _ = w.Close(ctx) }()
	for e := s.queue.take(); e != nil; e = s.queue.take() {
		again, err := s.handle(within, p, w, e.key)
		switch {
		case errors.Is(err, job.ErrConflict):
			s.errorf("%s: %v", e.key, err)
		case e.tries == maxTries:
			s.errorf("%s is never done: %v", e.key, err)
			err = nil
		}
		for _, key := range again {
			s.queue.push(key)
		}
		s.queue.done(e, err)
		if p.isDead() {
			_ = w.Close(ctx)
			p, w, within = s.process(ctx)
		}
	}
}

// maxTries ends an event that is never done. A schedule has fewer faults, so an event that fails more often fails
// without one.
const maxTries = 500

// handle does what package lambda does with an event, and returns the shards whose turn comes again.
func (s *schedule) handle(ctx context.Context, p *process, w *job.Worker, key string) (again []string, err error) {
	var o *job.Outcome
	if strings.HasPrefix(key, job.ShardsPrefix) {
		o, err = w.Shard(ctx, key)
	} else {
		o, err = w.Sweep(ctx)
	}
	if p.isDead() { // what it was about to answer is lost
		if err == nil && o.Committed {
			s.ledger.lost = true
		}
		return nil, errKilled
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Committed {
		s.committed++
	}
	if o.Action == job.Refused || o.Action == job.Cancelled {
		s.errorf("%s: %+v", key, o)
	}
	return o.Uploaded, nil
}

// verify checks that the job is done, exactly once.
func (s *schedule) verify(want *sample) {
	s.t.Helper()
	want.check(s.t, s.clean)
	if there, _, err := objstore.ReadAll(s.t.Context(), s.clean.Out, resultKey, 1<<20); err != nil || string(there) != string(want.manifest) {
		s.errorf("%s: %v, or other bytes", resultKey, err)
	}
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	if s.committed > 1 || s.committed == 0 && !s.ledger.lost {
		s.errorf("%d workers committed", s.committed)
	}
	for _, key := range []string{negativesKey, resultKey} {
		if n := s.ledger.created[key]; n != 1 {
			s.errorf("%s was made %d times", key, n)
		}
	}
}
