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

// TestIgnored delivers what is understood and is not the upload of an object of a job, in messages and directly.
func TestIgnored(t *testing.T) {
	t.Parallel()
	bodies := []string{stack.S3TestEvent("in"), removed("Delete"), removed("DeleteMarkerCreated")}
	for _, key := range []string{
		"manifest.json", "a/manifest.json", "jobs", "jobs/", "jobs/a", "jobs/a/", "jobs/manifest.json", "jobs//manifest.json", "jobs/a/other.json", "jobs/a/b/manifest.json",
		"jobs/a/manifest.json/", "jobs/a/shards", "jobs/a/shards/", "jobs/a/pairs/", "jobs/./manifest.json", "jobs/../manifest.json", "jobs/a/shards/../x", "jobs/a/shards//x",
		"jobs/a/parts/1/2", "jobs/a/cancelled.json", "deeper/jobs/a/manifest.json", "Jobs/a/manifest.json", "jobs/a\n/manifest.json", "jobs/a/shards/\xff",
	} {
		bodies = append(bodies, s3Event(key))
	}
	w := newWorld(t, nil)
	w.upload("a")
	for _, body := range bodies {
		before := len(w.lines())
		w.acknowledged(body)
		if err := w.direct(body); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		lines := w.lines()[before:]
		if len(lines) != 2 {
			t.Errorf("%s: two events, %d lines", body, len(lines))
		}
		for _, l := range lines {
			if message, _ := l["msg"].(string); !strings.HasPrefix(message, "ignored: ") {
				t.Errorf("%s: %v", body, l)
			}
		}
	}
	if len(w.out.puts) > 0 {
		t.Errorf("put: %v", w.out.puts)
	}
}

// TestNotUnderstood delivers what no service sends of an upload. It comes again, so that it ends in the dead-letter
// queue and not nowhere; and the log says nothing of what is in it.
func TestNotUnderstood(t *testing.T) {
	t.Parallel()
	const secret = "c0ffee"
	quoted := func(body string) string { b, _ := json.Marshal(body); return string(b) }
	bodies := []string{
		strings.Replace(told("a", "manifest.json"), "manifest.json", "manifest%zz.json", 1),
		"", "no JSON", `{"Records":`, "[]", `"text"`, "1", `{"Records":1}`, `{"Records":[1]}`, "null", "{}", `{"Records":[]}`, `{"Records":null}`, `{"Records":[{}]}`,
		`{"Records":[{"eventSource":"aws:s3"}]}`, `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put"}]}`,
		`{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"in"},"object":{}}}]}`,
		`{"Records":[{"eventSource":"aws:sns","Sns":{}}]}`, `{"Records":[{"EventSource":"aws:sns","Sns":{}}]}`,
		`{"Records":[{"EventSource":"aws:sns","Sns":{"Message":"` + secret + `"}}]}`, `{"Records":[{"eventSource":"aws:dynamodb"}]}`,
		`{"Type":"Notification","Message":"` + secret + `"}`, `{"Type":"Notification"}`, `{"Type":"SubscriptionConfirmation","Message":"` + secret + `"}`,
		`{"source":"aws.s3","detail-type":"Object Created"}`, `{"source":"aws.s3","detail-type":"Object Created","detail":{"bucket":{"name":"in"}}}`,
		`{"source":"aws.ec2","detail-type":"Object Created","detail":{"bucket":{"name":"in"},"object":{"key":"` + secret + `"}}}`,
		`{"quarry":"sweep","of":"` + secret + `"}`, // which is no message
	}
	nested := told("a", shardKey(0))
	for range maxWraps + 1 {
		nested = `{"Type":"Notification","Message":` + quoted(nested) + `}`
	}
	bodies = append(bodies, nested)
	w := newWorld(t, nil)
	w.upload("a")
	for _, body := range bodies {
		before := len(w.lines())
		if again := w.deliver(body); !slices.Equal(again, []string{"0"}) {
			t.Errorf("%q: messages %v come again", body, again)
		}
		lines := w.lines()[before:]
		if len(lines) != 1 || lines[0]["level"] != "ERROR" || lines[0]["msg"] != "not understood" {
			t.Errorf("%q: %v", body, lines)
		}
		if strings.HasPrefix(body, `{"quarry"`) {
			continue
		}
		if err := w.direct(body); !errors.Is(err, errNotUnderstood) {
			t.Errorf("%q, directly: %v", body, err)
		}
	}
	if strings.Contains(w.log.String(), secret) {
		t.Errorf("the log has what is in an event: %s", w.log.String())
	}
	if len(w.out.puts) > 0 {
		t.Errorf("put: %v", w.out.puts)
	}
}

// TestNotUnderstoodAmongOthers has an event with a record that cannot be read between records that can. These are done,
// and the event comes again.
func TestNotUnderstoodAmongOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.upload("a")
	keys := []string{"other", "jobs/a/bad%key", "jobs/a/" + shardKey(0)}
	bad := strings.Replace(s3Event(keys...), "bad%25key", "bad%key", 1)
	if !strings.Contains(bad, "bad%key") {
		t.Fatal(bad)
	}
	if again := w.deliver(bad); len(again) != 1 || w.partsOf("a") != "," {
		t.Errorf("messages %v come again; parts: %q; the log is\n%s", again, w.partsOf("a"), w.log.String())
	}
	odd := strings.Replace(told("a", shardKey(1)), `"eventTime":"`, `"eventTime":"around `, 1)
	w.acknowledged(odd)
	if w.partsOf("a") != ",1," {
		t.Errorf("parts: %q; the log is\n%s", w.partsOf("a"), w.log.String())
	}
}

