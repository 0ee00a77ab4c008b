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
	ctx, cancel := context.WithTimeout(context.Background(), patience)
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

// marks returns the words that "work" left, each once, sorted, and how many there were.
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
	t.Parallel()
	q := queue(t, QueueConfig{})
	for _, c := range []PollerConfig{
		{}, {Queue: q},
		{Queue: q, Invoke: (&Function{}).Invoke, BatchSize: 11},
		{Queue: q, Invoke: (&Function{}).Invoke, Concurrency: -1},
		{Queue: q, Invoke: (&Function{}).Invoke, SkipWaits: true},
	} {
		if p, err := StartPoller(c); err == nil {
			p.Stop()
			t.Errorf("%+v is taken", c)
		}
	}
}

func TestResponses(t *testing.T) {
	t.Parallel()
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
	inBubble(t, func(t *testing.T) {
		letters := queue(t, QueueConfig{Name: "dead"})
		q := queue(t, QueueConfig{MaxReceives: 1, DeadLetters: letters, Visibility: time.Minute})
		if _, err := q.Send(`{"a":"<&>"}`); err != nil {
			t.Fatal(err)
		}
		batch := []Message{receiveOne(t, q)}
		time.Sleep(time.Minute)
		q.Counters() // which moves the message to the dead letters
		batch = append(batch, receiveOne(t, letters))
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
	})
}

// fake is the Invoke of a function without a process, which reports the messages that are to fail.
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
	inBubble(t, func(t *testing.T) {
		q := queue(t, QueueConfig{})
		send(t, q, 10)
		began := time.Now()
		p := poller(t, PollerConfig{Queue: q, Invoke: fake(func(m events.SQSMessage) bool {
			return m.Body < "3" && m.Attributes["ApproximateReceiveCount"] == "1"
		})})
		drain(t, p)
		if got, want := q.Counters(), (Counters{Sent: 10, Deleted: 10, Delivered: 13, Returned: 3}); got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("what failed came back after %v, not after the visibility time-out of 30 s", took)
		}
	})
}

// TestSkipWaits has the same as TestPartialBatch without the wait.
func TestSkipWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		clock := &Clock{}
		q := queue(t, QueueConfig{Clock: clock})
		send(t, q, 10)
		began := time.Now()
		p := poller(t, PollerConfig{Queue: q, SkipWaits: true, Invoke: fake(func(m events.SQSMessage) bool {
			return m.Body < "3" && m.Attributes["ApproximateReceiveCount"] == "1"
		})})
		drain(t, p)
		if got, want := q.Counters(), (Counters{Sent: 10, Deleted: 10, Delivered: 13, Returned: 3}); got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it waited for %v", took)
		}
	})
}

// TestSkipWaitsForInvocations has an invocation that takes longer than the visibility time-out: the clock is not moved
// on meanwhile, so its message does not come back.
func TestSkipWaitsForInvocations(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q := queue(t, QueueConfig{Clock: &Clock{}, Visibility: time.Hour})
		send(t, q, 1)
		p := poller(t, PollerConfig{Queue: q, SkipWaits: true, Concurrency: 3, Invoke: func(context.Context, []byte) ([]byte, error) {
			time.Sleep(time.Minute) // in which the other workers poll
			return nil, nil
		}})
		drain(t, p)
		if got, want := q.Counters(), (Counters{Sent: 1, Deleted: 1, Delivered: 1}); got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
	})
}

func TestWholeBatches(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q := queue(t, QueueConfig{})
		send(t, q, 10)
		drain(t, poller(t, PollerConfig{Queue: q, WholeBatches: true, Invoke: fake(func(events.SQSMessage) bool { return true })}))
		if got, want := q.Counters(), (Counters{Sent: 10, Deleted: 10, Delivered: 10}); got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
	})
}

func TestFailedInvocationReturnsTheBatch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		letters := queue(t, QueueConfig{Name: "dead"})
		q := queue(t, QueueConfig{MaxReceives: 2, DeadLetters: letters})
		send(t, q, 10)
		var failed atomic.Int64
		broken := errors.New("broken")
		drain(t, poller(t, PollerConfig{
			Queue:  q,
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
	})
}

func TestConcurrencyAndDrainGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q := queue(t, QueueConfig{Visibility: time.Hour})
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
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Left:12") {
			t.Error(err)
		}
		close(release)
		drain(t, p)
		if most.Load() != 3 {
			t.Errorf("%d at once", most.Load())
		}
	})
}

// trouble is what TestNothingIsLost does to the invocations of a schedule, by their numbers.
type trouble struct {
	events, answers map[int]bool // the events that a process is killed at, and the answers
	expired         map[int]bool // the invocations whose messages become visible again while they are at work
}

// firstInvocations is a number of answers that TestNothingIsLost is sure to have, and so of events and invocations.
// There are 63 messages in batches of 3 at most. Each message is in a batch that is answered, or is given up after 6
// batches that are not. There are 26 of those at most: 18 with the message that ends the process (6 for each of 3
// copies), and 8 that are killed. They hold 78 messages, so at most 13 of the 63 are given up so. The other 50 take 17
// batches.
const firstInvocations = 17

