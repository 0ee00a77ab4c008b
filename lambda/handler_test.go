package lambda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/stack"
)

var errBroken = errors.New("the store is broken")

// removed returns the event of a deletion.
func removed(kind string) string {
	return stack.S3Event(stack.Object{Bucket: "in", Key: "jobs/a/" + job.ManifestKey, Event: "ObjectRemoved:" + kind})
}

// TestIgnored delivers what is not the upload of an object of a job: in messages, and, where it is an event, directly.
func TestIgnored(t *testing.T) {
	t.Parallel()
	misencoded := strings.Replace(told("a", "manifest.json"), "manifest.json", "manifest%zz.json", 1)
	bodies := []string{
		stack.S3TestEvent("in"), removed("Delete"), removed("DeleteMarkerCreated"), misencoded, "{}", `{"Records":[]}`, `{"Records":null}`, "null",
		`{"Records":[{}]}`, `{"Records":[{"eventSource":"aws:sns","Sns":{}}]}`,
	}
	for _, key := range []string{
		"manifest.json", "a/manifest.json", "jobs", "jobs/", "jobs/a", "jobs/a/", "jobs/manifest.json", "jobs//manifest.json", "jobs/a/other.json", "jobs/a/b/manifest.json",
		"jobs/a/manifest.json/", "jobs/a/shards", "jobs/a/shards/", "jobs/a/pairs/", "jobs/./manifest.json", "jobs/../manifest.json", "jobs/a/shards/../x", "jobs/a/shards//x",
		"jobs/a/parts/1/2", "jobs/a/cancelled.json", "deeper/jobs/a/manifest.json", "Jobs/a/manifest.json", "jobs/a\n/manifest.json", "jobs/a/shards/\xff",
	} {
		bodies = append(bodies, s3Event(key))
	}
	noEvents := []string{"", "no JSON", `{"Records":`, "[]", `"text"`, "1", `{"Records":1}`, `{"Records":[1]}`}
	w := newWorld(t, nil)
	w.upload("a")
	ignored := func(what string, before int) {
		t.Helper()
		lines := w.lines()
		if len(lines) == before {
			t.Errorf("%s: nothing is said", what)
		}
		for _, l := range lines[before:] {
			if message, _ := l["msg"].(string); !strings.HasPrefix(message, "ignored: ") {
				t.Errorf("%s: %v", what, l)
			}
		}
	}
	for _, body := range slices.Concat(bodies, noEvents) {
		before := len(w.lines())
		w.acknowledged(body)
		ignored(body, before)
	}
	before := len(w.lines())
	w.acknowledged(slices.Concat(bodies, noEvents)...)
	if n := len(w.lines()) - before; n < len(bodies)+len(noEvents) {
		t.Errorf("of %d messages %d are told of", len(bodies)+len(noEvents), n)
	}
	for _, body := range bodies {
		before := len(w.lines())
		if err := w.direct(body); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		ignored(body, before)
	}
	for _, body := range []string{"", "no JSON", "[]", `{"Records":1}`} {
		if err := w.direct(body); err == nil {
			t.Errorf("%q, directly, is no error", body)
		}
	}
	if len(w.out.puts) > 0 {
		t.Errorf("put: %v", w.out.puts)
	}
}

// TestIgnoredAmongOthers has an event with a record that cannot be read between records that can.
func TestIgnoredAmongOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.upload("a")
	keys := []string{"other", "jobs/a/bad%key", "jobs/a/" + shardKey(0)}
	bad := strings.Replace(s3Event(keys...), "bad%25key", "bad%key", 1)
	if !strings.Contains(bad, "bad%key") {
		t.Fatal(bad)
	}
	w.acknowledged(bad)
	if w.partsOf("a") != "," {
		t.Errorf("parts: %q; the log is\n%s", w.partsOf("a"), w.log.String())
	}
	odd := strings.Replace(told("a", shardKey(1)), `"eventTime":"`, `"eventTime":"around `, 1)
	w.acknowledged(odd)
	if w.partsOf("a") != ",1," {
		t.Errorf("parts: %q; the log is\n%s", w.partsOf("a"), w.log.String())
	}
}

// TestKeysAreFormDecoded has names of jobs and shards with characters that S3 form-encodes.
func TestKeysAreFormDecoded(t *testing.T) {
	t.Parallel()
	renamed := []string{"a b", "a+b", "100%25 sure", "größe/日本 😀=&?#'\"(1)~*.x"}
	for _, name := range []string{"nightly run", "1+1", "100%", "%2B", "ü 日本😀=&?#'\"(1)~*"} {
		q := &fakeQueue{}
		w := newWorld(t, q)
		manifest := w.sample.objects[job.ManifestKey]
		w.upload(name, projectionKey, pairsKey)
		for i, shard := range renamed {
			quoted, err := json.Marshal(job.ShardsPrefix + shard)
			if err != nil {
				t.Fatal(err)
			}
			manifest = bytes.Replace(manifest, []byte(`"`+shardKey(i)+`"`), quoted, 1)
			w.put(name, job.ShardsPrefix+shard, w.sample.objects[shardKey(i)])
		}
		w.put(name, job.ManifestKey, manifest)
		w.acknowledged(told(name, job.ShardsPrefix+renamed[0]))
		w.expect(map[string]any{"job": name, "shard": job.ShardsPrefix + renamed[0], "action": "mined"})
		w.acknowledged(told(name, job.ManifestKey))
		if len(q.bodies) != 3 {
			t.Errorf("%d messages: %q", len(q.bodies), q.bodies)
		}
		w.acknowledged(q.bodies...)
		w.finished(name)
	}
}

