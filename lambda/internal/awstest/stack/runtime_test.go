package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestFunctionConfig(t *testing.T) {
	t.Parallel()
	_, err := NewFunction(FunctionConfig{Timeout: -1, Concurrency: -2})
	for _, want := range []string{"no Path", "Timeout is negative", "Concurrency is negative: -2"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	f, err := NewFunction(FunctionConfig{Path: filepath.Join(t.TempDir(), "bootstrap")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Invoke(context.Background(), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a bootstrap that is not there: %v", err)
	}
	if _, err := f.Invoke(context.Background(), make([]byte, MaxPayload+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an event over the limit: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.Invoke(context.Background(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestWarmReuse(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{
		Name: "miner", MemoryMB: 1769, Env: []string{bootstrapVariable + "=run", "STACK_TEST_OWN=own", "AWS_REGION=eu-west-3"},
		EnvOf: func(environment int) []string { return []string{fmt.Sprint("STACK_TEST_ENVIRONMENT=", environment)} },
	})
	var pids [3]float64
	for i := range pids {
		before := time.Now()
		response, err := invoke(f, order{Do: "about"})
		after := time.Now()
		if err != nil {
			t.Fatal(err)
		}
		var about map[string]any
		if err := json.Unmarshal(response, &about); err != nil {
			t.Fatal(err)
		}
		pids[i], _ = about["pid"].(float64)
		deadline, _ := about["deadline"].(float64)
		if first, last := before.Add(patience).UnixMilli(), after.Add(patience).UnixMilli(); int64(deadline) < first || int64(deadline) > last {
			t.Errorf("the deadline is %.0f, expected %d to %d", deadline, first, last)
		}
		if trace, _ := about["trace"].(string); !strings.HasPrefix(trace, "Root=1-") {
			t.Errorf("trace id %q", trace)
		}
		records := f.Invocations()
		for name, want := range map[string]any{
			"id": records[len(records)-1].RequestID, "arn": "arn:aws:lambda:us-east-1:123456789012:function:miner",
			"name": "miner", "memory": 1769.0, "version": "$LATEST", "region": "eu-west-3", "own": "own", "environment": "1", "home": "",
			"root": filepath.Dir(f.config.Path),
		} {
			if about[name] != want {
				t.Errorf("%s is %v, not %v", name, about[name], want)
			}
		}
	}
	if pids[0] != pids[1] || pids[1] != pids[2] {
		t.Errorf("not one process: %v", pids)
	}
	for i, r := range f.Invocations() {
		if r.Number != i || r.Environment != 1 || r.Cold != (i == 0) || (r.Init > 0) != r.Cold || r.Duration <= 0 || r.Err != nil {
			t.Errorf("%+v", r)
		}
		if runtime.GOOS == "linux" && r.MaxRSS < 1<<20 {
			t.Errorf("max RSS %d", r.MaxRSS)
		}
	}
	if err := f.Recycle(); err != nil {
		t.Fatal(err)
	}
	if _, err := invoke(f, order{Do: "echo"}); err != nil {
		t.Fatal(err)
	}
	if r := f.Invocations()[3]; !r.Cold || r.Environment != 2 {
		t.Errorf("after Recycle: %+v", r)
	}
}

func TestMaxRSS(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("no /proc")
	}
	f := function(t, FunctionConfig{})
	for _, o := range []order{{Do: "echo"}, {Do: "allocate", N: 256 << 20}, {Do: "echo"}} {
		if _, err := invoke(f, o); err != nil {
			t.Fatal(err)
		}
	}
	// What else the process has in memory is not known, except that it is more than 1 MiB and less than 256 MiB, also
	// under the race detector.
	r := f.Invocations()
	if r[0].MaxRSS < 1<<20 || r[0].MaxRSS >= 256<<20 || r[1].MaxRSS < 256<<20 || r[1].MaxRSS > 10*256<<20 || r[2].MaxRSS < r[1].MaxRSS {
		t.Errorf("before, with and after 256 MiB: %d, %d, %d bytes", r[0].MaxRSS, r[1].MaxRSS, r[2].MaxRSS)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{Timeout: 100 * time.Millisecond})
	for i := range 2 {
		_, err := invoke(f, order{Do: "hang"})
		var timeout *TimeoutError
		if !errors.Is(err, ErrTimeout) || !errors.As(err, &timeout) || timeout.Init {
			t.Fatal(err)
		}
		if !strings.HasSuffix(err.Error(), "Task timed out after 0.10 seconds") {
			t.Error(err)
		}
		if r := f.Invocations()[i]; r.Err != err || r.Duration < 100*time.Millisecond || r.Killed || !r.Cold || r.Environment != i+1 {
			t.Errorf("%+v", r)
		}
	}
}

// TestGrace has a deadline that is over before a function could answer: it is told of that deadline, and may answer all
// the same.
func TestGrace(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{Timeout: time.Nanosecond, Grace: patience})
	before := time.Now()
	response, err := invoke(f, order{Do: "about"})
	if err != nil {
		t.Fatal(err)
	}
	var about struct{ Deadline int64 }
	if err := json.Unmarshal(response, &about); err != nil || about.Deadline < before.UnixMilli() || about.Deadline > time.Now().UnixMilli() {
		t.Errorf("%v: the deadline is %d", err, about.Deadline)
	}
}

func TestExits(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{})
	for i, want := range []int{0, 3} {
		_, err := invoke(f, order{Do: "exit", N: want})
		var exit *ExitError
		if !errors.Is(err, ErrExited) || !errors.As(err, &exit) || exit.Code != want || exit.Init {
			t.Error(err)
		}
		if r := f.Invocations()[i]; !r.Cold || r.Environment != i+1 {
			t.Errorf("%+v", r)
		}
	}
	if _, err := invoke(f, order{Do: "echo"}); err != nil {
		t.Error(err)
	}
}

func TestInit(t *testing.T) {
	t.Parallel()
	var exit *ExitError
	f := function(t, FunctionConfig{Env: []string{bootstrapVariable + "=init-exit"}})
	if _, err := invoke(f, order{}); !errors.As(err, &exit) || exit.Code != 9 || !exit.Init {
		t.Error(err)
	}
	var timeout *TimeoutError
	f = function(t, FunctionConfig{Env: []string{bootstrapVariable + "=init-hang"}, InitTimeout: 100 * time.Millisecond})
	if _, err := invoke(f, order{}); !errors.As(err, &timeout) || !timeout.Init {
		t.Error(err)
	}
}

func TestFunctionErrors(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{})
	for _, c := range []struct {
		order         order
		kind, message string
		warm          bool // the process goes on
	}{
		{order{Do: "error", N: 7}, "errOdd", "7 is odd", true},
		{order{Do: "panic", S: "on purpose"}, "string", "on purpose", false},
		{order{Do: "large", N: MaxPayload + 200}, "Function.ResponseSizeTooLarge", "6291556 bytes", false},
	} {
		_, err := invoke(f, c.order)
		var failure *FunctionError
		if !errors.As(err, &failure) || failure.Type != c.kind || !strings.Contains(failure.Message, c.message) {
			t.Errorf("%v: %v", c.order, err)
		}
		if (len(failure.StackTrace) > 0) != (c.order.Do == "panic") {
			t.Errorf("%v: stack trace %s", c.order, failure.StackTrace)
		}
		if _, err := invoke(f, order{Do: "echo"}); err != nil {
			t.Fatalf("after %v: %v", c.order, err)
		}
		if r := f.Invocations(); r[len(r)-1].Cold == c.warm {
			t.Errorf("after %v: %+v", c.order, r[len(r)-1])
		}
	}
}

func TestLargestPayload(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{})
	o := order{Do: "echo"}
	o.S = strings.Repeat("x", MaxPayload-len(mustJSON(o)))
	response, err := invoke(f, o)
	if err != nil || string(response) != string(mustJSON(o)) {
		t.Errorf("%v, %d bytes back of %d", err, len(response), MaxPayload)
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	got := map[int][]string{}
	f := function(t, FunctionConfig{Log: func(environment int, line string) { got[environment] = append(got[environment], line) }})
	for _, o := range []order{{Do: "print", N: 2, S: "without end"}, {Do: "exit"}, {Do: "print", N: 1}} {
		_, _ = invoke(f, o)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if want := map[int][]string{1: {"line 0", "line 1", "without end"}, 2: {"line 0"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
}

func TestLinesAreCut(t *testing.T) {
	t.Parallel()
	var got []int
	l := &lines{log: func(line string) { got = append(got, len(line)) }}
	for range 3 {
		if _, err := l.Write(make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = l.Write([]byte("\r\n\nend"))
	l.flush()
	l.flush()
	if want := []int{300 << 10, 0, 0, 3}; !reflect.DeepEqual(got, want) {
		t.Errorf("lines of %d bytes", got)
	}
}

func TestTmpOutlivesAFailure(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{})
	leave := func(o order, want ...string) {
		t.Helper()
		response, err := invoke(f, o)
		var got []string
		if o.N > 0 {
			if !errors.Is(err, ErrExited) {
				t.Fatal(err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(response, &got); err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%v: %q there, not %q", o, got, want)
		}
	}
	leave(order{Do: "leave", S: "a"})
	leave(order{Do: "leave", S: "b", N: 1})
	leave(order{Do: "leave", S: "c"}, "a", "b")
	if err := f.Recycle(); err != nil {
		t.Fatal(err)
	}
	leave(order{Do: "leave", S: "d"})
}

// TestConcurrency has as many invocations at once as it may, which wait for one another, and then more.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{Concurrency: 3})
	var together sync.WaitGroup
	together.Add(3)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		together.Done()
		together.Wait()
	}))
	defer server.Close()
	var wg sync.WaitGroup
	all := func(n int, o order) {
		for range n {
			wg.Go(func() {
				if _, err := invoke(f, o); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	all(3, order{Do: "call", S: server.URL})
	all(9, order{Do: "echo"})
	cold, used := 0, map[int]bool{}
	for _, r := range f.Invocations() {
		used[r.Environment] = true
		if r.Cold {
			cold++
		}
	}
	if cold != 3 || len(used) != 3 {
		t.Errorf("%d cold starts, %d environments", cold, len(used))
	}
}

// TestContextEnds ends the context of an invocation under way, and invokes with one that has ended.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	f := function(t, FunctionConfig{Kill: func(int, Moment) bool {
		cancel()
		return false
	}})
	for range 2 {
		if _, err := f.Invoke(ctx, mustJSON(order{Do: "hang"})); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// TestClose closes a function while an invocation is under way.
func TestClose(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	f := function(t, FunctionConfig{Kill: func(int, Moment) bool {
		close(started)
		return false
	}})
	failed := make(chan error)
	go func() {
		_, err := invoke(f, order{Do: "hang"})
		failed <- err
	}()
	<-started
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestKill kills processes at each Moment. Of the second the work is done.
func TestKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "marks")
	f := function(t, FunctionConfig{
		Env:  []string{bootstrapVariable + "=run", "STACK_TEST_MARKS=" + path},
		Kill: func(n int, at Moment) bool { return n == 1 && at == AtEvent || n == 3 && at == AtAnswer },
	})
	for i := range 5 {
		_, err := invoke(f, order{Do: "work", S: fmt.Sprint(i)})
		var exit *ExitError
		if killed := errors.As(err, &exit); killed != (i == 1 || i == 3) || killed && (exit.Code != -1 || exit.State != "signal: killed") {
			t.Errorf("%d: %v", i, err)
		}
	}
	for i, r := range f.Invocations() {
		if r.Killed != (i == 1 || i == 3) || r.Cold != (i == 0 || i == 2 || i == 4) {
			t.Errorf("%+v", r)
		}
	}
	if done, _ := marks(t, path); strings.Join(done, " ") != "0 2 3 4" {
		t.Errorf("done: %v", done)
	}
}

// TestKillEnvironment kills the process of an environment from outside, while it is at work and while it is idle.
func TestKillEnvironment(t *testing.T) {
	t.Parallel()
	f := function(t, FunctionConfig{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { f.Kill(1) }))
	defer server.Close()
	if _, err := invoke(f, order{Do: "call", S: server.URL}); !errors.Is(err, ErrExited) {
		t.Error(err)
	}
	if _, err := invoke(f, order{Do: "echo"}); err != nil {
		t.Error(err)
	}
	f.Kill(1)
	f.Kill(2)
	if _, err := invoke(f, order{Do: "echo"}); err != nil {
		t.Error(err)
	}
	for i, r := range f.Invocations() {
		if r.Killed != (i == 0) || !r.Cold || r.Environment != i+1 {
			t.Errorf("%+v", r)
		}
	}
}
