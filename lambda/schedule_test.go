package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/storetest"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/stack"
)

// TestEveryRoute tells the function of uploads by each way that teams fan them out by, in messages and directly.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	for _, route := range stack.Routes() {
		for _, queued := range []bool{true, false} {
			const name = "nightly run+1 é%"
			w := newWorld(t, nil)
			w.upload(name)
			for _, key := range append(shardKeys(), job.ManifestKey) {
				o := stack.Object{Bucket: "in", Key: job.Folder + name + "/" + key, Size: 1, ETag: "0"}
				if queued {
					w.acknowledged(route.Body(o))
				} else if err := w.direct(string(route.Event(o))); err != nil {
					t.Errorf("%v, directly: %v", route, err)
				}
				gone := o
				gone.Event = "ObjectRemoved:Delete"
				before := len(w.lines())
				w.acknowledged(route.Body(gone))
				if lines := w.lines()[before:]; len(lines) != 1 || lines[0]["level"] != "INFO" {
					t.Errorf("%v: a deletion: %v", route, lines)
				}
			}
			w.finished(name)
		}
	}
}

// trouble is what goes wrong in a schedule until it ends.
type trouble struct {
	over   atomic.Bool
	denied map[string]bool // keys of inputs
	lists  bool            // the inputs may not be listed

	mu     sync.Mutex
	random *rand.Rand
	rate   float64 // share of the other operations that fail
}

// before is what a store of that URL calls before each operation. A policy denies some inputs, which the list has,
// unless that is denied too.
func (t *trouble) before(url string) func(op, key string) error {
	return func(op, key string) error {
		if t.over.Load() {
			return nil
		}
		if t.denied[key] && (op == "head" || op == "get") || op == "list" && t.lists && url == "s3://in" {
			return fmt.Errorf("%s %s/%s: %w", op, url, key, objstore.ErrDenied)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.random.Float64() < t.rate {
			return fmt.Errorf("%s %s/%s: %w", op, url, key, objstore.ErrNoBucket) // which nothing tries again at once
		}
		return nil
	}
}

// schedule is a function with its queue, on some stores, and what goes wrong until it ends. A seed draws all of it.
type schedule struct {
	*world
	random      *rand.Rand
	trouble     *trouble
	queue, dead *stack.Queue
	notifier    *stack.Notifier
	poller      *stack.Poller
	jobs        []string
}

func newSchedule(t *testing.T, seed uint64, in, out objstore.Store) *schedule {
	s := &schedule{random: rand.New(rand.NewPCG(seed, 1)), jobs: []string{"a b+é", "b"}}
	s.trouble = &trouble{denied: map[string]bool{}, lists: s.random.IntN(3) == 0, random: rand.New(rand.NewPCG(seed, 2)), rate: 0.02}
	sample, err := demoJob()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range s.jobs {
		for _, key := range slices.Sorted(maps.Keys(sample.objects)) {
			if s.random.IntN(5) == 0 {
				s.trouble.denied[job.Folder+name+"/"+key] = true
			}
		}
	}
	s.world = &world{t: t, sample: sample, in: watch("s3://in", in), out: watch("s3://results", out)}
	s.in.before, s.out.before = s.trouble.before(s.in.url), s.trouble.before(s.out.url)
	clock := &stack.Clock{}
	s.dead, err = stack.NewQueue(stack.QueueConfig{Name: "dead", Clock: clock})
	if err == nil {
		s.queue, err = stack.NewQueue(stack.QueueConfig{Clock: clock, Seed: seed, Duplicates: 0.3, ShortBatches: true, MaxReceives: 5, DeadLetters: s.dead})
	}
	if err != nil {
		t.Fatal(err)
	}
	atOnce := 1 + s.random.IntN(4)
	s.handler = New(Config{
		Inputs: "s3://in", Results: "s3://results", Queue: s, Dir: t.TempDir(), Log: slog.New(slog.NewJSONHandler(&s.log, nil)), SweepAge: 1, Concurrency: atOnce,
		Run: mining.Compute{Engine: native, Threads: 2, Memory: option.ProcessBudget(2 << 30)},
		open: func(_ context.Context, url string) (objstore.Store, error) {
			return map[string]objstore.Store{"s3://in": s.in, "s3://results": s.out}[url], nil
		},
	})
	t.Cleanup(func() {
		if err := s.handler.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s.notifier = &stack.Notifier{Queue: s.queue, Route: stack.DrawRoute(seed)}
	s.poller, err = stack.StartPoller(stack.PollerConfig{Queue: s.queue, Invoke: s.handler.Invoke, BatchSize: 4, Concurrency: atOnce + s.random.IntN(2), SkipWaits: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.poller.Stop)
	return s
}

// Send is the queue that the function sends to.
func (s *schedule) Send(_ context.Context, bodies []string) error {
	for _, body := range bodies {
		if _, err := s.queue.Send(body); err != nil {
			return err
		}
	}
	return nil
}

// uploadAll uploads the jobs' objects in any order, also across jobs, and notifies the queue.
func (s *schedule) uploadAll() {
	var keys []string
	for _, name := range s.jobs {
		for _, key := range slices.Sorted(maps.Keys(s.sample.objects)) {
			keys = append(keys, job.Folder+name+"/"+key)
		}
	}
	s.random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, key := range keys {
		name, object, _ := job.ParseKey(key)
		s.put(name, object, s.sample.objects[object])
		if _, err := s.notifier.Uploaded("in", key, 1, "0"); err != nil {
			s.t.Fatal(err)
		}
	}
}

// drain waits until each message is done or in the dead-letter queue.
func (s *schedule) drain() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.poller.Drain(ctx); err != nil {
		s.t.Fatal(err)
	}
	if err := s.queue.Check(); err != nil {
		s.t.Error(err)
	}
}

// patience is how long a test waits for what must come.
const patience = 5 * time.Minute

// reasons fails where a message is in the dead-letter queue of which the log does not say why.
func (s *schedule) reasons() {
	s.t.Helper()
	why := map[string]int{}
	for _, l := range s.lines() {
		if problem, _ := l["problem"].(string); l["level"] == "ERROR" && problem != "" {
			id, _ := l["message"].(string)
			why[id]++
		}
	}
	for _, m := range s.dead.Left() {
		if why[m.ID] < 5 {
			s.t.Errorf("a message is dead, and %d lines say why: %s", why[m.ID], m.Body)
		}
	}
}

// run runs a schedule: uploads come in any order by any route, some inputs are denied, requests fail, messages come
// twice, and invocations at once. Then the trouble ends, the dead letters are sent back or the schedule's sweep comes,
// and both jobs have their result.
func (s *schedule) run() {
	t := s.t
	if err := s.notifier.Configured("in"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.queue.Send("not an event"); err != nil {
		t.Fatal(err)
	}
	s.uploadAll()
	s.drain()
	s.reasons()
	denied := len(s.dead.Left())
	s.trouble.over.Store(true)
	swept := s.random.IntN(2) == 0
	if swept { // and the dead letters are lost
		if err := s.direct(sweepIn); err != nil {
			t.Errorf("the sweep: %v", err)
		}
	} else {
		s.dead.Redrive(s.queue)
	}
	s.drain()
	s.reasons()
	for _, name := range s.jobs {
		s.finished(name)
	}
	t.Logf("%d at once, %d keys denied, lists denied: %v; %d messages were dead; swept: %v; queue %+v",
		s.handler.config.Concurrency, len(s.trouble.denied), s.trouble.lists, denied, swept, s.queue.Counters())
}

// TestSchedules runs schedules on stores in memory, on folders, and on an S3 server.
func TestSchedules(t *testing.T) {
	n := uint64(20)
	if testing.Short() {
		n = 2
	}
	server := sync.OnceValue(func() func(seed uint64) (in, out objstore.Store) { return buckets(t) })
	for name, open := range map[string]func(t *testing.T, seed uint64) (in, out objstore.Store){
		"memory": func(*testing.T, uint64) (in, out objstore.Store) { return objstore.NewMemory(), objstore.NewMemory() },
		"folders": func(t *testing.T, _ uint64) (in, out objstore.Store) {
			return openStore(t, filepath.Join(t.TempDir(), "in")), openStore(t, filepath.Join(t.TempDir(), "out"))
		},
		"S3": func(_ *testing.T, seed uint64) (in, out objstore.Store) { return server()(seed) },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range n {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					in, out := open(t, seed)
					newSchedule(t, seed, in, out).run()
				})
			}
		})
	}
}

