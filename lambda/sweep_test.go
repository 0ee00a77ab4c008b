package lambda

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
)

const sweepIn = `{"quarry":"sweep","bucket":"in"}`

// sweep sweeps, and fails where that fails. It returns the names of the jobs that had their turn, in order.
func (w *world) sweep() (turns []string) {
	w.t.Helper()
	before := len(w.lines())
	if err := w.direct(sweepIn); err != nil {
		w.t.Errorf("%v; the log is\n%s", err, w.log.String())
	}
	for _, l := range w.lines()[before:] {
		if name, ok := l["job"].(string); ok {
			turns = append(turns, name)
		}
	}
	return turns
}

// TestSweep sweeps jobs whose result is missing, because their last worker died before it had written it.
func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.sweep() // a bucket without jobs
	jobs := []string{"a", "b", "b c+%", "d"}
	for _, name := range jobs {
		w.upload(name)
		w.acknowledged(toldAll(name)...)
		w.finished(name)
		for _, key := range []string{resultKey, negativesKey}[:1+len(name)%2] { // the manifest is the last to be written
			if err := w.out.Delete(t.Context(), job.Folder+name+"/"+key); err != nil {
				t.Fatal(err)
			}
		}
		w.unfinished(name)
	}
	w.upload("half")
	w.acknowledged(told("half", shardKey(1)))

	w.out.breaks("get", "jobs/b/parts/", objstore.ErrNoBucket)
	if err := w.direct(sweepIn); !errors.Is(err, objstore.ErrNoBucket) {
		t.Errorf("one job fails: %v", err)
	}
	w.expectOf("half", map[string]any{"action": "pending", "parts": 1.0, "of": 4.0, "uploaded_not_mined": 3.0, "not_uploaded": 0.0})
	for _, name := range []string{"a", "b c+%", "d"} {
		w.finished(name)
	}
	w.unfinished("b")
	for _, l := range w.lines() {
		if (l["level"] == "ERROR") != (l["job"] == "b" && l["msg"] == "failed: its turn comes again") && l["request_id"] == fmt.Sprint("request-", w.calls) {
			t.Errorf("%v", l)
		}
	}
	w.out.mended()
	w.sweep()
	w.finished("b")
	if turns := w.sweep(); !slices.Equal(turns, []string{"half"}) {
		t.Errorf("of jobs that have ended it tells each: %q", turns)
	}
	w.expect(map[string]any{"msg": "swept", "bucket": "in", "jobs": 5.0, "finished": 4.0, "cancelled": 0.0, "under_way": 1.0, "had_their_turn": 1.0})
	if err := w.direct(`{"quarry":"sweep"}`); err != nil {
		t.Errorf("of its own bucket: %v", err)
	}
	w.in.breaks("list", "", errBroken)
	if err := w.direct(sweepIn); !errors.Is(err, errBroken) {
		t.Errorf("a bucket that cannot be listed: %v", err)
	}
	w.in.mended()
	if _, err := w.handler.Invoke(w.within(-time.Second), []byte(sweepIn)); !errors.Is(err, job.ErrDeadline) {
		t.Errorf("without time: %v", err)
	}
}

// TestSweepTakesTurns: where the time is enough for two jobs of five, each has its turn in three sweeps, and a new one in
// the next.
func TestSweepTakesTurns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		names := []string{"a", "b", "c", "d", "e"}
		for _, name := range names {
			w.upload(name)
			w.acknowledged(told(name, shardKey(0)))
		}
		w.out.slows("put", "swept.json", time.Second)
		var all []string
		next := func() (turns []string) {
			time.Sleep(time.Minute)
			before := len(w.lines())
			if _, err := w.handler.Invoke(w.within(1500*time.Millisecond), []byte(sweepIn)); !errors.Is(err, job.ErrDeadline) {
				t.Errorf("%v", err)
			}
			for _, l := range w.lines()[before:] {
				if name, ok := l["job"].(string); ok && l["action"] != nil {
					turns = append(turns, name)
				}
			}
			return turns
		}
		for range 3 {
			all = append(all, next()...)
		}
		for _, name := range names {
			if !slices.Contains(all, name) {
				t.Errorf("%s had no turn: %q", name, all)
			}
		}
		w.upload("new")
		if turns := next(); len(turns) == 0 || turns[0] != "new" {
			t.Errorf("the new job is not the first: %q", turns)
		}
	})
}