// TestPartialFailure has a store that fails for one shard. Of a batch, only that shard's message comes again. Directly,
// the event is an error.
func TestPartialFailure(t *testing.T) {
	t.Parallel()
	for _, broken := range []struct {
		store    func(*world) *watched
		op, part string
		err      error
	}{
		{func(w *world) *watched { return w.out }, "put", "-0000002-", errBroken},
		{func(w *world) *watched { return w.out }, "head", "-0000002-", errBroken},
		{func(w *world) *watched { return w.out }, "put", "-0000002-", context.DeadlineExceeded},
		{func(w *world) *watched { return w.in }, "get", shardKey(2), objstore.ErrNoBucket}, // which is not tried again at once
	} {
		w := newWorld(t, nil)
		w.upload("a")
		broken.store(w).breaks(broken.op, broken.part, broken.err)
		if again := w.deliver(append(toldAll("a"), "no JSON", told("a", shardKey(0)))...); !slices.Equal(again, []string{"2"}) {
			t.Errorf("%s fails: messages %v come again", broken.op, again)
		}
		if w.partsOf("a") != ",1,3," {
			t.Errorf("%s fails: parts %q", broken.op, w.partsOf("a"))
		}
		if again := w.deliver(told("a", shardKey(2)), told("a", shardKey(2))); !slices.Equal(again, []string{"0", "1"}) {
			t.Errorf("%s fails: messages %v come again", broken.op, again)
		}
		w.unfinished("a")
		broken.store(w).mended()
		w.acknowledged(told("a", shardKey(2)))
		w.expect(map[string]any{"action": "mined", "committed": true, "parts": 4.0, "of": 4.0})
		w.finished("a")

		w = newWorld(t, nil)
		w.upload("a")
		broken.store(w).breaks(broken.op, broken.part, broken.err)
		var keys []string
		for _, key := range shardKeys() {
			keys = append(keys, "jobs/a/"+key)
		}
		if err := w.direct(s3Event(keys...)); !errors.Is(err, broken.err) {
			t.Errorf("%s fails: directly %v", broken.op, err)
		}
		if w.partsOf("a") != ",1,3," {
			t.Errorf("%s fails: directly, parts %q", broken.op, w.partsOf("a"))
		}
		broken.store(w).mended()
		if err := w.direct(told("a", shardKey(2))); err != nil {
			t.Error(err)
		}
		w.finished("a")
	}
}

// TestShardsBeforeTheirManifest delivers the events of shards before there is a manifest. The manifest's event sends
// them again.
func TestShardsBeforeTheirManifest(t *testing.T) {
	t.Parallel()
	q := &fakeQueue{}
	w := newWorld(t, q)
	w.upload("a", shardKeys()...)
	for _, body := range toldAll("a") {
		w.acknowledged(body)
		w.expect(map[string]any{"action": "waits", "level": "INFO", "job": "a"})
	}
	if len(w.out.puts) > 0 || len(q.bodies) > 0 {
		t.Errorf("put: %v; sent: %v", w.out.puts, q.bodies)
	}
	w.upload("a", projectionKey, pairsKey, job.ManifestKey)
	q.err = errBroken
	if again := w.deliver("{}", told("a", job.ManifestKey)); !slices.Equal(again, []string{"1"}) {
		t.Errorf("the queue fails: messages %v come again", again)
	}
	if err := w.direct(told("a", job.ManifestKey)); !errors.Is(err, errBroken) {
		t.Errorf("the queue fails: directly %v", err)
	}
	q.err = nil
	w.acknowledged(told("a", job.ManifestKey))
	if len(q.bodies) != demoShards || w.partsOf("a") != "" {
		t.Fatalf("%d messages; parts %q", len(q.bodies), w.partsOf("a"))
	}
	// These messages may also come directly, and twice.
	if err := w.direct(q.bodies[0]); err != nil {
		t.Error(err)
	}
	w.acknowledged(slices.Concat(q.bodies, q.bodies[2:])...)
	w.finished("a")
	w.acknowledged(told("a", job.ManifestKey), q.bodies[1])
	w.expect(map[string]any{"action": "finished"})
	if len(q.bodies) != demoShards {
		t.Errorf("%d messages after all", len(q.bodies))
	}
}

