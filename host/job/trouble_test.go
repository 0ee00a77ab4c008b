package job_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
)

// hooked calls a function before each operation, and again once a read has begun; its error is the operation's.
type hooked struct {
	objstore.Store
	before func(op, key string) error
}

func (h *hooked) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, objstore.Object, error) {
	if err := h.before("get", key); err != nil {
		return nil, objstore.Object{}, err
	}
	r, o, err := h.Store.Get(ctx, key, from, etag)
	if err == nil {
		err = h.before("got", key)
	}
	return r, o, err
}

func (h *hooked) Head(ctx context.Context, key string) (objstore.Object, error) {
	if err := h.before("head", key); err != nil {
		return objstore.Object{}, err
	}
	return h.Store.Head(ctx, key)
}

func (h *hooked) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	if err := h.before("list", prefix); err != nil {
		return func(yield func(objstore.Object, error) bool) { yield(objstore.Object{}, err) }
	}
	return h.Store.List(ctx, prefix, after)
}

func (h *hooked) Delete(ctx context.Context, key string) error {
	if err := h.before("delete", key); err != nil {
		return err
	}
	return h.Store.Delete(ctx, key)
}

func (h *hooked) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	if err := h.before("put", key); err != nil {
		return err
	}
	return h.Store.Put(ctx, key, body)
}

func (h *hooked) PutNew(ctx context.Context, key string, body io.ReadSeeker) error {
	if err := h.before("put", key); err != nil {
		return err
	}
	return h.Store.PutNew(ctx, key, body)
}

func TestManifestChangedUnderWay(t *testing.T) {
	x := newInputs(t, mining.Options{}, 4).on(t)
	x.shard(x.shards[0], job.Mined, "")
	for _, b := range [][]byte{x.edit(t, func(m *job.Manifest) { m.Result.Top-- }), []byte("none")} {
		x.put(job.ManifestKey, b)
		x.sweep(job.Pending, "")
		x.refused(job.ManifestKey)
		x.shard(x.shards[1], x.next(1), "")
	}
	x.w = worker(t, x.at) // another one goes by the first too
	x.rest()
	x.refused(job.ManifestKey)
}

// next is what becomes of a shard whose part may be there.
func (x *trial) next(shard int) job.Action {
	if x.status().Mined > shard {
		return job.AlreadyMined
	}
	return job.Mined
}

// TestCorruptInputs refuses shards whose projection or pairs are not the manifest's, and mines them once those are mended.
func TestCorruptInputs(t *testing.T) {
	t.Parallel()
	i := newInputs(t, grouped(t, mining.Options{}, 2), 4)
	for _, key := range []string{i.manifest.Projection.Name, i.manifest.Groups[0].Name, i.manifest.Groups[1].Name} {
		for name, change := range map[string]func(b []byte) []byte{
			"bit": func(b []byte) []byte { b[len(b)-9] ^= 1; return b }, "cut": func(b []byte) []byte { return b[:100] },
		} {
			t.Run(name+" of "+key, func(t *testing.T) {
				x := i.on(t)
				x.put(key, change(x.original(key)))
				x.shard(x.shards[0], job.Refused, "manifest says")
				x.refused(key)
				x.mend(key)
				x.refused()
				if o := x.sweep(job.Pending, ""); len(o.Uploaded) != 4 {
					t.Fatalf("%+v", o)
				}
				x.rest()
				x.refused()
			})
			t.Run(name+" of "+key+", as the manifest says", func(t *testing.T) {
				x := i.on(t)
				b := change(x.original(key))
				x.put(key, b)
				x.put(job.ManifestKey, x.edit(t, func(m *job.Manifest) {
					for f := range m.Groups {
						if m.Groups[f].Name == key {
							m.Groups[f].Size, m.Groups[f].SHA256 = int64(len(b)), sum(b)
						}
					}
					if m.Projection.Name == key {
						m.Projection.Size, m.Projection.SHA256, m.Result.Projection.SHA256 = int64(len(b)), sum(b), sum(b)
					}
				}))
				if o, err := x.w.Shard(t.Context(), x.shards[0]); err != nil || o.Action != job.Refused && name == "cut" {
					t.Fatalf("%+v, %v", o, err)
				}
			})
		}
	}
	t.Run("pairs, when all parts are there", func(t *testing.T) {
		x := i.on(t)
		for _, name := range x.shards[:3] {
			x.shard(name, job.Mined, "")
		}
		key := i.manifest.Groups[1].Name
		gone := &job.Place{Name: x.at.Name, In: x.at.In, Out: &hooked{x.at.Out, func(op, key string) error {
			if op == "put" && key == negativesKey {
				return errors.New("the network is gone")
			}
			return nil
		}}}
		if _, err := worker(t, gone).Shard(t.Context(), x.shards[3]); err == nil {
			t.Fatal("no error")
		}
		x.put(key, x.original(key)[1:])
		x.w = worker(t, x.at)
		x.sweep(job.Refused, "manifest says")
		x.refused(key)
		x.mend(key)
		x.sweep(job.Finished, "")
		x.rest()
		x.refused()
	})
}