// TestManyJobsThatHaveEnded: a hundred of them take so little of a sweep's time that a job under way has its turn.
func TestManyJobsThatHaveEnded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.upload("first")
		w.acknowledged(toldAll("first")...)
		for n := range 100 {
			name := fmt.Sprintf("old-%03d", n)
			w.upload(name, job.ManifestKey)
			for _, key := range []string{job.ManifestKey, negativesKey, resultKey} {
				b, _, err := objstore.ReadAll(t.Context(), w.out.Store, "jobs/first/"+key, 1<<30)
				if err == nil {
					err = w.out.Store.Put(t.Context(), job.Folder+name+"/"+key, bytes.NewReader(b))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		w.upload("zz")
		w.out.before = func(string, string) error { time.Sleep(100 * time.Millisecond); return nil }
		// Four look-ups for each of 101 jobs take forty seconds, one after the other.
		if _, err := w.handler.Invoke(w.within(10*time.Second), []byte(sweepIn)); err != nil {
			t.Errorf("%v; the log is\n%s", err, w.log.String())
		}
		w.expectOf("zz", map[string]any{"action": "pending", "uploaded_not_mined": 4.0})
		w.expect(map[string]any{"finished": 101.0, "under_way": 1.0, "had_their_turn": 1.0})
		w.out.mended()
	})
}

// TestSweepBringsBack loses the messages of a job's shards. A sweep brings those back that were uploaded longer ago than
// the age, and again after twice as long, and after a new upload from the start; without a queue it mines them.
func TestSweepBringsBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q := &fakeQueue{}
		w := newWorld(t, q)
		back := func(after time.Duration, shards ...int) {
			t.Helper()
			time.Sleep(after)
			q.bodies = nil
			w.sweep()
			w.expectOf("a", map[string]any{"brought_back": float64(len(shards))})
			for _, i := range shards {
				if !slices.ContainsFunc(q.bodies, func(body string) bool { return strings.Contains(body, fmt.Sprintf("%06d", i)) }) {
					t.Errorf("shard %d is not brought back: %q", i, q.bodies)
				}
			}
			if len(q.bodies) != len(shards) {
				t.Errorf("%d messages: %q", len(q.bodies), q.bodies)
			}
		}
		w.upload("a", projectionKey, pairsKey, job.ManifestKey, shardKey(0), shardKey(1))
		back(59 * time.Minute)
		w.upload("a", shardKey(2))
		back(time.Minute, 0, 1)
		lost := slices.Clone(q.bodies)
		back(59*time.Minute, 2)
		back(time.Minute) // an hour after they were brought back
		back(time.Hour, 0, 1)
		w.upload("a", shardKey(0))
		back(61*time.Minute, 0, 2)
		q.err = errBroken
		time.Sleep(24 * time.Hour)
		if err := w.direct(sweepIn); !errors.Is(err, errBroken) {
			t.Errorf("the queue fails: %v", err)
		}
		q.err = nil
		back(0, 0, 1, 2)
		w.acknowledged(lost...)
		w.acknowledged(q.bodies...)
		if w.partsOf("a") != ",1,2," {
			t.Errorf("parts: %q", w.partsOf("a"))
		}

		w.handler.config.Queue = nil
		w.upload("a", shardKey(3))
		w.sweep()
		w.unfinished("a")
		time.Sleep(time.Hour)
		w.sweep()
		w.finished("a")
	})
}

// TestSweepOfAForeignJob: a job whose results go elsewhere is no failure of a sweep. Its events are failures.
func TestSweepOfAForeignJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.upload("a")
	w.put("a", "results.json", []byte(`{"format":"quarry.results.v1","bucket":"s3://theirs"}`))
	if again := w.deliver(told("a", shardKey(0))); len(again) != 1 || !strings.Contains(w.log.String(), "s3://theirs") {
		t.Errorf("messages %v come again; the log is\n%s", again, w.log.String())
	}
	w.sweep()
	w.expectOf("a", map[string]any{"level": "WARN", "msg": "not swept"})
	if len(w.out.puts) > 0 {
		t.Errorf("put: %v", w.out.puts)
	}
}

