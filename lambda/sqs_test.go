package lambda

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/stack"
)

// realQueue opens a queue of the emulator, as the function opens its own. The endpoint has these faults, one for each
// request, and none afterwards.
func realQueue(t *testing.T, faults ...stack.Fault) (opened Queue, behind *stack.Queue, requests *int) {
	t.Helper()
	behind, err := stack.NewQueue(stack.QueueConfig{})
	if err != nil {
		t.Fatal(err)
	}
	requests = new(int)
	endpoint, err := stack.ServeSQS(func(request int) stack.Fault {
		*requests = request + 1
		if request < len(faults) {
			return faults[request]
		}
		return stack.NoFault
	}, behind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = endpoint.Close() })
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_SQS": endpoint.URL(), "AWS_REGION": stack.Region, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none,
	} {
		t.Setenv(name, value)
	}
	if opened, err = OpenQueue(t.Context(), endpoint.QueueURL(behind)); err != nil {
		t.Fatal(err)
	}
	return opened, behind, requests
}

func numbered(n int) (bodies []string) {
	for i := range n {
		bodies = append(bodies, fmt.Sprintf("%02d ü", i))
	}
	return bodies
}

// bodiesOf returns the bodies of a queue's messages, sorted.
func bodiesOf(q *stack.Queue) (bodies []string) {
	for _, m := range q.Left() {
		bodies = append(bodies, m.Body)
	}
	slices.Sort(bodies)
	return bodies
}

func TestSendBatches(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1: 1, 10: 1, 11: 2, 25: 3} {
		q, behind, requests := realQueue(t)
		if err := q.Send(t.Context(), numbered(n)); err != nil {
			t.Fatal(err)
		}
		if *requests != want || !slices.Equal(bodiesOf(behind), numbered(n)) {
			t.Errorf("%d messages: %d requests, and sent is %q", n, *requests, bodiesOf(behind))
		}
	}
}

func TestSendFaults(t *testing.T) {
	refused := slices.Repeat([]stack.Fault{stack.FaultRefused}, 20)
	for _, c := range []struct {
		name    string
		faults  []stack.Fault
		problem string // empty for no error
		sent    []string
	}{
		{"refused once", refused[:1], "", numbered(12)},
		{"refused", refused, "send to queue http", nil},
		{"the second batch is refused", append([]stack.Fault{stack.NoFault}, refused...), "send to queue http", numbered(10)},
		// The client sends again what had arrived: SQS delivers at least once.
		{"the answer is lost", []stack.Fault{stack.FaultLost}, "", slices.Sorted(slices.Values(append(numbered(10), numbered(12)...)))},
		{"entries fail", []stack.Fault{stack.FaultEntries}, "5 of 10 messages failed, the first with InternalError: try again", []string{"01 ü", "03 ü", "05 ü", "07 ü", "09 ü"}},
		{"entries of the second batch fail", []stack.Fault{stack.NoFault, stack.FaultEntries}, "1 of 2 messages failed", append(numbered(10), "11 ü")},
	} {
		q, behind, _ := realQueue(t, c.faults...)
		err := q.Send(t.Context(), numbered(12))
		if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%s: %v", c.name, err)
		}
		if !slices.Equal(bodiesOf(behind), c.sent) {
			t.Errorf("%s: sent is %q", c.name, bodiesOf(behind))
		}
	}
}

// TestHandlerSends has a manifest's event send messages to a queue that refuses half of them, and then, when the event
// comes again, takes all.
func TestHandlerSends(t *testing.T) {
	q, behind, _ := realQueue(t, stack.FaultEntries)
	w := newWorld(t, q)
	w.upload("a b+c")
	if again := w.deliver(told("a b+c", job.ManifestKey)); len(again) != 1 {
		t.Errorf("entries fail: messages %v come again", again)
	}
	w.acknowledged(told("a b+c", job.ManifestKey))
	if n := len(bodiesOf(behind)); n != demoShards/2+demoShards {
		t.Errorf("%d messages", n)
	}
	w.acknowledged(bodiesOf(behind)...)
	w.finished("a b+c")
}
