package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// MaxPayload is the most bytes of an event, and of a response, in a synchronous invocation: 6 MiB.
const MaxPayload = 6 << 20

// FunctionConfig says what a Function runs and how.
type FunctionConfig struct {
	// Path is the bootstrap. It is started with Args and without the environment of this process.
	Path string
	Args []string
	// Env is added to what Lambda sets, and wins over it: "NAME=value".
	Env []string
	// Name is the function's. Default: "quarry".
	Name string
	// MemoryMB is told to the function. It is not enforced. Default: 128.
	MemoryMB int
	// Timeout of one invocation, from when its event is handed over. Default: 3 seconds.
	Timeout time.Duration
	// InitTimeout is from the start of a process to its first request for an event. Default: 10 seconds.
	InitTimeout time.Duration
	// Concurrency is the most environments at once; Invoke waits for one. Lambda would throttle. Default: 1.
	Concurrency int
	// Log gets each line a process writes to stdout or stderr. Calls do not overlap.
	Log func(environment int, line string)
	// KillAfter says when to kill (SIGKILL) the process of an invocation, measured from when it got its event. Invocations count
	// from 0. An invocation that is over by then is not touched. Calls do not overlap.
	KillAfter func(invocation int) (after time.Duration, kill bool)
}

func (c *FunctionConfig) defaults() error {
	var problems []error
	if c.Path == "" {
		problems = append(problems, errors.New("no Path: give the bootstrap's"))
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"MemoryMB", int64(c.MemoryMB)}, {"Timeout", int64(c.Timeout)},
		{"InitTimeout", int64(c.InitTimeout)}, {"Concurrency", int64(c.Concurrency)},
	} {
		if n.value < 0 {
			problems = append(problems, fmt.Errorf("%s is negative: %d", n.name, n.value))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("stack: function: %w", err)
	}
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return fmt.Errorf("stack: function: %w", err)
	}
	c.Path = path
	if c.Name == "" {
		c.Name = "quarry"
	}
	if c.MemoryMB == 0 {
		c.MemoryMB = 128
	}
	if c.Timeout == 0 {
		c.Timeout = 3 * time.Second
	}
	if c.InitTimeout == 0 {
		c.InitTimeout = 10 * time.Second
	}
	if c.Concurrency == 0 {
		c.Concurrency = 1
	}
	return nil
}

// Invocation is the record of one call of Invoke that reached an environment.
type Invocation struct {
	// Number counts from 0, in the order of starting.
	Number    int
	RequestID string
	// Environment counts from 1; each process is one.
	Environment int
	// Cold is true if this invocation started the process, and Init how long that took to ask for its first event.
	Cold bool
	Init time.Duration
	// Duration is from when the process got its event to when it asked for the next one, or ended. Init is not in it.
	Duration time.Duration
	// MaxRSS is the most memory the process has had, in bytes, as Linux tells (VmHWM); 0 elsewhere. It is read every 20 ms, so of
	// a process that ended it may be of a little earlier.
	MaxRSS int64
	// Killed is true if KillAfter ended it.
	Killed bool
	// Err is what Invoke returned.
	Err error
}

// Function is the Lambda service for one function. Its methods may be called concurrently.
type Function struct {
	config FunctionConfig
	slots  chan struct{}
	ctx    context.Context // ends with Close
	close  context.CancelFunc
	logMu  sync.Mutex

	mu           sync.Mutex
	running      sync.WaitGroup
	closed       bool
	idle         []*sandbox // the last was used last
	environments int
	invocations  int
	records      []Invocation
}

// sandbox is the place of one environment at a time. As in Lambda, /tmp outlives a process that failed, so the next one finds what
// it left.
type sandbox struct {
	tmp string
	env *environment // nil before the first and after a failed process
}

// NewFunction checks the configuration. No process starts before the first Invoke.
func NewFunction(config FunctionConfig) (*Function, error) {
	if err := config.defaults(); err != nil {
		return nil, err
	}
	f := &Function{config: config, slots: make(chan struct{}, config.Concurrency)}
	f.ctx, f.close = context.WithCancel(context.Background())
	return f, nil
}