// TestSweepOfDeniedResults: where a policy denies the results, a sweep fails, and does not take the jobs for ended.
func TestSweepOfDeniedResults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.upload("a")
	w.out.before = func(op, key string) error { return fmt.Errorf("%s %s: %w", op, key, objstore.ErrDenied) }
	if err := w.direct(sweepIn); !errors.Is(err, objstore.ErrDenied) {
		t.Errorf("%v; the log is\n%s", err, w.log.String())
	}
	w.out.mended()
}

// TestOneJobHidesNoOther has a job whose merge takes more time than a sweep has, and jobs that fail slowly. Another
// job's lost shards come back all the same, since each had its turn, however it ended.
func TestOneJobHidesNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for what, bad := range map[string]func(w *world){
			"a merge that is too long": func(w *world) {
				w.upload("a")
				w.acknowledged(toldAll("a")...)
				w.finished("a")
				for _, key := range []string{resultKey, negativesKey} {
					if err := w.out.Delete(t.Context(), "jobs/a/"+key); err != nil {
						t.Fatal(err)
					}
				}
				w.out.slows("get", "jobs/a/parts", 5*time.Minute)
			},
			"jobs that fail slowly": func(w *world) {
				for n := range 5 {
					name := fmt.Sprint("bad-", n)
					w.upload(name)
					w.put(name, shardKey(0), []byte("x"))
				}
				w.in.before = func(op, key string) error {
					if op == "get" && strings.Contains(key, "jobs/bad-") && strings.HasSuffix(key, job.ManifestKey) {
						time.Sleep(time.Minute)
						return errBroken
					}
					return nil
				}
			},
		} {
			q := &fakeQueue{}
			w := newWorld(t, q)
			bad(w)
			w.upload("zz")
			for range 30 {
				time.Sleep(24 * time.Hour)
				_, _ = w.handler.Invoke(w.within(3*time.Minute), []byte(sweepIn))
			}
			if !slices.ContainsFunc(q.bodies, func(body string) bool { return strings.Contains(body, "zz") }) {
				t.Errorf("%s: in 30 sweeps the shards of another job never came back", what)
			}
			w.in.mended()
			w.out.mended()
		}
	})
}

// TestSweepOfManyShards: a sweep finds the shards of a large job by a list, and not one by one.
func TestSweepOfManyShards(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &fakeQueue{})
	m := &job.Manifest{}
	if err := json.Unmarshal(w.sample.objects[job.ManifestKey], m); err != nil {
		t.Fatal(err)
	}
	first, shards := m.Shards[0], 5000
	m.Shards, m.Result.Tallies.Documents = nil, int64(shards)
	for n := range shards {
		s := first
		s.Name, s.First, s.Rows = fmt.Sprintf("shards/%07d.safetensors", n), int64(n), 1
		m.Shards = append(m.Shards, s)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	w.upload("a", projectionKey, pairsKey)
	w.put("a", job.ManifestKey, b)
	w.put("a", "shards/0000007.safetensors", []byte("x"))
	var heads atomic.Int64
	w.in.before = func(op, _ string) error {
		if op == "head" {
			heads.Add(1)
		}
		return nil
	}
	w.sweep()
	w.expectOf("a", map[string]any{"uploaded_not_mined": 1.0, "not_uploaded": float64(shards - 1)})
	if heads.Load() > 10 {
		t.Errorf("%d look-ups", heads.Load())
	}
	w.in.mended()
}

// TestEndedJobsAreNotLookedAtAgain: a process takes a job that has ended for ended for some hours.
func TestEndedJobsAreNotLookedAtAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.upload("a")
		w.acknowledged(toldAll("a")...)
		w.out.mended()
		w.sweep()
		if n := w.out.gets["jobs/a/"+resultKey]; n != 1 {
			t.Errorf("%d reads of the result", n)
		}
		w.sweep()
		w.expect(map[string]any{"finished": 1.0, "under_way": 0.0})
		if n := w.out.gets["jobs/a/"+resultKey]; n != 1 {
			t.Errorf("%d reads of the result after another sweep", n)
		}
		time.Sleep(endedFor)
		w.sweep()
		if n := w.out.gets["jobs/a/"+resultKey]; n != 2 {
			t.Errorf("%d reads of the result some hours later", n)
		}
	})
}
