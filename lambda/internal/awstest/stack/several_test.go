package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// meeting serves the order "call": it holds invocations until so many are there, then calls met, and lets them go.
func meeting(t *testing.T, n int, met func()) (url string) {
	t.Helper()
	var together sync.WaitGroup
	together.Add(n)
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		together.Done()
		together.Wait()
		once.Do(met)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// all invokes a function n times at once, and returns the errors.
func all(f *Function, n int, o order) []error {
	failed := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, failed[i] = invoke(f, o) })
	}
	wg.Wait()
	return failed
}

// TestPerProcess has three invocations meet in each of two processes, and then more of them.
func TestPerProcess(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{Concurrency: 2, PerProcess: 3})
	if err := errors.Join(all(f, 6, order{Do: "call", S: meeting(t, 6, func() {})})...); err != nil {
		t.Error(err)
	}
	if err := errors.Join(all(f, 20, order{Do: "echo"})...); err != nil {
		t.Error(err)
	}
	response, err := invoke(f, order{Do: "about"})
	if err != nil {
		t.Fatal(err)
	}
	var about struct{ Concurrency string }
	if err := json.Unmarshal(response, &about); err != nil || about.Concurrency != "3" {
		t.Errorf("%v: the process is told of %q", err, about.Concurrency)
	}
	cold, by := 0, map[int]int{}
	for i, r := range f.Invocations() {
		if r.Cold {
			cold++
		}
		if i < 6 {
			by[r.Environment]++
		}
		if r.Cold != (r.Init > 0) || r.Environment > 2 || r.Killed {
			t.Errorf("%+v", r)
		}
	}
	if cold != 2 || by[1] != 3 || by[2] != 3 {
		t.Errorf("%d cold starts; invocations by environment: %v", cold, by)
	}
}

// TestOneProcessIsFilledFirst has an invocation go where most others are under way and there is room.
func TestOneProcessIsFilledFirst(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{Concurrency: 4, PerProcess: 4})
	if err := errors.Join(all(f, 4, order{Do: "call", S: meeting(t, 4, func() {})})...); err != nil {
		t.Error(err)
	}
	for _, r := range f.Invocations() {
		if r.Environment != 1 {
			t.Errorf("%+v", r)
		}
	}
	few, most := &sandbox{running: 1}, &sandbox{running: 3}
	for _, boxes := range [][]*sandbox{{few, most, {running: 4}, {}}, {{running: 4}, {}, most, few}} {
		g := &Function{config: f.config, boxes: boxes}
		if box, _, err := g.takeSandbox(); err != nil || box != most {
			t.Errorf("%v, taken: %+v", err, box)
		}
		most.running = 3
	}
}

// TestKillSeveral kills a process with three invocations under way: all of them fail, and the next has a new process.
func TestKillSeveral(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{PerProcess: 3})
	for _, err := range all(f, 3, order{Do: "call", S: meeting(t, 3, func() { f.Kill(1) })}) {
		if !errors.Is(err, ErrExited) {
			t.Error(err)
		}
	}
	if _, err := invoke(f, order{Do: "echo"}); err != nil {
		t.Error(err)
	}
	for i, r := range f.Invocations() {
		if r.Killed != (i < 3) || (r.Environment == 1) != (i < 3) {
			t.Errorf("%+v", r)
		}
	}
}

// TestKilledMessagesComeBack has a queue of messages whose processes, of three invocations each, are killed at moments of
// some. Every message is done, and none is lost.
func TestKilledMessagesComeBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "marks")
	moments, kills := 0, 6
	f := function(t, FunctionConfig{
		Env:         []string{bootstrapVariable + "=run", "STACK_TEST_MARKS=" + path},
		Concurrency: 2, PerProcess: 3,
		Kill: func(int, Moment) bool { // the 20 invocations that end well have 40 moments
			moments++
			return moments%5 == 0 && moments <= 5*kills
		},
	})
	q := queue(t, QueueConfig{Clock: &Clock{}})
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprintf("m%02d", i))
		sendOrder(t, q, order{Do: "work", S: want[i]})
	}
	drain(t, poller(t, PollerConfig{Queue: q, Invoke: f.Invoke, BatchSize: 2, Concurrency: 6, SkipWaits: true}))
	if err := q.Check(); err != nil || q.Counters().Deleted != len(want) {
		t.Errorf("%v, %+v", err, q.Counters())
	}
	done, _ := marks(t, path)
	if slices.Sort(done); !slices.Equal(slices.Compact(done), want) {
		t.Errorf("done: %v", done)
	}
	killed := 0
	for _, r := range f.Invocations() {
		if r.Killed {
			killed++
		}
	}
	if killed < kills { // each kill has one, at least
		t.Errorf("%d invocations were killed, at %d moments", killed, moments)
	}
}

// TestTimeoutOfOneOfSeveral has an invocation exceed its time-out. The process goes on with it, and takes others.
func TestTimeoutOfOneOfSeveral(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{PerProcess: 2, Timeout: 100 * time.Millisecond})
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	if _, err := invoke(f, order{Do: "call", S: server.URL}); !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
	// On a slow machine this one may exceed its time-out too.
	for end := time.Now().Add(patience); ; {
		_, err := invoke(f, order{Do: "echo"})
		if err == nil {
			break
		}
		if !errors.Is(err, ErrTimeout) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	for _, r := range f.Invocations() {
		if r.Environment != 1 || r.Killed {
			t.Errorf("%+v", r)
		}
	}
	close(release)
}

// TestCloseEndsWhatTimedOut closes a function whose process is still busy with an invocation that exceeded its time-out.
func TestCloseEndsWhatTimedOut(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{PerProcess: 2, Timeout: 100 * time.Millisecond})
	if _, err := invoke(f, order{Do: "hang"}); !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestPanicOfOneOfSeveral has an invocation panic while another is under way, which ends well. Then the process ends.
func TestPanicOfOneOfSeveral(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{PerProcess: 2})
	arrived, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}))
	defer server.Close()
	other := make(chan error)
	go func() {
		_, err := invoke(f, order{Do: "call", S: server.URL})
		other <- err
	}()
	<-arrived
	var failure *FunctionError
	if _, err := invoke(f, order{Do: "panic", S: "on purpose"}); !errors.As(err, &failure) || !strings.Contains(failure.Message, "on purpose") {
		t.Error(err)
	}
	close(release)
	if err := <-other; err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(patience); ; { // one that comes before the process has ended fails with it
		_, err := invoke(f, order{Do: "echo"})
		if err == nil {
			break
		}
		if !errors.Is(err, ErrExited) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if r := f.Invocations(); r[len(r)-1].Environment != 2 {
		t.Errorf("%+v", r[len(r)-1])
	}
}

// TestTooManyRequestsForEvents has a process ask for more events at once than it may have.
func TestTooManyRequestsForEvents(t *testing.T) {
	t.Parallel()
	e := &environment{ready: make(chan struct{}), limit: 2}
	c := &call{id: "one", replied: make(chan struct{}), completed: make(chan struct{})}
	if !e.ask() {
		t.Fatal("the first is refused")
	}
	e.open, e.calls = 0, []*call{c}
	if !e.ask() || e.ask() {
		t.Error("beside an invocation under way there is room for one request")
	}
	if c.answered = true; !e.ask() || len(e.calls) != 0 {
		t.Error("the answered one is not completed")
	}
	<-c.completed
	if e.ask() {
		t.Error("two requests are open, and a third is not refused")
	}
}
