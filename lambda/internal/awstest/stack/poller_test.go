package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

func poller(t *testing.T, c PollerConfig) *Poller {
	t.Helper()
	p, err := StartPoller(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func drain(t *testing.T, p *Poller) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := p.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

func sendOrder(t *testing.T, q *Queue, o order) {
	t.Helper()
	if _, err := q.Send(string(mustJSON(o))); err != nil {
		t.Fatal(err)
	}
}

// marks are the lines that "work" left, each once, sorted; and how many there were.
func marks(t *testing.T, path string) (distinct []string, all int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, line := range strings.Fields(string(data)) {
		all++
		if !seen[line] {
			seen[line] = true
			distinct = append(distinct, line)
		}
	}
	sort.Strings(distinct)
	return distinct, all
}

func TestPollerConfig(t *testing.T) {
	q := queue(t, QueueConfig{})
	for _, c := range []PollerConfig{
		{}, {Queue: q},
		{Queue: q, Invoke: (&Function{}).Invoke, BatchSize: 11},
		{Queue: q, Invoke: (&Function{}).Invoke, Concurrency: -1},
	} {
		if p, err := StartPoller(c); err == nil {
			p.Stop()
			t.Errorf("%+v is taken", c)
		}
	}
}

func TestResponses(t *testing.T) {
	batch := []Message{{ID: "a"}, {ID: "b"}}
	for _, c := range []struct {
		response string
		want     string // the failed ids, or "all"
	}{
		{``, ""},
		{`null`, ""},
		{`{}`, ""},
		{`{"statusCode":200}`, ""},
		{`{"batchItemFailures":null}`, ""},
		{`{"batchItemFailures":[]}`, ""},
		{` {"batchItemFailures":[{"itemIdentifier":"b"}]}` + "\n", "b"},
		{`{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"},{"itemIdentifier":"a"}]}`, "a b"},
		{`{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"c"}]}`, "all"},
		{`{"batchItemFailures":[{"itemIdentifier":""}]}`, "all"},
		{`{"batchItemFailures":[{"itemIdentifier":null}]}`, "all"},
		{`{"batchItemFailures":[{"itemIdentifier":7}]}`, "all"},
		{`{"batchItemFailures":[{"ItemIdentifier":"a"}]}`, "all"},
		{`{"batchItemFailures":[null]}`, "all"},
		{`{"batchItemFailures":["a"]}`, "all"},
		{`{"batchItemFailures":"a"}`, "all"},
		{`{"batchItemFailures":[`, "all"},
		{`"done"`, "all"},
		{`done`, "all"},
	} {
		failed, err := batchItemFailures([]byte(c.response), batch)
		var got []string
		for id := range failed {
			got = append(got, id)
		}
		sort.Strings(got)
		if err != nil {
			got = []string{"all"}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, not %q", c.response, got, c.want)
		}
	}
}

func TestSQSEvent(t *testing.T) {
	letters := queue(t, QueueConfig{Name: "dead"})
	q := queue(t, QueueConfig{MaxReceives: 1, DeadLetters: letters, Visibility: time.Millisecond})
	if _, err := q.Send(`{"a":"<&>"}`); err != nil {
		t.Fatal(err)
	}
	batch := receive(t, q)
	for letters.empty() {
		q.Counters()
		time.Sleep(time.Millisecond)
	}
	batch = append(batch, receive(t, letters)...)
	event := SQSEvent(q, batch)
	var got events.SQSEvent
	if err := json.Unmarshal(event, &got); err != nil || len(got.Records) != 2 {
		t.Fatalf("%v: %s", err, event)
	}
	for i, r := range got.Records {
		if err := checkRecord(r); err != nil {
			t.Error(err)
		}
		if r.MessageId != batch[0].ID || r.Body != `{"a":"<&>"}` || r.Attributes["ApproximateReceiveCount"] != "1" ||
			r.Attributes["ApproximateFirstReceiveTimestamp"] == "" || r.MessageAttributes == nil || r.EventSourceARN != q.ARN() ||
			(r.Attributes["DeadLetterQueueSourceArn"] == q.ARN()) != (i == 1) {
			t.Errorf("%+v", r)
		}
	}
}

// fake is a function without a process, which fails what it is told to.
func fake(fail func(m events.SQSMessage) bool) func(context.Context, []byte) ([]byte, error) {
	return func(_ context.Context, event []byte) ([]byte, error) {
		var batch events.SQSEvent
		if err := json.Unmarshal(event, &batch); err != nil {
			return nil, err
		}
		var response events.SQSEventResponse
		for _, m := range batch.Records {
			if fail(m) {
				response.BatchItemFailures = append(response.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
			}
		}
		return mustJSON(response), nil
	}
}

func TestPartialBatch(t *testing.T) {
	q := queue(t, QueueConfig{Visibility: 20 * time.Millisecond})
	send(t, q, 10)
	p := poller(t, PollerConfig{Queue: q, Invoke: fake(func(m events.SQSMessage) bool {
		return m.Body < "3" && m.Attributes["ApproximateReceiveCount"] == "1"
	})})
	drain(t, p)
	if got, want := q.Counters(), (Counters{Sent: 10, Deleted: 10, Delivered: 13, Returned: 3}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
}

func TestWholeBatches(t *testing.T) {
	q := queue(t, QueueConfig{})
	send(t, q, 10)
	drain(t, poller(t, PollerConfig{Queue: q, WholeBatches: true, Invoke: fake(func(events.SQSMessage) bool { return true })}))
	if got, want := q.Counters(), (Counters{Sent: 10, Deleted: 10, Delivered: 10}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
}

func TestFailedInvocationReturnsTheBatch(t *testing.T) {
	letters := queue(t, QueueConfig{Name: "dead"})
	q := queue(t, QueueConfig{Visibility: 5 * time.Millisecond, MaxReceives: 2, DeadLetters: letters})
	send(t, q, 10)
	var failed atomic.Int64
	broken := errors.New("broken")
	drain(t, poller(t, PollerConfig{
		Queue: q, Concurrency: 1,
		Invoke: func(context.Context, []byte) ([]byte, error) { return nil, broken },
		Failed: func(batch []Message, err error) {
			if err != broken {
				t.Error(err)
			}
			failed.Add(int64(len(batch)))
		},
	}))
	if got, want := q.Counters(), (Counters{Sent: 10, Dead: 10, Delivered: 20, Returned: 20}); got != want || failed.Load() != 20 {
		t.Errorf("%+v, not %+v; %d failed", got, want, failed.Load())
	}
	if left := letters.Left(); len(left) != 10 {
		t.Errorf("%d dead letters", len(left))
	}
}

func TestConcurrencyAndDrainGivesUp(t *testing.T) {
	q := queue(t, QueueConfig{})
	send(t, q, 12)
	var now, most atomic.Int64
	release := make(chan struct{})
	p := poller(t, PollerConfig{Queue: q, BatchSize: 1, Concurrency: 3, Invoke: func(context.Context, []byte) ([]byte, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		<-release
		return nil, nil
	}})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := p.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Left:12") {
		t.Error(err)
	}
	close(release)
	drain(t, p)
	if most.Load() != 3 {
		t.Errorf("%d at once", most.Load())
	}
}

// TestNothingIsLost runs the bootstrap under all that goes wrong: duplicates, disorder, short batches, failures of single messages,
// errors, panics, time-outs, a visibility that ends while the function still works, and kills at seeded moments.
func TestNothingIsLost(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "marks")
			random := rand.New(rand.NewPCG(seed, 1))
			f := function(t, FunctionConfig{
				Concurrency: 3, Timeout: 300 * time.Millisecond,
				Env: []string{bootstrapVariable + "=run", "STACK_TEST_MARKS=" + path},
				KillAfter: func(int) (time.Duration, bool) {
					return time.Duration(random.IntN(30)) * time.Millisecond, random.IntN(3) == 0
				},
			})
			letters := queue(t, QueueConfig{Name: "dead"})
			q := queue(t, QueueConfig{
				Visibility: 250 * time.Millisecond, MaxReceives: 12, DeadLetters: letters, Seed: seed, Duplicates: 0.3, ShortBatches: true,
			})
			var want []string
			work := func(o order) {
				o.S = fmt.Sprintf("%03d", len(want))
				want = append(want, o.S)
				sendOrder(t, q, o)
			}
			for i := range 60 {
				switch {
				case i%10 == 3:
					work(order{Do: "fail until", N: 3})
				default:
					work(order{Do: "work", N: i % 7})
				}
			}
			poison := []order{{Do: "error"}, {Do: "panic"}, {Do: "sleep", N: 60_000}}
			for _, o := range poison {
				sendOrder(t, q, o)
			}
			var mu sync.Mutex
			kinds := map[string]int{}
			p := poller(t, PollerConfig{Queue: q, Invoke: f.Invoke, Concurrency: 3, BatchSize: 3, Failed: func(_ []Message, err error) {
				mu.Lock()
				defer mu.Unlock()
				kinds[fmt.Sprintf("%T", err)]++
			}})
			drain(t, p)
			p.Stop()
			if err := q.Check(); err != nil {
				t.Error(err)
			}
			// A message is done, or a dead letter; the poison is dead in any case.
			there := map[string]bool{}
			for _, m := range letters.Left() {
				var o order
				if err := json.Unmarshal([]byte(m.Body), &o); err != nil {
					t.Fatal(err)
				}
				there[o.S] = true
			}
			done, all := marks(t, path)
			for _, s := range done {
				there[s] = true
			}
			for _, s := range want {
				if !there[s] {
					t.Errorf("%s is lost", s)
				}
			}
			c := q.Counters()
			if c.Left != 0 || c.Sent != 63 || len(done) < 30 || c.Dead < len(poison) {
				t.Errorf("%+v", c)
			}
			killed := 0
			for _, r := range f.Invocations() {
				if r.Killed {
					killed++
				}
			}
			if killed == 0 || kinds["*stack.FunctionError"] == 0 || kinds["*stack.TimeoutError"] == 0 || kinds["*stack.ExitError"] == 0 {
				t.Errorf("%d killed, %v", killed, kinds)
			}
			t.Logf("%d invocations, %d killed, failed: %v, %d marks of %d messages, %+v", len(f.Invocations()), killed, kinds, all, len(done), c)
		})
	}
}

func TestTimeoutReturnsTheBatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "marks")
	f := function(t, FunctionConfig{Timeout: 300 * time.Millisecond, Env: []string{bootstrapVariable + "=run", "STACK_TEST_MARKS=" + path}})
	letters := queue(t, QueueConfig{Name: "dead"})
	q := queue(t, QueueConfig{Visibility: 700 * time.Millisecond, MaxReceives: 2, DeadLetters: letters})
	sendOrder(t, q, order{Do: "work", N: 60_000, S: "slow"})
	var timeouts atomic.Int64
	drain(t, poller(t, PollerConfig{Queue: q, Invoke: f.Invoke, Failed: func(_ []Message, err error) {
		if errors.Is(err, ErrTimeout) {
			timeouts.Add(1)
		}
	}}))
	if timeouts.Load() != 2 || letters.Counters().Left != 1 {
		t.Errorf("%d time-outs, %+v", timeouts.Load(), letters.Counters())
	}
}
