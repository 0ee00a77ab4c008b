package job_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
)

// denied is a store as S3 shows it to those who may not list it: what is not there is denied. A locked one denies
// everything.
type denied struct {
	objstore.Store
	locked bool
}

func (d denied) Head(ctx context.Context, key string) (objstore.Object, error) {
	o, err := d.Store.Head(ctx, key)
	if d.locked || errors.Is(err, objstore.ErrNotExist) {
		return objstore.Object{}, objstore.ErrDenied
	}
	return o, err
}

func (d denied) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, objstore.Object, error) {
	if _, err := d.Head(ctx, key); err != nil {
		return nil, objstore.Object{}, err
	}
	return d.Store.Get(ctx, key, from, etag)
}

func (d denied) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	if d.locked {
		return func(yield func(objstore.Object, error) bool) { yield(objstore.Object{}, objstore.ErrDenied) }
	}
	return d.Store.List(ctx, prefix, after)
}

// TestResultsThatAreDenied: a job begins whether S3 says of a missing object that it is missing, or that it is denied.
// A worker that may not read the results at all fails with ErrDenied, instead of waiting for them.
func TestResultsThatAreDenied(t *testing.T) {
	x := newInputs(t, mining.Options{}, 3).on(t)
	plain := x.at
	x.at = &job.Place{Name: plain.Name, In: denied{plain.In, false}, Out: denied{plain.Out, false}}
	x.w = worker(t, x.at)
	x.sweep(job.Pending, "")
	for _, name := range x.shards {
		x.shard(name, job.Mined, "")
	}
	x.check(t, plain)

	for _, in := range []objstore.Store{plain.In, denied{plain.In, false}, denied{plain.In, true}, denied{objstore.NewMemory(), false}} {
		w := worker(t, &job.Place{Name: plain.Name, In: in, Out: denied{plain.Out, true}})
		if o, err := w.Sweep(t.Context()); !errors.Is(err, objstore.ErrDenied) {
			t.Errorf("a sweep: %+v, %v", o, err)
		}
		if o, err := w.Shard(t.Context(), x.shards[0]); !errors.Is(err, objstore.ErrDenied) {
			t.Errorf("a shard: %+v, %v", o, err)
		}
	}
	for _, key := range []string{negativesKey, resultKey} {
		if err := plain.Out.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	// The list has the manifest, which may not be read.
	w := worker(t, &job.Place{Name: plain.Name, In: plain.In, Out: lockedObject{plain.Out, job.ManifestKey}})
	if o, err := w.Sweep(t.Context()); !errors.Is(err, objstore.ErrDenied) {
		t.Errorf("a sweep: %+v, %v", o, err)
	}
}

// lockedObject is a store of which one object may not be read, though a list has it.
type lockedObject struct {
	objstore.Store
	key string
}

func (l lockedObject) Head(ctx context.Context, key string) (objstore.Object, error) {
	if key == l.key {
		return objstore.Object{}, fmt.Errorf("head %s: %w", key, objstore.ErrDenied)
	}
	return l.Store.Head(ctx, key)
}

func (l lockedObject) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, objstore.Object, error) {
	if key == l.key {
		return nil, objstore.Object{}, fmt.Errorf("get %s: %w", key, objstore.ErrDenied)
	}
	return l.Store.Get(ctx, key, from, etag)
}

// unlistable is a store that may not be listed, and denies what is not there.
type unlistable struct{ denied }

func (u unlistable) List(context.Context, string, string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) { yield(objstore.Object{}, objstore.ErrDenied) }
}

// TestDeniedInput denies one of a job's inputs to its worker, who may list the inputs, or not. The shard fails, since
// nothing would bring its turn again if it passed for one that waits; the status says why; and once the input may be
// read, the job goes on.
func TestDeniedInput(t *testing.T) {
	i := newInputs(t, mining.Options{}, 3)
	for _, key := range []string{job.ManifestKey, "projection.safetensors", "pairs/00000.safetensors", i.shards[1]} {
		for _, listable := range []bool{true, false} {
			x := i.on(t)
			at := *x.at
			if at.In = (lockedObject{x.at.In, key}); !listable {
				at.In = unlistable{denied{at.In, false}}
			}
			x.w = worker(t, &at)
			for range 2 {
				o, err := x.w.Shard(t.Context(), i.shards[1])
				refusal := (*job.Denied)(nil)
				if !errors.Is(err, objstore.ErrDenied) || !errors.As(err, &refusal) || refusal.Name != key || !strings.Contains(err.Error(), "hint: let workers read") {
					t.Fatalf("%s: %+v, %v", key, o, err)
				}
			}
			x.refused(key)
			if s := x.status(); s.State != job.Pending || s.Mined != 0 {
				t.Errorf("%s: %+v", key, s)
			}
			if key != job.ManifestKey { // what is denied is not taken for what is missing
				if o := x.sweep(job.Pending, ""); len(o.Uploaded) != 3 || len(o.Absent) != 0 {
					t.Errorf("%s: %+v", key, o)
				}
			}
			x.w = worker(t, x.at)
			x.rest()
			x.refused()
		}
	}
}

// TestMissingInputThatIsDenied: where S3 says of a missing input that it is denied, a worker that may list waits for it,
// and one that may not list fails.
func TestMissingInputThatIsDenied(t *testing.T) {
	i := newInputs(t, mining.Options{}, 3)
	for _, key := range []string{job.ManifestKey, "projection.safetensors", "pairs/00000.safetensors", i.shards[1]} {
		x := i.on(t)
		whole := x.original(key)
		if err := x.at.In.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		at := *x.at
		at.In = denied{x.at.In, false}
		x.w = worker(t, &at)
		x.shard(i.shards[1], job.Waits, "there is no "+key)
		at.In = unlistable{denied{x.at.In, false}}
		if o, err := worker(t, &at).Shard(t.Context(), i.shards[1]); !errors.As(err, new(*job.Denied)) {
			t.Errorf("%s: %+v, %v", key, o, err)
		}
		x.put(key, whole)
		x.rest()
		x.refused()
	}
}

// TestInitHasToList: where Init cannot tell a job that is not there from one that it may not read, it puts nothing.
func TestInitHasToList(t *testing.T) {
	i := newInputs(t, mining.Options{}, 3)
	for _, which := range []string{"inputs", "results"} {
		at := place()
		plain := at.In
		if which == "inputs" {
			at.In = denied{at.In, false}
		} else {
			at.Out = denied{at.Out, false}
		}
		if _, err := job.Init(t.Context(), at, i.folder, i.projection, job.InitOptions{Mine: i.options, Shards: 3}); !errors.Is(err, objstore.ErrDenied) {
			t.Errorf("%s: %v", which, err)
		}
		for o, err := range plain.List(t.Context(), "", "") {
			t.Errorf("%s: %v, %v", which, o, err)
		}
	}
}

// TestDeniedManifestOfAJobUnderWay: a job goes by its copy of the manifest, so that to deny the original changes nothing.
func TestDeniedManifestOfAJobUnderWay(t *testing.T) {
	x := newInputs(t, mining.Options{}, 3).on(t)
	x.shard(x.shards[0], job.Mined, "")
	at := *x.at
	at.In = lockedObject{x.at.In, job.ManifestKey}
	x.w = worker(t, &at)
	x.sweep(job.Pending, "")
	x.rest()
}
