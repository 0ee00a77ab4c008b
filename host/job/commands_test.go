package job_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
)

// rivals are two jobs that want the same name.
type rivals struct{ old, new *inputs }

func newRivals(t testing.TB) *rivals {
	t.Helper()
	return &rivals{newInputs(t, mining.Options{}, 4), newInputs(t, grouped(t, mining.Options{Top: 2}, 2), 3)}
}

// copyPlace returns a new place with the same objects.
func copyPlace(t testing.TB, from *job.Place) *job.Place {
	t.Helper()
	to := place()
	if err := errors.Join(copyObjects(t.Context(), from.In, to.In, ""), copyObjects(t.Context(), from.Out, to.Out, "")); err != nil {
		t.Fatal(err)
	}
	return to
}

// uploaded returns the place of the job with all its inputs, of which none is mined.
func (i *inputs) uploaded(t *testing.T) *job.Place { return i.on(t).at }

// begun returns the place of the job with two shards mined.
func (i *inputs) begun(t *testing.T) *job.Place {
	x := i.on(t)
	for _, name := range i.shards[:2] {
		x.shard(name, job.Mined, "")
	}
	return x.at
}

// finished returns the place of the job with its result.
func (i *inputs) finished(t *testing.T) *job.Place {
	x := i.on(t)
	x.rest()
	return x.at
}

