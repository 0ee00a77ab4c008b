package job_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
)

// moment is an operation of a worker: get, put and so on, and the key.
type moment struct{ op, key string }

// worker has a worker of the old job go on with its last shard, and calls before at each of its operations.
func (n *rivals) worker(t *testing.T, at *job.Place, before func(m moment)) (*job.Outcome, error) {
	var mu sync.Mutex // it reads parts several at a time
	hook := func(op, key string) error {
		mu.Lock()
		defer mu.Unlock()
		before(moment{op, key})
		return nil
	}
	w := worker(t, &job.Place{Name: at.Name, In: &hooked{at.In, hook}, Out: &hooked{at.Out, hook}})
	return w.Shard(t.Context(), n.old.shards[3])
}

// TestForceWhileAWorkerIsAtWork replaces a job at each operation of one of its workers, which mines and merges.
// Afterwards the result is the new job's, also where the old worker puts an object of its result right after it has
// looked whether the job is still its own.
func TestForceWhileAWorkerIsAtWork(t *testing.T) {
	t.Parallel()
	old := newInputs(t, mining.Options{}, 4)
	for name, n := range map[string]*rivals{
		"of other shards":  {old, newInputs(t, grouped(t, mining.Options{Top: 2}, 2), 3)},
		"of other options": {old, newInputs(t, mining.Options{Top: 2}, 4)},
		"the same":         {old, old},
	} {
		for state, before := range map[string]*job.Place{"nothing is mined": old.uploaded(t), "three of four are mined": func() *job.Place {
			x := old.on(t)
			for _, name := range old.shards[:3] {
				x.shard(name, job.Mined, "")
			}
			return x.at
		}()} {
			var moments []moment
			at := copyPlace(t, before)
			if _, err := n.worker(t, at, func(m moment) { moments = append(moments, m) }); err != nil {
				t.Fatal(err)
			}
			t.Run(name+", "+state, func(t *testing.T) {
				for number := range moments {
					for _, mined := range []bool{false, true} {
						result := moments[number].key == negativesKey || moments[number].key == resultKey
						if testing.Short() && !result && mined != (number%2 == 1) { // half of them, and all puts of the result
							continue
						}
						synctest.Test(t, func(t *testing.T) { n.replaced(t, copyPlace(t, before), number, mined) })
					}
				}
				t.Logf("%d moments", len(moments))
			})
		}
	}
}

// replaced makes the new job, by force, at a moment of a worker of the old one, and mines it at that moment, or later.
// It fails where the result is not the new job's without more ado.
func (n *rivals) replaced(t *testing.T, at *job.Place, number int, mined bool) {
	var m moment
	count, errs := 0, []error{}
	o, err := n.worker(t, at, func(now moment) {
		if count++; count == number+1 {
			m = now
			if errs = append(errs, n.new.make(t.Context(), at, true)); mined {
				goOn(t, at)
			}
		}
	})
	if e := errors.Join(errs...); e != nil || len(errs) != 1 {
		t.Fatalf("at %v: forced: %v", m, errs)
	}
	goOn(t, at)
	if of := n.whole(t, at); of != n.new {
		t.Errorf("at %v, mined is %v: the old worker: %+v, %v; the result is of %v", m, mined, o, err, of)
	}
	if err := n.new.make(t.Context(), at, false); err != nil {
		t.Errorf("at %v, mined is %v: init without --force: %v", m, mined, err)
	}
	n.new.mined(t, at)
}

