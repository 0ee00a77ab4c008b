package job_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
)

// forgetful is a store that does not list the parts of some shard. Before it lists anything it calls a function.
type forgetful struct {
	objstore.Store
	shard string
	first func() error
}

func (f *forgetful) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		if f.first != nil {
			if err := f.first(); err != nil {
				yield(objstore.Object{}, err)
				return
			}
		}
		for o, err := range f.Store.List(ctx, prefix, after) {
			if !strings.Contains(o.Key, f.shard) && !yield(o, err) {
				return
			}
		}
	}
}

// TestPartsThatAreNotListed: a job finishes because each worker sees its own parts in the list. A worker that does not
// see them fails: if it took its shard for done, no worker might ever see all parts.
func TestPartsThatAreNotListed(t *testing.T) {
	x := newInputs(t, mining.Options{}, 3).on(t)
	plain, behind := x.at.Out, &forgetful{Store: x.at.Out, shard: "-0000002-"}
	w := worker(t, &job.Place{Name: x.at.Name, In: x.at.In, Out: behind})
	for _, name := range x.shards[:2] {
		x.shard(name, job.Mined, "")
	}
	for range 2 { // mined, then there
		o, err := w.Shard(t.Context(), x.shards[2])
		if err == nil || !strings.Contains(err.Error(), x.shards[2]) || !strings.Contains(err.Error(), plain.URL()) {
			t.Errorf("%+v, %v", o, err)
		}
	}
	behind.shard = "no shard's"
	if o, err := w.Shard(t.Context(), x.shards[2]); err != nil || !o.Committed {
		t.Errorf("%+v, %v", o, err)
	}
	x.check(t, x.at)
}

// TestCancelledBeforeTheList has the parts removed between a worker's put and its list.
func TestCancelledBeforeTheList(t *testing.T) {
	x := newInputs(t, mining.Options{}, 3).on(t)
	at := *x.at
	at.Out = &forgetful{Store: x.at.Out, shard: "no shard's", first: func() error { _, err := job.Cancel(t.Context(), x.at); return err }}
	if o, err := worker(t, &at).Shard(t.Context(), x.shards[0]); err != nil || o.Action != job.Cancelled {
		t.Errorf("%+v, %v", o, err)
	}
}

// TestStatusBesideACancel has the parts, and the records of what was refused, removed after a status has listed them.
func TestStatusBesideACancel(t *testing.T) {
	for _, gone := range []string{"parts/", "refused/"} {
		x := newInputs(t, mining.Options{}, 3).on(t)
		x.shard(x.shards[0], job.Mined, "")
		x.put(x.shards[1], []byte("x"))
		x.shard(x.shards[1], job.Refused, "its size")
		at := *x.at
		at.Out = &hooked{x.at.Out, func(op, key string) error {
			if op != "get" || !strings.HasPrefix(key, gone) {
				return nil
			}
			_, err := job.Cancel(t.Context(), x.at)
			return errors.Join(err, x.at.Out.Delete(t.Context(), key))
		}}
		s, err := job.ReadStatus(t.Context(), &at)
		if err != nil || s.State != job.Cancelled || gone == "refused/" && len(s.Refused) > 0 {
			t.Errorf("%s: %+v, %v", gone, s, err)
		}
	}
}

// TestCancelledWhileMerging has the parts removed while they are merged, and then a job that is not cancelled lose one.
func TestCancelledWhileMerging(t *testing.T) {
	for _, cancels := range []bool{true, false} {
		x := newInputs(t, mining.Options{}, 3).on(t)
		for _, name := range x.shards[:2] {
			x.shard(name, job.Mined, "")
		}
		at := *x.at
		at.Out = &hooked{x.at.Out, func(op, key string) error {
			if op != "get" || !strings.HasPrefix(key, "parts/") {
				return nil
			}
			if cancels {
				_, err := job.Cancel(t.Context(), x.at)
				return err
			}
			return x.at.Out.Delete(t.Context(), key)
		}}
		o, err := worker(t, &at).Shard(t.Context(), x.shards[2])
		if cancels && (err != nil || o.Action != job.Cancelled) || !cancels && !errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("cancelled is %v: %+v, %v", cancels, o, err)
		}
	}
}
