package stack

import (
	"context"
	"encoding/json"
	"errors"
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
	f := function(t, FunctionConfig{
		Name: "miner", MemoryMB: 1769, Env: []string{bootstrapVariable + "=run", "STACK_TEST_OWN=own", "AWS_REGION=eu-west-3"},
	})
	var pids [3]float64
	for i := range pids {
		response, err := invoke(f, order{Do: "about"})
		if err != nil {
			t.Fatal(err)
		}
		var about map[string]any
		if err := json.Unmarshal(response, &about); err != nil {
			t.Fatal(err)
		}
		pids[i], _ = about["pid"].(float64)
		left, _ := about["left"].(float64)
		if left < 10_000 || left > 20_000 {
			t.Errorf("%v ms left", left)
		}
		if trace, _ := about["trace"].(string); !strings.HasPrefix(trace, "Root=1-") {
			t.Errorf("trace id %q", trace)
		}
		records := f.Invocations()
		for name, want := range map[string]any{
			"id": records[len(records)-1].RequestID, "arn": "arn:aws:lambda:us-east-1:123456789012:function:miner",
			"name": "miner", "memory": 1769.0, "version": "$LATEST", "region": "eu-west-3", "own": "own", "home": "",
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
	if runtime.GOOS != "linux" {
		t.Skip("no /proc")
	}
	f := function(t, FunctionConfig{})
	for _, o := range []order{{Do: "echo"}, {Do: "allocate", N: 200 << 20}} {
		if _, err := invoke(f, o); err != nil {
			t.Fatal(err)
		}
	}
	r := f.Invocations()
	if grown := r[1].MaxRSS - r[0].MaxRSS; grown < 190<<20 || grown > 2000<<20 { // the race detector has its own share
		t.Errorf("200 MiB more are seen as %d bytes", grown)
	}
}

func TestTimeout(t *testing.T) {
	f := function(t, FunctionConfig{Timeout: 300 * time.Millisecond})
	start := time.Now()
	_, err := invoke(f, order{Do: "sleep", N: 60_000})
	var timeout *TimeoutError
	if !errors.Is(err, ErrTimeout) || !errors.As(err, &timeout) || timeout.Init {
		t.Fatal(err)
	}
	if !strings.HasSuffix(err.Error(), "Task timed out after 0.30 seconds") {
		t.Error(err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := invoke(f, order{Do: "echo"}); err != nil {
		t.Fatal(err)
	}
	r := f.Invocations()
	if r[0].Err != err || r[0].Duration < 300*time.Millisecond || r[0].Killed || !r[1].Cold || r[1].Environment != 2 {
		t.Errorf("%+v", r)
	}
}

func TestExits(t *testing.T) {
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
	f := function(t, FunctionConfig{})
	o := order{Do: "echo"}
	o.S = strings.Repeat("x", MaxPayload-len(mustJSON(o)))
	response, err := invoke(f, o)
	if err != nil || string(response) != string(mustJSON(o)) {
		t.Errorf("%v, %d bytes back of %d", err, len(response), MaxPayload)
	}
}

func TestLog(t *testing.T) {
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

func TestConcurrency(t *testing.T) {
	f := function(t, FunctionConfig{Concurrency: 3})
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if _, err := invoke(f, order{Do: "sleep", N: 30}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
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

func TestContextEnds(t *testing.T) {
	f := function(t, FunctionConfig{})
	if _, err := invoke(f, order{Do: "echo"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	for range 2 { // under way, and before
		if _, err := f.Invoke(ctx, mustJSON(order{Do: "sleep", N: 60_000})); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
}

func TestClose(t *testing.T) {
	f := function(t, FunctionConfig{})
	if _, err := invoke(f, order{Do: "echo"}); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := invoke(f, order{Do: "sleep", N: 60_000})
		failed <- err
	}()
	time.Sleep(50 * time.Millisecond)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestKillAfter(t *testing.T) {
	f := function(t, FunctionConfig{KillAfter: func(n int) (time.Duration, bool) { return 50 * time.Millisecond, n == 1 || n == 3 }})
	for i, sleep := range []int{0, 60_000, 0, 0} {
		_, err := invoke(f, order{Do: "sleep", N: sleep})
		var exit *ExitError
		if killed := errors.As(err, &exit); killed != (i == 1) || killed && (exit.Code != -1 || exit.State != "signal: killed") {
			t.Errorf("%d: %v", i, err)
		}
	}
	for i, r := range f.Invocations() {
		if r.Killed != (i == 1) || r.Cold != (i == 0 || i == 2) {
			t.Errorf("%+v", r)
		}
	}
}