func openStore(t *testing.T, url string) objstore.Store {
	t.Helper()
	s, err := objstore.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// buckets starts an S3 server. Each seed has two buckets of its own there.
func buckets(t *testing.T) func(seed uint64) (in, out objstore.Store) {
	server := storetest.S3(t)
	return func(seed uint64) (in, out objstore.Store) {
		names := []string{fmt.Sprintf("in-%d", seed), fmt.Sprintf("out-%d", seed)}
		for _, name := range names {
			if err := server.CreateBucket(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		return openStore(t, "s3://"+names[0]), openStore(t, "s3://"+names[1])
	}
}

// TestSeveralAtOnce invokes one handler from many goroutines, with the shards of several jobs, and more of them than it
// has workers for. Each part is right, and no more workers are open than the configuration says.
func TestSeveralAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	const atOnce = 3
	config := w.handler.config
	config.Concurrency, config.Run = atOnce, mining.Compute{Engine: native, Threads: 4, Memory: option.ProcessBudget(2 << 30)}
	w.handler = New(config)
	if run := w.handler.config.Run; run.Threads != 1 || run.Memory.Bytes > 2<<30/atOnce {
		t.Errorf("each has %+v", run)
	}
	open, most := atomic.Int64{}, atomic.Int64{}
	inner := w.handler.workers.open
	w.handler.workers.open = func(ctx context.Context, name string) (*job.Worker, error) {
		n := open.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		return inner(ctx, name)
	}
	w.handler.workers.closed = func() { open.Add(-1) }
	names := []string{"a", "b", "c", "d"}
	var bodies []string
	for _, name := range names {
		w.upload(name)
		bodies = append(bodies, toldAll(name)...)
	}
	bodies = append(bodies, bodies...)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(bodies), func(i, j int) { bodies[i], bodies[j] = bodies[j], bodies[i] })
	var all sync.WaitGroup
	for lane := range 2 * atOnce {
		all.Go(func() {
			for i := lane; i < len(bodies); i += 2 * atOnce {
				if _, err := w.handler.Invoke(t.Context(), []byte(bodies[i])); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for _, name := range names {
		w.finished(name)
	}
	if most.Load() > atOnce || most.Load() < 2 {
		t.Errorf("%d workers were open at once", most.Load())
	}
	cold := 0
	for _, l := range w.lines() {
		if l["cold_start"] == true {
			cold++
		}
	}
	if cold == 0 || cold > 1 {
		t.Errorf("%d lines are of a cold start", cold)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.handler.Invoke(stopped, []byte(told("a", shardKey(0)))); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}