func TestShardsBeforeTheManifest(t *testing.T) {
	x := newInputs(t, mining.Options{}, 4).on(t)
	for _, key := range []string{x.manifest.Groups[0].Name, x.manifest.Projection.Name, job.ManifestKey} {
		if err := x.at.In.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range x.shards {
		x.shard(name, job.Waits, "there is no manifest.json")
	}
	if s := x.status(); s.State != job.Waits {
		t.Errorf("%+v", s)
	}
	x.sweep(job.Waits, "there is no manifest.json")
	for o, err := range x.at.Out.List(t.Context(), "", "") {
		t.Errorf("%v, %v", o, err)
	}
	x.mend(job.ManifestKey)
	x.sweep(job.Waits, "there is no projection.safetensors yet")
	x.shard(x.shards[0], job.Waits, "projection.safetensors")
	x.mend(x.manifest.Projection.Name)
	x.shard(x.shards[0], job.Waits, "pairs/")
	x.mend(x.manifest.Groups[0].Name)
	o := x.sweep(job.Pending, "")
	if len(o.Uploaded) != 4 {
		t.Fatalf("%+v", o)
	}
	x.refused()
	x.rest()
}

func TestCancel(t *testing.T) {
	t.Parallel()
	i := newInputs(t, mining.Options{}, 4)
	t.Run("under way", func(t *testing.T) {
		x := i.on(t)
		x.shard(x.shards[0], job.Mined, "")
		if finished, err := job.Cancel(t.Context(), x.at); err != nil || finished {
			t.Fatalf("%v, %v", finished, err)
		}
		for o, err := range x.at.Out.List(t.Context(), "parts/", "") {
			t.Errorf("%v, %v", o, err)
		}
		x.shard(x.shards[1], job.Cancelled, "")
		x.sweep(job.Cancelled, "")
		if s := x.status(); s.State != job.Cancelled || s.Mined != 0 {
			t.Errorf("%+v", s)
		}
		again := job.InitOptions{Mine: x.options, Shards: 4}
		if _, err := job.Init(t.Context(), x.at, x.folder, x.projection, again); !errors.Is(err, option.ErrExists) {
			t.Errorf("%v", err)
		}
		again.Force = true
		if _, err := job.Init(t.Context(), x.at, x.folder, x.projection, again); err != nil {
			t.Fatal(err)
		}
		x.rest()
		if finished, err := job.Cancel(t.Context(), x.at); err != nil || !finished {
			t.Errorf("%v, %v", finished, err)
		}
		x.check(t, x.at)
	})
	t.Run("while parts are merged", func(t *testing.T) {
		x := i.on(t)
		for _, name := range x.shards[:3] {
			x.shard(name, job.Mined, "")
		}
		at := *x.at
		at.Out = &hooked{x.at.Out, func(op, key string) error {
			if op == "get" && strings.HasPrefix(key, "parts/") && strings.Contains(key, "-0000003-") {
				return x.at.Out.Put(t.Context(), "cancelled.json", strings.NewReader("{}"))
			}
			return nil
		}}
		o, err := worker(t, &at).Shard(t.Context(), x.shards[3])
		if err != nil || o.Action != job.Cancelled || o.Committed {
			t.Errorf("%+v, %v", o, err)
		}
		if _, err := job.Fetch(t.Context(), x.at, io.Discard); !errors.Is(err, job.ErrUnfinished) {
			t.Errorf("%v", err)
		}
	})
}

// TestCorruptPart says which object is broken and what to do, which mends it.
func TestCorruptPart(t *testing.T) {
	t.Parallel()
	i := newInputs(t, mining.Options{}, 4)
	for name, change := range map[string]func(b []byte) []byte{
		"cut":      func(b []byte) []byte { return b[:len(b)/2] },
		"one byte": func(b []byte) []byte { b[9] ^= 1; return b },
		"empty":    func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			x := i.on(t)
			var key string
			for _, name := range x.shards[:3] {
				x.shard(name, job.Mined, "")
			}
			for o, err := range x.at.Out.List(t.Context(), "parts/", "") {
				if err != nil {
					t.Fatal(err)
				}
				key = o.Key
			}
			b, _, err := objstore.ReadAll(t.Context(), x.at.Out, key, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if err := x.at.Out.Put(t.Context(), key, bytes.NewReader(change(bytes.Clone(b)))); err != nil {
				t.Fatal(err)
			}
			for range 2 { // mined, then there
				_, err := x.w.Shard(t.Context(), x.shards[3])
				if err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "hint: remove it") {
					t.Fatalf("%v", err)
				}
			}
			if _, err := job.ReadStatus(t.Context(), x.at); err != nil && (!strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "hint: remove it")) {
				t.Errorf("%v", err)
			}
			if err := x.at.Out.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			if o := x.sweep(job.Pending, ""); len(o.Uploaded) != 1 {
				t.Fatalf("%+v", o)
			}
			x.rest()
		})
	}
}