// TestOtherBucket delivers events of another bucket than the function's, which may have a job of the same name. They
// come again, and nothing of them is mined; a sweep of it fails.
func TestOtherBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.upload("a")
	other := func(body string) string { return strings.ReplaceAll(body, `"name":"in"`, `"name":"theirs"`) }
	for _, body := range []string{other(told("a", job.ManifestKey)), other(told("a", shardKey(0)))} {
		if again := w.deliver(body); len(again) != 1 {
			t.Errorf("messages %v come again", again)
		}
		w.expect(map[string]any{"level": "ERROR", "bucket": "theirs"})
		if err := w.direct(body); !errors.Is(err, errBucket) || !strings.Contains(err.Error(), "s3://theirs") || !strings.Contains(err.Error(), "s3://in") {
			t.Errorf("directly: %v", err)
		}
	}
	if err := w.direct(`{"quarry":"sweep","bucket":"theirs"}`); !errors.Is(err, errBucket) {
		t.Errorf("a sweep: %v", err)
	}
	if len(w.out.puts) > 0 {
		t.Errorf("put: %v", w.out.puts)
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
		if again := w.deliver(append(toldAll("a"), told("a", shardKey(0)))...); !slices.Equal(again, []string{"2"}) {
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
	if again := w.deliver(stack.S3TestEvent("in"), told("a", job.ManifestKey)); !slices.Equal(again, []string{"1"}) {
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
	kept := w.handler.workers
	if len(kept.idle) != 1 {
		t.Fatalf("%d workers are kept", len(kept.idle))
	}
	first, closed := kept.idle[0], 0
	kept.closed = func() { closed++ }
	w.out.breaks("put", "-0000002-", errBroken)
	if again := w.deliver(told("b", shardKey(2))); len(again) != 1 || len(kept.idle) != 0 || closed != 1 {
		t.Errorf("after an error: messages %v come again, %d workers are kept, %d were closed", again, len(kept.idle), closed)
	}
	w.out.breaks("no", "", nil)
	w.acknowledged(told("b", shardKey(2)))
	expect("after an error", "1 1 1 1", "2 2 1 2")
	if kept.idle[0] == first {
		t.Error("the worker is the same after an error")
	}
	w.acknowledged(told("a", shardKey(2)), told("a", shardKey(3)))
	expect("back again", "2 2 1 2", "2 2 1 2")
	w.finished("a")
}

// TestMissingIsDenied has S3 deny access to what does not exist, in both buckets, to a function that may list them. The
// job is mined as ever.
func TestMissingIsDenied(t *testing.T) {
	t.Parallel()
	q := &fakeQueue{}
	w := newWorld(t, q)
	for _, s := range []*watched{w.in, w.out} {
		s.before = func(op, key string) error {
			if _, err := s.Store.Head(t.Context(), key); (op == "head" || op == "get") && errors.Is(err, objstore.ErrNotExist) {
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

// TestDeniedInput denies an input to the function, as a policy of a bucket or of a key does that was made by mistake.
// Its messages come again, the log counts it, and once the policy is mended they mine the job.
func TestDeniedInput(t *testing.T) {
	t.Parallel()
	for _, key := range []string{job.ManifestKey, projectionKey, pairsKey, shardKey(2)} {
		q := &fakeQueue{}
		w := newWorld(t, q)
		w.upload("a")
		w.in.before = func(op, of string) error {
			if (op == "head" || op == "get") && of == job.Folder+"a/"+key {
				return fmt.Errorf("%s %s: %w", op, of, objstore.ErrDenied)
			}
			return nil
		}
		bodies := toldAll("a")
		again := w.deliver(bodies...)
		if want := []string{"0", "1", "2", "3"}; key == shardKey(2) && !slices.Equal(again, []string{"2"}) || key != shardKey(2) && !slices.Equal(again, want) {
			t.Fatalf("%s: messages %v come again; the log is\n%s", key, again, w.log.String())
		}
		denied := 0
		for _, l := range w.lines() {
			if l["denied"] == true {
				denied++
				if l["level"] != "ERROR" || !strings.Contains(fmt.Sprint(l["problem"]), key) || !strings.Contains(fmt.Sprint(l["problem"]), "hint: let workers read") {
					t.Errorf("%s: %v", key, l)
				}
			}
		}
		if denied != len(again) {
			t.Errorf("%s: %d lines say that it is denied; %d messages come again", key, denied, len(again))
		}
		if s, err := job.ReadStatus(t.Context(), w.place("a")); err != nil || len(s.Refused) != 1 || s.Refused[0].Name != key {
			t.Errorf("%s: %+v, %v", key, s, err)
		}
		w.in.mended()
		w.acknowledged(bodies...)
		w.finished("a")
		if s, err := job.ReadStatus(t.Context(), w.place("a")); err != nil || len(s.Refused) != 0 {
			t.Errorf("%s: %+v, %v", key, s, err)
		}
	}
}