// TestWithoutQueue has the manifest's event mine the shards that waited, also after one that fails.
func TestWithoutQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.upload("a")
	w.out.breaks("put", "-0000001-", errBroken)
	if again := w.deliver(told("a", job.ManifestKey)); !slices.Equal(again, []string{"0"}) {
		t.Errorf("one shard fails: messages %v come again", again)
	}
	if w.partsOf("a") != ",2,3," {
		t.Errorf("one shard fails: parts %q", w.partsOf("a"))
	}
	w.out.mended()
	w.acknowledged(told("a", job.ManifestKey))
	w.finished("a")
}

// permutations calls f with all orders of s.
func permutations[T any](s []T, f func([]T)) {
	var next func(int)
	next = func(i int) {
		if i == len(s) {
			f(slices.Clone(s))
		}
		for j := i; j < len(s); j++ {
			s[i], s[j] = s[j], s[i]
			next(i + 1)
			s[i], s[j] = s[j], s[i]
		}
	}
	next(0)
}

// TestEveryOrder uploads manifest, projection, pairs and shards in all orders, with a queue and without. The handler is
// told of each upload at once, or of all when everything is there.
func TestEveryOrder(t *testing.T) {
	t.Parallel()
	for _, queued := range []bool{true, false} {
		q := &fakeQueue{}
		w := newWorld(t, nil)
		if queued {
			w.handler.config.Queue = q
		}
		n := 0
		permutations([][]string{{job.ManifestKey}, {projectionKey}, {pairsKey}, shardKeys()}, func(order [][]string) {
			n++
			for _, late := range []bool{false, true} {
				if late && n%6 != 0 {
					continue // some orders will do, since only the events have an order then
				}
				if testing.Short() && n%5 != 0 && n != 6 {
					continue // an order in five, and one that is late
				}
				name := fmt.Sprint(n, late)
				if late {
					w.upload(name)
				}
				for _, keys := range order {
					for _, key := range keys {
						w.upload(name, key)
						w.acknowledged(told(name, key))
					}
				}
				if len(q.bodies) > 0 {
					w.acknowledged(q.bodies...)
				}
				q.bodies = nil
				w.finished(name)
			}
		})
	}
}

// TestWarm counts what is read for a second shard, of the same job and of another, and after an error.
func TestWarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, name := range []string{"a", "b"} {
		w.upload(name)
	}
	// read returns how often a job's projection, pairs and manifests were read.
	read := func(name string) string {
		at := job.Folder + name + "/"
		return fmt.Sprint(w.in.gets[at+projectionKey], w.in.gets[at+pairsKey], w.in.gets[at+job.ManifestKey], w.out.gets[at+job.ManifestKey])
	}
	expect := func(step, a, b string) {
		t.Helper()
		if read("a") != a || read("b") != b {
			t.Errorf("%s: projection, pairs and manifests were read %s and %s times; expected %s and %s", step, read("a"), read("b"), a, b)
		}
	}
	w.acknowledged(told("a", shardKey(0)))
	expect("first shard", "1 1 1 1", "0 0 0 0")
	w.acknowledged(told("a", shardKey(1)), told("a", shardKey(1)))
	expect("second shard", "1 1 1 1", "0 0 0 0")
	w.acknowledged(told("b", shardKey(0)))
	expect("another job", "1 1 1 1", "1 1 1 1")
	first := w.handler.worker
	w.out.breaks("put", "-0000002-", errBroken)
	if again := w.deliver(told("b", shardKey(2))); len(again) != 1 || w.handler.worker != nil {
		t.Errorf("after an error: messages %v come again, the worker is %v", again, w.handler.worker)
	}
	w.out.breaks("no", "", nil)
	w.acknowledged(told("b", shardKey(2)))
	expect("after an error", "1 1 1 1", "2 2 1 2")
	if w.handler.worker == first {
		t.Error("the worker is the same after an error")
	}
	w.acknowledged(told("a", shardKey(2)), told("a", shardKey(3)))
	expect("back again", "2 2 1 2", "2 2 1 2")
	w.finished("a")
}

// TestMissingIsDenied has S3 deny access to what does not exist, as it does to callers who may not list it, in both
// buckets. The job is mined as ever.
func TestMissingIsDenied(t *testing.T) {
	t.Parallel()
	q := &fakeQueue{}
	w := newWorld(t, q)
	for _, s := range []*watched{w.in, w.out} {
		s.before = func(op, key string) error {
			if _, err := s.Store.Head(t.Context(), key); op != "put" && errors.Is(err, objstore.ErrNotExist) {
				return fmt.Errorf("%s %s: %w", op, key, objstore.ErrDenied)
			}
			return nil
		}
	}
	w.upload("a", shardKey(0), pairsKey)
	w.acknowledged(told("a", shardKey(0)), told("a", pairsKey))
	w.expect(map[string]any{"action": "waits"})
	w.upload("a")
	w.acknowledged(toldAll("a")[1:]...)
	w.acknowledged(told("a", job.ManifestKey))
	if len(q.bodies) != 1 {
		t.Errorf("%d messages: %q", len(q.bodies), q.bodies)
	}
	w.acknowledged(q.bodies...)
	w.finished("a")
}
