package lambda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/stack"
	"github.com/quarry-hn/quarry/plugin/abi"
)

// inBubble runs a test in which time is not real: it moves on only when every goroutine waits. So what computes takes
// no time, and a store or an engine that waits takes exactly the time that it waits for.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	if _, err := demoJob(); err != nil { // it is for all tests, and may not belong to a bubble
		t.Fatal(err)
	}
	synctest.Test(t, test)
}

// within is the context of an invocation whose deadline comes so long after the reserve begins.
func (w *world) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(w.context(), reserve+d)
	w.t.Cleanup(cancel)
	return ctx
}

// slows makes an operation on keys that contain part take that long.
func (s *watched) slows(op, part string, d time.Duration) {
	s.before = func(o, key string) error {
		if o == op && strings.Contains(key, part) {
			time.Sleep(d)
		}
		return nil
	}
}

// TestDeadline has invocations with no time left before the reserve.
func TestDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, d := range []time.Duration{-2 * reserve, -time.Second, -1} {
			w := newWorld(t, nil)
			w.upload("a")
			if again := w.deliverIn(w.within(d), append(toldAll("a"), told("a", job.ManifestKey), stack.S3TestEvent("in"))...); !slices.Equal(again, []string{"0", "1", "2", "3", "4"}) {
				t.Errorf("messages %v come again", again)
			}
			if _, err := w.handler.Invoke(w.within(d), []byte(told("a", shardKey(0)))); !errors.Is(err, job.ErrDeadline) {
				t.Errorf("directly: %v", err)
			}
			if len(w.out.puts) > 0 {
				t.Errorf("put: %v", w.out.puts)
			}
			if again := w.deliverIn(w.within(time.Minute), append(toldAll("a"), stack.S3TestEvent("in"))...); len(again) > 0 {
				t.Errorf("with time, messages %v come again", again)
			}
			w.finished("a")
		}
	})
}

// TestTimeRunsOut has a shard take so long that there is time for another like it, or not.
func TestTimeRunsOut(t *testing.T) {
	const slow = 600 * time.Millisecond
	inBubble(t, func(t *testing.T) {
		for left, again := range map[time.Duration][]string{2*slow - 1: {"1", "2", "3"}, 2 * slow: nil} {
			w := newWorld(t, nil)
			w.upload("a")
			w.out.slows("put", "-0000000-", slow)
			if got := w.deliverIn(w.within(left), toldAll("a")...); !slices.Equal(got, again) {
				t.Errorf("with %v, messages %v come again; expected %v", left, got, again)
			}
			if again == nil {
				w.finished("a")
				continue
			}
			w.expect(map[string]any{"msg": "left for another invocation"})
			if w.partsOf("a") != "," {
				t.Errorf("parts: %q", w.partsOf("a"))
			}
			w.out.mended()
			// The next invocation has less time than the last shard took, but nothing else to do: it tries a shard, or nobody
			// ever would.
			if got := w.deliverIn(w.within(slow-1), told("a", shardKey(1))); len(got) > 0 {
				t.Errorf("messages %v come again; the log is\n%s", got, w.log.String())
			}
			w.acknowledged(toldAll("a")...)
			w.finished("a")
		}
	})
}

// TestTimeRunsOutWithinAShard has a shard that is not read in time, and one that is not mined in time: nothing of it is
// put, the shards after it are left, and all of them come again.
func TestTimeRunsOutWithinAShard(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for what, slow := range map[string]func(*world){
			"read": func(w *world) { w.in.slows("get", shardKey(2), time.Second) },
			"mine": func(w *world) { w.handler.config.Run.Engine = slowEngine{native} },
		} {
			w := newWorld(t, nil)
			w.upload("a")
			slow(w)
			if again := w.deliverIn(w.within(time.Second/2), told("a", shardKey(2)), told("a", shardKey(3))); !slices.Equal(again, []string{"0", "1"}) {
				t.Errorf("%s: messages %v come again", what, again)
			}
			if !strings.Contains(w.log.String(), job.ErrDeadline.Error()) {
				t.Errorf("%s: the log does not say why:\n%s", what, w.log.String())
			}
			for _, key := range w.out.puts {
				if key != job.Folder+"a/"+job.ManifestKey && key != job.Folder+"a/source.json" {
					t.Errorf("%s: put: %v", what, key)
				}
			}
			w.in.mended()
			w.handler.config.Run.Engine = native
			w.acknowledged(toldAll("a")...)
			w.finished("a")
		}
	})
}

// slowEngine takes a second for each block of documents.
type slowEngine struct{ engine.Engine }

func (e slowEngine) Open(ctx context.Context) (engine.Instance, error) {
	i, err := e.Engine.Open(ctx)
	return slowInstance{i}, err
}

type slowInstance struct{ engine.Instance }

func (i slowInstance) Call(ctx context.Context, op abi.Op, n int) ([]byte, error) {
	if op == abi.OpPush {
		time.Sleep(time.Second)
	}
	return i.Instance.Call(ctx, op, n)
}