func TestMaxShard(t *testing.T) {
	x := newInputs(t, mining.Options{}, 2).on(t)
	w, err := job.NewWorker(x.at.In, x.at.Out, job.Options{Compute: mining.Compute{Engine: native}, Dir: t.TempDir(), MaxShard: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close(t.Context()) }()
	o, err := w.Shard(t.Context(), x.shards[0])
	x.came(o, err, job.Refused, "at most 1000")
	x.refused(x.shards[0])
	x.rest()
	x.refused()
}

// TestDeniedWritesAreErrors does not take a worker that may not write for one that has nothing to do.
func TestDeniedWritesAreErrors(t *testing.T) {
	x := newInputs(t, mining.Options{}, 2).on(t)
	at := *x.at
	at.Out = &hooked{x.at.Out, func(op, key string) error {
		if op == "put" && strings.HasPrefix(key, "parts/") {
			return objstore.ErrDenied
		}
		return nil
	}}
	if o, err := worker(t, &at).Shard(t.Context(), x.shards[0]); !errors.Is(err, objstore.ErrDenied) {
		t.Errorf("%+v, %v", o, err)
	}
	x.rest()
}

// TestInitsAtTheSameTime has another job's manifest come between this one's look and its own.
func TestInitsAtTheSameTime(t *testing.T) {
	i := newInputs(t, mining.Options{}, 4)
	own := i.on(t).original(job.ManifestKey)
	for _, row := range []struct {
		name  string
		bytes []byte
		want  error
	}{{"another", i.edit(t, func(m *job.Manifest) { m.Result.Top-- }), option.ErrExists}, {"its own", own, nil}} {
		at := place()
		plain := at.In
		at.In = &hooked{plain, func(op, key string) error {
			if op != "put" || key != job.ManifestKey {
				return nil
			}
			return plain.Put(t.Context(), key, bytes.NewReader(row.bytes))
		}}
		_, err := job.Init(t.Context(), at, i.folder, i.projection, job.InitOptions{Mine: i.options, Shards: 4})
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// TestNames has jobs and shards of odd names, in folders.
func TestNames(t *testing.T) {
	t.Parallel()
	i := newInputs(t, mining.Options{}, 3)
	for _, name := range []string{"a job", "a+b=c&d", "höhe-日本", "%2F", "über?#"} {
		t.Run(name, func(t *testing.T) {
			at, err := job.Locate(t.Context(), t.TempDir()+"/bucket/jobs/"+name, "")
			if err != nil {
				t.Fatal(err)
			}
			x := &trial{i, t, at, nil}
			if err := copyObjects(t.Context(), i.from, at.In, "p"); err != nil {
				t.Fatal(err)
			}
			y := *i
			x.inputs, y.shards = &y, nil
			for n, key := range i.shards {
				odd := "shards/" + name + " " + name + "/" + string(rune('a'+n))
				y.shards = append(y.shards, odd)
				x.put(odd, x.original(key))
			}
			x.put(job.ManifestKey, x.edit(t, func(m *job.Manifest) {
				for n := range m.Shards {
					m.Shards[n].Name = y.shards[n]
				}
			}))
			x.w = worker(t, at)
			if job, object, ok := job.ParseKey("jobs/" + name + "/" + y.shards[0]); !ok || job != name || object != y.shards[0] {
				t.Errorf("%q, %q, %v", job, object, ok)
			}
			x.rest()
		})
	}
}

// TestDeadline gives a worker too little time, and then enough.
func TestDeadline(t *testing.T) {
	i := newInputs(t, mining.Options{}, 2)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		x := i.on(t)
		slow := &process{ledger: newLedger(0), die: func() {}, random: (&schedule{}).random(0), latency: 2 * time.Second, killAt: -1}
		w, err := job.NewWorker(&faulty{x.at.In, slow}, &faulty{x.at.Out, slow}, job.Options{
			Compute: mining.Compute{Engine: native}, Dir: dir, Reserve: 50 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = w.Close(t.Context()) }()
		for _, left := range []time.Duration{500, 1000, 2000} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second+left*time.Millisecond)
			_, err := w.Shard(ctx, x.shards[0])
			cancel()
			if !errors.Is(err, job.ErrDeadline) || !strings.Contains(err.Error(), x.shards[0]) || !strings.Contains(err.Error(), "hint:") {
				t.Errorf("%v", err)
			}
			for o, err := range x.at.Out.List(t.Context(), "", "") {
				if err != nil || o.Key != job.ManifestKey && o.Key != sourceKey {
					t.Errorf("%v, %v", o, err)
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 900*time.Second)
		defer cancel()
		o, err := w.Shard(ctx, x.shards[0])
		x.came(o, err, job.Mined, "")
		x.rest()

		for _, key := range []string{"negatives.jsonl", "negatives.manifest.json"} {
			if err := x.at.Out.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		short, cancelShort := context.WithTimeout(t.Context(), 51*time.Second)
		defer cancelShort()
		if _, err := w.Sweep(short); !errors.Is(err, job.ErrDeadline) || !strings.Contains(err.Error(), "merge of 2 parts") {
			t.Errorf("the merge: %v", err)
		}
		if _, err := x.at.Out.Head(t.Context(), "negatives.jsonl"); !errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("a merge that was given up left: %v", err)
		}
		o, err = w.Sweep(ctx)
		x.came(o, err, job.Finished, "")
	})
}

func TestStatus(t *testing.T) {
	x := newInputs(t, mining.Options{}, 4).on(t)
	if err := x.at.In.Delete(t.Context(), x.shards[3]); err != nil {
		t.Fatal(err)
	}
	rows := int64(0)
	for n := range 2 {
		x.shard(x.shards[n], job.Mined, "")
		rows += int64(x.manifest.Shards[n].Rows)
	}
	s := x.status()
	if s.State != job.Pending || s.Mined != 2 || s.Shards != 4 || s.Rows != rows || s.Documents != x.manifest.Documents() ||
		len(s.Uploaded) != 1 || s.Uploaded[0] != x.shards[2] || len(s.Absent) != 1 || s.Absent[0] != x.shards[3] || s.Tallies != nil {
		t.Errorf("half-way: %+v", s)
	}
	x.mend(x.shards[3])
	x.rest()
	s = x.status()
	if s.State != job.Finished || s.Mined != 4 || s.Rows != s.Documents || len(s.Uploaded)+len(s.Absent)+len(s.Refused) != 0 ||
		s.Tallies == nil || s.Tallies.Documents != s.Documents || s.Tallies.Negatives == 0 {
		t.Errorf("at the end: %+v", s)
	}
}

// TestMergeReadsFewPartsAtATime counts the reads that are open while many parts are merged.
func TestMergeReadsFewPartsAtATime(t *testing.T) {
	t.Parallel()
	shards := 200
	if testing.Short() {
		shards = 50
	}
	s, at, l := newDemo(t, mining.Options{}), place(), newLedger(0)
	m := s.init(t, at, shards)
	at.Out = &counted{at.Out, l}
	w := worker(t, at)
	for _, shard := range m.Shards[:shards-1] {
		if _, err := w.Shard(t.Context(), shard.Name); err != nil {
			t.Fatal(err)
		}
	}
	l.mostOpen = 0
	if o, err := w.Shard(t.Context(), m.Shards[shards-1].Name); err != nil || !o.Committed {
		t.Fatalf("%+v, %v", o, err)
	}
	if l.mostOpen < 1 || l.mostOpen > 16 || l.open != 0 {
		t.Errorf("%d reads at a time, %d not closed", l.mostOpen, l.open)
	}
	s.check(t, at)
}