// Invoke gives an event to an environment and returns its response. A warm environment is preferred, else a process is started. If
// ctx ends first, the process is killed. Errors: *FunctionError, *TimeoutError, *ExitError, ErrTooLarge, ErrClosed, ctx's.
func (f *Function) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	if len(event) > MaxPayload {
		return nil, fmt.Errorf("stack: %s: %w: %d bytes of %d", f.config.Name, ErrTooLarge, len(event), MaxPayload)
	}
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-f.ctx.Done():
		return nil, ErrClosed
	}
	box, record, killAfter, err := f.begin()
	if err != nil {
		return nil, err
	}
	defer f.running.Done()
	response, err := f.run(ctx, box, event, &record, killAfter)
	if err != nil && f.ctx.Err() != nil {
		err = ErrClosed
	}
	record.Err = err
	f.mu.Lock()
	f.idle = append(f.idle, box)
	f.records = append(f.records, record)
	f.mu.Unlock()
	return response, err
}

// begin takes a sandbox and numbers the invocation. killAfter is negative if it is not to be killed.
func (f *Function) begin() (box *sandbox, record Invocation, killAfter time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, record, 0, ErrClosed
	}
	at := len(f.idle) - 1
	for i, candidate := range f.idle {
		if candidate.env != nil && !candidate.env.ended() {
			at = i
		}
	}
	if at >= 0 {
		box = f.idle[at]
		f.idle = append(f.idle[:at], f.idle[at+1:]...)
	} else {
		tmp, err := os.MkdirTemp("", "stack-")
		if err != nil {
			return nil, record, 0, fmt.Errorf("stack: the environment's /tmp: %w", err)
		}
		box = &sandbox{tmp: tmp}
	}
	record = Invocation{Number: f.invocations, RequestID: uuid()}
	f.invocations++
	killAfter = -1
	if f.config.KillAfter != nil {
		if after, kill := f.config.KillAfter(record.Number); kill {
			killAfter = max(0, after)
		}
	}
	f.running.Add(1)
	return box, record, killAfter, nil
}

func (f *Function) run(ctx context.Context, box *sandbox, event []byte, record *Invocation, killAfter time.Duration) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)()
	if box.env != nil && box.env.ended() {
		box.env = nil
	}
	if box.env == nil {
		f.mu.Lock()
		f.environments++
		number := f.environments
		f.mu.Unlock()
		env, err := startEnvironment(&f.config, number, box.tmp, f.log)
		if err != nil {
			return nil, err
		}
		record.Cold = true
		record.Environment = number
		if err := env.waitReady(ctx, record.RequestID, f.config.InitTimeout); err != nil {
			env.stop()
			return nil, err
		}
		record.Init = env.initTime
		box.env = env
	}
	env := box.env
	record.Environment = env.number
	response, err := env.invoke(ctx, event, f.config.Timeout, record, killAfter)
	if env.ended() {
		box.env = nil
	}
	return response, err
}

func (f *Function) log(environment int, line string) {
	if f.config.Log != nil {
		f.logMu.Lock()
		defer f.logMu.Unlock()
		f.config.Log(environment, line)
	}
}

// Invocations returns the records so far, in the order of ending.
func (f *Function) Invocations() []Invocation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Invocation(nil), f.records...)
}

// Recycle ends the idle environments and empties their /tmp, as Lambda does when it pleases. The next invocations start cold.
func (f *Function) Recycle() error {
	f.mu.Lock()
	boxes := f.idle
	f.idle = nil
	f.mu.Unlock()
	var problems []error
	for _, box := range boxes {
		if box.env != nil {
			box.env.stop()
		}
		problems = append(problems, os.RemoveAll(box.tmp))
	}
	return errors.Join(problems...)
}

// Close kills all processes, so that invocations under way fail with ErrClosed, and waits for their end.
func (f *Function) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.close()
	f.running.Wait()
	return f.Recycle()
}