// TestInitBesideALateWorker has objects of the old job come while Init replaces it. What comes while Init removes the
// others is removed too. What comes later is overwritten, by Init or by the new job's workers. Where there are results
// without inputs, Init fails before it uploads anything.
func TestInitBesideALateWorker(t *testing.T) {
	t.Parallel()
	n := newRivals(t)
	done := n.old.finished(t)
	late := func(t *testing.T, to *job.Place, key string) {
		t.Helper()
		if err := copyObject(t.Context(), done.Out, to.Out, key); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{job.ManifestKey, negativesKey, resultKey} {
		t.Run("removed, "+key, func(t *testing.T) {
			plain, came := copyPlace(t, done), 0
			at := &job.Place{Name: plain.Name, In: plain.In, Out: &hooked{plain.Out, func(op, deleted string) error {
				if op == "delete" && deleted == key && came == 0 {
					came++
					return plain.Out.Put(t.Context(), "parts/late", strings.NewReader(""))
				}
				return nil
			}}}
			if err := n.new.make(t.Context(), at, true); err != nil || came != 1 {
				t.Fatalf("%d came, %v", came, err)
			}
			for o, err := range plain.Out.List(t.Context(), "", "") {
				if err != nil || o.Key != job.ManifestKey && o.Key != sourceKey {
					t.Errorf("%s is left, %v", o.Key, err)
				}
			}
			n.new.mined(t, plain)
		})
	}
	for key, before := range map[string]moment{
		job.ManifestKey: {"put", job.ManifestKey}, negativesKey: {"delete", "cancelled.json"}, resultKey: {"delete", "cancelled.json"},
	} {
		t.Run("not removed, "+key, func(t *testing.T) {
			plain, came := copyPlace(t, done), 0
			at := &job.Place{Name: plain.Name, In: plain.In, Out: &hooked{plain.Out, func(op, of string) error {
				if (moment{op, of}) == before && came == 0 {
					came++
					late(t, plain, key)
				}
				return nil
			}}}
			if err := n.new.make(t.Context(), at, true); err != nil || came != 1 {
				t.Fatalf("%d came, %v", came, err)
			}
			if err := n.new.make(t.Context(), plain, false); err != nil {
				t.Errorf("without --force: %v", err)
			}
			if s, err := job.ReadStatus(t.Context(), plain); err != nil || s.State != job.Pending {
				t.Errorf("%+v, %v", s, err)
			}
			n.new.mined(t, plain)
		})
	}
	for key, want := range map[string]error{job.ManifestKey: option.ErrExists, resultKey: job.ErrReplaced} {
		t.Run("results without inputs, "+key, func(t *testing.T) {
			at := place()
			late(t, at, key)
			if err := n.new.make(t.Context(), at, false); !errors.Is(err, want) {
				t.Errorf("%v", err)
			}
			for o, err := range at.In.List(t.Context(), "", "") {
				if key == job.ManifestKey || err != nil { // whose a result is, is known once there is a manifest
					t.Errorf("%s was uploaded, %v", o.Key, err)
				}
			}
		})
	}
}

// TestForceSchedules replaces a job one to three times, by the new and the old one in turn, while workers mine and meet
// faults. Once that is over, whoever goes on with the job leads to the result of the last one.
func TestForceSchedules(t *testing.T) {
	n, dir := newRivals(t), t.TempDir()
	sum := &total{}
	each(t, schedules(t, 40), func(t *testing.T, number int) {
		before := n.old.uploaded(t)
		synctest.Test(t, func(t *testing.T) {
			s := n.old.newSchedule(t, uint64(number), before, dir)
			s.rate, s.writing, s.latency, s.lags, s.queue = s.rate/4, false, 5*time.Millisecond, true, newQueue(s.random(1))
			s.ledger = newLedger(s.random(3).IntN(maxForced / 2))
			last, ok := n.forces(t, s)
			goOn(t, s.clean)
			if of := n.whole(t, s.clean); !ok || of != last {
				s.errorf("the result is not the last job's")
			}
			sum.add(s)
		})
	})
	sum.log(t)
}

// maxForced is how often a job is forced until it is made. A try fails by a fault, of which a schedule has half as many
// at most.
const maxForced = 100

// forces runs workers of a job, and replaces it meanwhile.
func (n *rivals) forces(t *testing.T, s *schedule) (last *inputs, ok bool) {
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for number := range s.workers {
		all.Go(func() {
			for random := s.random(5 + uint64(number)); ctx.Err() == nil; {
				s.lap(ctx)
				time.Sleep(time.Duration(random.Int64N(int64(50 * s.latency))))
			}
		})
	}
	random := s.random(4)
	for i := range 1 + random.IntN(3) {
		last, ok = []*inputs{n.new, n.old}[i%2], false
		time.Sleep(time.Duration(random.Int64N(int64(300 * s.latency))))
		for try := 0; try < maxForced && !ok; try++ {
			p, _, within := s.process(t.Context())
			p.lags = false // so that it fits between a worker's look and its put
			in, out := s.place(p)
			ok = last.make(within, &job.Place{Name: s.clean.Name, In: in, Out: out}, true) == nil
			p.die()
		}
	}
	time.Sleep(time.Duration(random.Int64N(int64(300 * s.latency))))
	stop()
	all.Wait()
	return last, ok
}

// lap has a new worker sweep the job and mine what is uploaded, until something fails.
func (s *schedule) lap(ctx context.Context) {
	p, w, within := s.process(ctx)
	defer func() { p.die(); _ = w.Close(context.WithoutCancel(ctx)) }()
	o, err := w.Sweep(within)
	if err != nil {
		return
	}
	for _, name := range o.Uploaded {
		_, _ = w.Shard(within, name)
	}
}

// TestConflictInAReplacedJob: what a worker of the replaced job put late is overwritten, but a whole result of the job
// itself is not, even where its bytes are others than this worker's.
func TestConflictInAReplacedJob(t *testing.T) {
	n := newRivals(t)
	for _, whole := range []bool{false, true} {
		plain := n.old.uploaded(t)
		if err := n.new.make(t.Context(), plain, true); err != nil {
			t.Fatal(err)
		}
		other := n.new.negatives[:len(n.new.negatives)-1]
		came := 0
		at := &job.Place{Name: plain.Name, In: plain.In, Out: &hooked{plain.Out, func(op, key string) error {
			if op != "put" || key != negativesKey || came > 0 {
				return nil
			}
			came++
			err := plain.Out.Put(t.Context(), negativesKey, bytes.NewReader(other))
			if whole {
				manifest := strings.Replace(string(n.new.sample.manifest), sum(n.new.negatives), sum(other), 1)
				err = errors.Join(err, plain.Out.Put(t.Context(), resultKey, strings.NewReader(manifest)))
			}
			return err
		}}}
		w := worker(t, at)
		var err error
		for _, name := range n.new.shards {
			if _, e := w.Shard(t.Context(), name); e != nil {
				err = e
			}
		}
		if whole != errors.Is(err, job.ErrConflict) || !whole && err != nil || came != 1 {
			t.Errorf("whole is %v: %v", whole, err)
		}
	}
}

// TestReplacedBetweenTheLooks replaces a job, whose worker is about to overwrite what came late, before its second look.
// The worker puts nothing more.
func TestReplacedBetweenTheLooks(t *testing.T) {
	n := newRivals(t)
	plain := n.old.uploaded(t)
	if err := n.new.make(t.Context(), plain, true); err != nil {
		t.Fatal(err)
	}
	came, puts := 0, 0
	at := &job.Place{Name: plain.Name, In: plain.In, Out: &hooked{plain.Out, func(op, key string) error {
		switch {
		case op == "put" && key == negativesKey && came == 0:
			came++
			return plain.Out.Put(t.Context(), negativesKey, strings.NewReader("late"))
		case op == "put" && key == negativesKey:
			puts++
		case op == "get" && key == negativesKey && came == 1: // they are others
			came++
		case op == "get" && key == sourceKey && came == 2: // the job replaced another
			came++
			return n.old.make(t.Context(), plain, true)
		}
		return nil
	}}}
	w := worker(t, at)
	var err error
	for _, name := range n.new.shards {
		if _, e := w.Shard(t.Context(), name); e != nil {
			err = e
		}
	}
	if err == nil || puts != 0 || came != 3 {
		t.Errorf("%v, after %d puts", err, puts)
	}
	n.old.mined(t, plain)
}