// cancelled returns the place of the job, which was begun and cancelled.
func (i *inputs) cancelled(t *testing.T) *job.Place {
	at := i.begun(t)
	if _, err := job.Cancel(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	return at
}

// make calls Init for the job.
func (i *inputs) make(ctx context.Context, at *job.Place, force bool) error {
	_, err := job.Init(ctx, at, i.folder, i.projection, job.InitOptions{Mine: i.options, Shards: len(i.shards), Force: force})
	return err
}

// goOn has a worker sweep the job and mine what is uploaded. A shard that it cannot mine is no failure here.
func goOn(t testing.TB, at *job.Place) {
	t.Helper()
	w := worker(t, at)
	o, err := w.Sweep(t.Context())
	if err != nil {
		return
	}
	for _, name := range o.Uploaded {
		_, _ = w.Shard(t.Context(), name)
	}
}

// mined has a worker do the job of a place, and checks the result.
func (i *inputs) mined(t testing.TB, at *job.Place) {
	t.Helper()
	goOn(t, at)
	i.check(t, at)
}

// whole fails where the result is neither job's, or where the status says finished and there is no result. It returns
// whose the result is, or nil where there is none.
func (n *rivals) whole(t testing.TB, at *job.Place) (of *inputs) {
	t.Helper()
	var b bytes.Buffer
	_, err := job.Fetch(t.Context(), at, &b)
	if s, e := job.ReadStatus(t.Context(), at); e == nil && s.State == job.Finished && err != nil {
		t.Errorf("the job is said to be finished: %v", err)
	}
	switch {
	case err != nil:
	case bytes.Equal(b.Bytes(), n.old.negatives):
		of = n.old
	case bytes.Equal(b.Bytes(), n.new.negatives):
		of = n.new
	default:
		t.Error("the result is of neither job")
	}
	return of
}

// call is a command on a job.
type call struct {
	name   string
	forced bool                          // it is init --force
	before func(t *testing.T) *job.Place // makes what is there before
	do     func(ctx context.Context, at *job.Place) error
	after  func(t *testing.T, at *job.Place) // checks what has to be there once the command has succeeded
}

func (n *rivals) calls() []call {
	init := func(ctx context.Context, at *job.Place) error { return n.new.make(ctx, at, false) }
	force := func(ctx context.Context, at *job.Place) error { return n.new.make(ctx, at, true) }
	cancel := func(ctx context.Context, at *job.Place) error { _, err := job.Cancel(ctx, at); return err }
	newMined := func(t *testing.T, at *job.Place) { n.new.mined(t, at) }
	isCancelled := func(t *testing.T, at *job.Place) {
		of := n.whole(t, at)
		goOn(t, at)
		s, err := job.ReadStatus(t.Context(), at)
		if err != nil || s.State != job.Cancelled || s.Mined != 0 || (s.Tallies != nil) != (of != nil) || n.whole(t, at) != of {
			t.Errorf("%+v, %v", s, err)
		}
	}
	return []call{
		{"init", false, func(*testing.T) *job.Place { return place() }, init, newMined},
		{"init of a job that is begun", false, n.new.begun, init, newMined},
		{"init --force of a job that is begun", true, n.old.begun, force, newMined},
		{"init --force of a finished job", true, n.old.finished, force, newMined},
		{"init --force of a cancelled job", true, n.old.cancelled, force, newMined},
		{"cancel", false, n.old.begun, cancel, isCancelled},
		{"cancel of a finished job", false, n.old.finished, cancel, func(t *testing.T, at *job.Place) {
			isCancelled(t, at)
			n.old.check(t, at)
		}},
		{"fetch", false, n.old.finished, func(ctx context.Context, at *job.Place) error {
			var b bytes.Buffer
			if _, err := job.Fetch(ctx, at, &b); err != nil {
				return err
			}
			if !bytes.Equal(b.Bytes(), n.old.negatives) {
				return errors.New("other bytes")
			}
			return nil
		}, func(t *testing.T, at *job.Place) { n.old.check(t, at) }},
	}
}

// outage is a fault of one operation, or where it lasts, of all operations from there on.
type outage struct {
	kind    kind
	lasting bool
}

var outages = []outage{
	{killedBefore, false}, {killedAfter, false}, {killedReading, false}, {throttled, true}, {throttled, false}, {timedOut, false}, {ownExists, false},
	{truncated, false},
}

// with runs a command on stores of which operation number has a fault; -1 is none. It returns how many operations the
// command made, and how many faults it met.
func (c *call) with(ctx context.Context, at *job.Place, number int, o outage) (n, met int, err error) {
	within, die := context.WithCancel(ctx)
	defer die()
	l := newLedger(0)
	p := &process{ledger: l, die: die, random: (&schedule{seed: uint64(number)}).random(0), killAt: number, killed: o.kind, lasting: o.lasting}
	err = c.do(within, &job.Place{Name: at.Name, In: &faulty{at.In, p}, Out: &faulty{at.Out, p}})
	return p.n, l.met[o.kind], err
}

// TestCommandsAtEveryOperation runs each command once for each of its operations, which fails, and then runs it again.
// In the end all is as if nothing had failed, also where a worker goes on with what is there between the two. With
// -short each operation fails in some of the ways.
func TestCommandsAtEveryOperation(t *testing.T) {
	n := newRivals(t)
	all, ran := &total{}, 0
	for _, c := range n.calls() {
		t.Run(c.name, func(t *testing.T) {
			before, operations, sum := c.before(t), 0, &total{}
			at := copyPlace(t, before)
			operations, _, err := c.with(t.Context(), at, -1, outage{})
			if err != nil {
				t.Fatal(err)
			}
			c.after(t, at)
			each(t, operations, func(t *testing.T, number int) {
				for k, o := range outages {
					for m, meanwhile := range []bool{false, true} {
						// With -short each operation meets two of the eight, one of them with a worker meanwhile.
						if testing.Short() && (number+3*k+4*m)%len(outages) != 0 {
							continue
						}
						synctest.Test(t, func(t *testing.T) { n.interrupted(t, &c, copyPlace(t, before), number, o, meanwhile, sum) })
					}
				}
			})
			t.Logf("%d operations", operations)
			sum.log(t)
			all.addAll(sum)
			ran++
		})
	}
	for _, o := range outages {
		if all.met[o.kind] == 0 && ran == len(n.calls()) { // and not some that -run names
			t.Errorf("no operation met %s", o.kind)
		}
	}
}

// interrupted runs a command that a fault may end, perhaps a worker, the command again, and then its check.
func (n *rivals) interrupted(t *testing.T, c *call, at *job.Place, number int, o outage, meanwhile bool, sum *total) {
	failed := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s %v at operation %d: %s", o.kind, o.lasting, number, fmt.Sprintf(format, args...))
	}
	_, met, err := c.with(t.Context(), at, number, o)
	if met == 0 {
		return
	}
	sum.add(&schedule{queue: newQueue(nil), ledger: &ledger{met: map[kind]int{o.kind: met}}, processes: 1})
	n.whole(t, at)
	if meanwhile {
		goOn(t, at)
		n.whole(t, at)
	}
	if err != nil {
		if c.forced {
			n.forgotten(t, copyPlace(t, at))
		}
		if err = c.do(t.Context(), at); err != nil {
			failed("%v", err)
		}
	}
	c.after(t, at)
	if t.Failed() {
		failed("see above")
	}
}

// forgotten runs init without the --force that it had when it was cut short. It is refused, or makes a sound job.
func (n *rivals) forgotten(t *testing.T, at *job.Place) {
	switch err := n.new.make(t.Context(), at, false); {
	case err == nil:
		n.new.mined(t, at)
	case !errors.Is(err, option.ErrExists):
		t.Errorf("without --force: %v", err)
	}
}