func newTrouble(seed uint64) *trouble {
	random := rand.New(rand.NewPCG(seed, 1))
	pick := func(n int) map[int]bool {
		picked := map[int]bool{}
		for _, i := range random.Perm(firstInvocations)[:n] {
			picked[i] = true
		}
		return picked
	}
	return &trouble{pick(4), pick(4), pick(3)}
}

// TestNothingIsLost runs the bootstrap under all that goes wrong: duplicates, disorder, short batches, failures of
// single messages, panics, exits, a visibility time-out that ends while the function still works, and processes killed
// before their work and after it.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	seeds := uint64(6)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			nothingIsLost(t, seed)
		})
	}
}

func nothingIsLost(t *testing.T, seed uint64) {
	path := filepath.Join(t.TempDir(), "marks")
	plan := newTrouble(seed)
	events, answers := -1, -1
	f := function(t, FunctionConfig{
		Concurrency: 3, Env: []string{bootstrapVariable + "=run", "STACK_TEST_MARKS=" + path},
		Kill: func(_ int, at Moment) bool {
			if at == AtEvent {
				events++
				return plan.events[events]
			}
			answers++
			return plan.answers[answers]
		},
	})
	clock := &Clock{}
	letters := queue(t, QueueConfig{Name: "dead", Clock: clock})
	q := queue(t, QueueConfig{
		Visibility: time.Hour, MaxReceives: 6, DeadLetters: letters, Seed: seed, Duplicates: 0.3, ShortBatches: true, Clock: clock,
	})
	var want []string
	for i := range 60 {
		o := order{Do: "work", S: fmt.Sprintf("%03d", i)}
		if i%10 == 3 {
			o.Do, o.N = "fail until", 3
		}
		want = append(want, o.S)
		sendOrder(t, q, o)
	}
	poison := []order{{Do: "error"}, {Do: "panic"}, {Do: "exit"}}
	for _, o := range poison {
		sendOrder(t, q, o)
	}
	var invoked, exits atomic.Int64
	p := poller(t, PollerConfig{
		Queue: q, Concurrency: 3, BatchSize: 3, SkipWaits: true,
		Invoke: func(ctx context.Context, event []byte) ([]byte, error) {
			if plan.expired[int(invoked.Add(1)-1)] {
				clock.Advance(time.Hour)
			}
			return f.Invoke(ctx, event)
		},
		Failed: func(_ []Message, err error) {
			if errors.Is(err, ErrExited) {
				exits.Add(1)
			} else if !errors.As(err, new(*FunctionError)) {
				t.Error(err)
			}
		},
	})
	drain(t, p)
	p.Stop()
	if err := q.Check(); err != nil {
		t.Error(err)
	}
	// Each message is done, or a dead letter, or both. The poison is dead.
	there := map[string]bool{}
	dead := map[string]bool{}
	for _, m := range letters.Left() {
		var o order
		if err := json.Unmarshal([]byte(m.Body), &o); err != nil {
			t.Fatal(err)
		}
		there[o.S] = true
		dead[o.Do] = true
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
	for _, o := range poison {
		if !dead[o.Do] {
			t.Errorf("%s is no dead letter", o.Do)
		}
	}
	c := q.Counters()
	if c.Left != 0 || c.Sent != len(want)+len(poison) || c.Deleted+c.Dead != c.Sent {
		t.Errorf("%+v", c)
	}
	killed := 0
	for _, r := range f.Invocations() {
		if r.Killed {
			killed++
		}
	}
	if kills := len(plan.events) + len(plan.answers); killed != kills || int(exits.Load()) < kills {
		t.Errorf("%d killed, %d exits; expected %d killed", killed, exits.Load(), kills)
	}
	t.Logf("%d invocations, %d killed, %d exits, %d marks of %d messages, %+v", len(f.Invocations()), killed, exits.Load(), all, len(done), c)
}

func TestTimeoutReturnsTheBatch(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{Timeout: 100 * time.Millisecond})
	clock := &Clock{}
	letters := queue(t, QueueConfig{Name: "dead", Clock: clock})
	q := queue(t, QueueConfig{Visibility: time.Hour, MaxReceives: 2, DeadLetters: letters, Clock: clock})
	sendOrder(t, q, order{Do: "hang"})
	var timeouts atomic.Int64
	drain(t, poller(t, PollerConfig{Queue: q, Invoke: f.Invoke, SkipWaits: true, Failed: func(_ []Message, err error) {
		if !errors.Is(err, ErrTimeout) {
			t.Error(err)
		}
		timeouts.Add(1)
	}}))
	if timeouts.Load() != 2 || letters.Counters().Left != 1 {
		t.Errorf("%d time-outs, %+v", timeouts.Load(), letters.Counters())
	}
}