// TestCancelled delivers events of a job that was cancelled, to a handler that has mined for the job and to a new one.
func TestCancelled(t *testing.T) {
	t.Parallel()
	for _, warm := range []bool{true, false} {
		q := &fakeQueue{}
		w := newWorld(t, q)
		w.upload("a")
		if warm {
			w.acknowledged(told("a", shardKey(0)))
		}
		if _, err := job.Cancel(t.Context(), w.place("a")); err != nil {
			t.Fatal(err)
		}
		w.out.mended()
		for _, body := range append(toldAll("a"), told("a", job.ManifestKey), told("a", pairsKey), told("a", projectionKey)) {
			w.acknowledged(body)
			w.expect(map[string]any{"action": "cancelled", "job": "a"})
			if err := w.direct(body); err != nil {
				t.Error(err)
			}
		}
		if err := w.direct(sweepIn); err != nil {
			t.Error(err)
		}
		if len(w.out.puts) > 0 || len(q.bodies) > 0 {
			t.Errorf("put: %v; sent: %v", w.out.puts, q.bodies)
		}
	}
}

// TestRefused uploads objects that are not what their manifest says. Their messages do not come again, since that would
// not help.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.upload("a")
	w.put("a", shardKey(1), w.sample.objects[shardKey(2)])
	w.put("a", "shards/foreign", nil)
	for _, c := range []struct{ key, problem string }{{shardKey(1), "sha256"}, {"shards/foreign", "does not name it"}} {
		w.acknowledged(told("a", c.key))
		w.expect(map[string]any{"action": "refused", "level": "WARN", "shard": c.key})
		if problem := fmt.Sprint(w.last()["problem"]); !strings.Contains(problem, c.problem) {
			t.Error(problem)
		}
	}
	w.handler.config.MaxShard = 10
	if err := w.handler.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.acknowledged(told("a", shardKey(0)))
	w.expect(map[string]any{"action": "refused", "level": "WARN"})
	w.put("b", job.ManifestKey, []byte("{}"))
	w.acknowledged(told("b", job.ManifestKey))
	w.expect(map[string]any{"action": "refused", "level": "WARN", "job": "b", "object": job.ManifestKey})
}

// TestLog checks what the log says of each shard. Every test checks at its end that the log has nothing that is private.
func TestLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.upload("a")
	w.acknowledged(toldAll("a")[:2]...)
	w.acknowledged(toldAll("a")[2:]...)
	w.acknowledged(told("a", shardKey(1)))
	if err := w.direct(told("a", job.ManifestKey)); err != nil {
		t.Error(err)
	}
	lines := w.lines()
	if len(lines) != demoShards+2 {
		t.Fatalf("%d lines: %s", len(lines), w.log.String())
	}
	for i, l := range lines {
		if l["job"] != "a" || l["bucket"] != "in" || l["event"] != "ObjectCreated:Put" || l["cold_start"] != (i < 2) {
			t.Errorf("line %d: %v", i, l)
		}
		if want := []string{"request-1", "request-1", "request-2", "request-2", "request-3", "request-4"}[i]; l["request_id"] != want {
			t.Errorf("line %d: request_id is %v; expected %s", i, l["request_id"], want)
		}
		if ms, ok := l["milliseconds"].(float64); !ok || ms < 0 {
			t.Errorf("line %d: milliseconds is %v", i, l["milliseconds"])
		}
		if i == demoShards+1 {
			if l["object"] != job.ManifestKey || l["action"] != "finished" {
				t.Errorf("line %d: %v", i, l)
			}
			continue
		}
		if l["receives"] != "1" || l["message"] != fmt.Sprint(i%2) || l["shard"] != shardKey([]int{0, 1, 2, 3, 1}[i]) {
			t.Errorf("line %d: %v", i, l)
		}
		if i == demoShards {
			continue
		}
		if l["msg"] != "mined" || l["action"] != "mined" || l["level"] != "INFO" || l["parts"] != float64(i+1) || l["of"] != float64(demoShards) {
			t.Errorf("line %d: %v", i, l)
		}
		for _, key := range []string{"pairs", "negatives", "documents", "bytes"} {
			if n, ok := l[key].(float64); !ok || n <= 0 {
				t.Errorf("line %d: %s is %v", i, key, l[key])
			}
		}
		if committed, _ := l["committed"].(bool); committed != (i == demoShards-1) {
			t.Errorf("line %d: committed is %v", i, committed)
		}
	}
	w.in.breaks("get", shardKey(0), objstore.ErrNoBucket)
	w.upload("b")
	if again := w.deliver(told("b", shardKey(0))); len(again) != 1 {
		t.Error(again)
	}
	w.expect(map[string]any{"level": "ERROR", "job": "b", "shard": shardKey(0), "cold_start": false, "request_id": "request-5"})
	if problem, _ := w.last()["problem"].(string); !strings.Contains(problem, objstore.ErrNoBucket.Error()) {
		t.Error(w.last())
	}
}

// TestSmallestConfiguration has a handler of the smallest configuration.
func TestSmallestConfiguration(t *testing.T) {
	t.Parallel()
	h := New(Config{Inputs: "s3://in", Results: "s3://results"})
	if _, err := h.Invoke(t.Context(), []byte(stack.S3TestEvent("in"))); err != nil {
		t.Error(err)
	}
}
