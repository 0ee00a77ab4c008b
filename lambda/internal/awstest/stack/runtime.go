package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	// Env is added to the variables that Lambda sets, and wins over them: "NAME=value".
	Env []string
	// EnvOf is added to Env for the process of an environment. Default: none.
	EnvOf func(environment int) []string
	// Name of the function. Default: "quarry".
	Name string
	// MemoryMB is told to the function. It is not enforced. Default: 128.
	MemoryMB int
	// Timeout of one invocation, from when its event is handed over. The function is told the deadline. Default: 3
	// seconds.
	Timeout time.Duration
	// Grace is how long after its deadline an invocation is ended. Lambda gives none; a test that asks whether a function
	// stops by itself gives enough for a slow machine. Default: 0.
	Grace time.Duration
	// InitTimeout is from the start of a process to its first request for an event. Default: 10 seconds.
	InitTimeout time.Duration
	// Concurrency is the most environments at once. Invoke waits for a free one, where Lambda would throttle. Default: 1.
	Concurrency int
	// PerProcess is the most invocations at once in a process, as on Lambda Managed Instances: AWS_LAMBDA_MAX_CONCURRENCY
	// tells the process. An invocation goes to the process that has most others, so that they meet. One that exceeds its
	// time-out fails alone, and the process goes on with it and the others. Default: 1, and no such variable, as on Lambda
	// otherwise.
	PerProcess int
	// Log gets each line that a process writes to stdout or stderr. Calls do not overlap.
	Log func(environment int, line string)
	// Kill is asked at each Moment of each invocation whether to kill the process (SIGKILL) then. Invocations count from
	// 0. Calls do not overlap. Default: never.
	Kill func(invocation int, at Moment) bool
}

// Moment is an event of an invocation at which its process can be killed.
type Moment int

const (
	// AtEvent is when the process asks for the event. A process that is killed then has done nothing.
	AtEvent Moment = iota
	// AtAnswer is when the process sends its response, or its error. Of a process that is killed then the work is done and
	// the answer is lost.
	AtAnswer
)

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
		{"Grace", int64(c.Grace)}, {"InitTimeout", int64(c.InitTimeout)}, {"Concurrency", int64(c.Concurrency)},
		{"PerProcess", int64(c.PerProcess)},
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
	if c.PerProcess == 0 {
		c.PerProcess = 1
	}
	return nil
}

// Invocation is the record of one call of Invoke that reached an environment.
type Invocation struct {
	// Number counts from 0, in the order in which the invocations started.
	Number    int
	RequestID string
	// Environment counts from 1; each process is one.
	Environment int
	// Cold is true if this invocation started the process. Init is how long the process then took to ask for its first
	// event.
	Cold bool
	Init time.Duration
	// Duration is from when the event was handed over to when the process asked for the next one, or ended; where it may
	// have several at once, to its answer. It is without Init.
	Duration time.Duration
	// MaxRSS is the most memory that the process has had, in bytes, as Linux counts it (VmHWM); 0 on other systems. It is
	// read every 20 ms and when the process asks for the next event, so for a process that ended it is up to 20 ms old.
	MaxRSS int64
	// Killed is true if the configuration's Kill or Function.Kill ended the process before it answered.
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
	logMu  sync.Mutex // held for a call of Log
	killMu sync.Mutex // held for a call of Kill

	mu           sync.Mutex
	running      sync.WaitGroup
	closed       bool
	boxes        []*sandbox // the one that was left last comes last
	environments []*environment
	invocations  int
	records      []Invocation
}

// sandbox holds one environment after another. As in Lambda, its /tmp outlives a process that failed, and the next
// process finds there what the last one left. The function's mu guards its fields.
type sandbox struct {
	tmp     string
	env     *environment // nil before the first and after a failed process
	running int          // invocations
}

// warm is true if there is a process, or one is being started.
func (b *sandbox) warm() bool { return b.running > 0 || b.env != nil && !b.env.ended() }

// NewFunction checks the configuration. No process starts before the first Invoke.
func NewFunction(config FunctionConfig) (*Function, error) {
	if err := config.defaults(); err != nil {
		return nil, err
	}
	f := &Function{config: config, slots: make(chan struct{}, config.Concurrency*config.PerProcess)}
	f.ctx, f.close = context.WithCancel(context.Background())
	return f, nil
}

// Invoke gives an event to an environment and returns its response. A warm environment is preferred; where there is
// none, a process is started. If ctx ends first, the process is killed. The error is a *FunctionError, a *TimeoutError,
// an *ExitError, ErrTooLarge, ErrClosed, or that of ctx.
func (f *Function) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	if len(event) > MaxPayload {
		return nil, fmt.Errorf("stack: %s: %w: %d bytes of %d", f.config.Name, ErrTooLarge, len(event), MaxPayload)
	}
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-f.ctx.Done():
		return nil, ErrClosed
	}
	box, record, err := f.takeSandbox()
	if err != nil {
		<-f.slots
		return nil, err
	}
	response, over, err := f.run(ctx, box, event, &record)
	if err != nil && f.ctx.Err() != nil {
		err = ErrClosed
	}
	record.Err = err
	f.mu.Lock()
	f.records = append(f.records, record)
	f.mu.Unlock()
	if f.config.PerProcess == 1 {
		over() // it is
		f.leave(box)
	} else {
		go func() {
			over()
			f.leave(box)
		}()
	}
	return response, err
}

// takeSandbox takes a sandbox that has room for an invocation, or makes one, and begins the record of the invocation.
func (f *Function) takeSandbox() (box *sandbox, record Invocation, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, record, ErrClosed
	}
	for _, b := range f.boxes {
		if b.running == f.config.PerProcess || box != nil && box.warm() && (!b.warm() || b.running < box.running) {
			continue
		}
		box = b
	}
	if box == nil {
		tmp, err := os.MkdirTemp("", "stack-")
		if err != nil {
			return nil, record, fmt.Errorf("stack: the environment's /tmp: %w", err)
		}
		box = &sandbox{tmp: tmp}
		f.boxes = append(f.boxes, box)
	}
	box.running++
	record = Invocation{Number: f.invocations, RequestID: uuid()}
	f.invocations++
	f.running.Add(1)
	return box, record, nil
}

// leave is the end of an invocation in a sandbox.
func (f *Function) leave(box *sandbox) {
	f.mu.Lock()
	box.running--
	f.boxes = append(slices.DeleteFunc(f.boxes, func(b *sandbox) bool { return b == box }), box)
	f.mu.Unlock()
	<-f.slots
	f.running.Done()
}

// run has the sandbox's process handle an event. It starts a process where there is none. The process has done with the
// invocation when over returns.
func (f *Function) run(ctx context.Context, box *sandbox, event []byte, record *Invocation) (response []byte, over func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)()
	env, started, err := f.process(box)
	if err != nil {
		return nil, func() {}, err
	}
	record.Environment, record.Cold = env.number, started
	if err := env.waitReady(ctx, record.RequestID, f.config.InitTimeout); err != nil {
		env.stop()
		return nil, func() {}, err
	}
	if started {
		record.Init = env.initTime
	}
	c := newCall(event, f.config.Timeout, record)
	response, err = env.invoke(ctx, c, &f.config, record)
	return response, func() { env.over(c) }, err
}

// process returns the process of a sandbox. It starts one where there is none.
func (f *Function) process(box *sandbox) (env *environment, started bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, false, ErrClosed
	}
	if box.env != nil && !box.env.ended() {
		return box.env, false, nil
	}
	env, err = startEnvironment(&f.config, len(f.environments)+1, box.tmp, f.log, f.kills)
	if err != nil {
		return nil, false, err
	}
	f.environments = append(f.environments, env)
	box.env = env
	return env, true, nil
}

// kills asks the configuration whether an invocation's process is killed at a moment.
func (f *Function) kills(invocation int, at Moment) bool {
	if f.config.Kill == nil {
		return false
	}
	f.killMu.Lock()
	defer f.killMu.Unlock()
	return f.config.Kill(invocation, at)
}

// Kill kills the process of an environment (SIGKILL), if it still runs, and waits for its end. The invocations under
// way that have not been answered fail with an *ExitError.
func (f *Function) Kill(environment int) {
	f.mu.Lock()
	env := f.environments[environment-1]
	f.mu.Unlock()
	env.kill()
}

func (f *Function) log(environment int, line string) {
	if f.config.Log != nil {
		f.logMu.Lock()
		defer f.logMu.Unlock()
		f.config.Log(environment, line)
	}
}

// Invocations returns the records of the invocations that have ended, in the order in which they ended.
func (f *Function) Invocations() []Invocation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Invocation(nil), f.records...)
}

// Recycle ends the idle environments and empties their /tmp, as Lambda may do at any time. The next invocations start
// cold.
func (f *Function) Recycle() error {
	f.mu.Lock()
	var idle, busy []*sandbox
	for _, box := range f.boxes {
		if box.running == 0 {
			idle = append(idle, box)
		} else {
			busy = append(busy, box)
		}
	}
	f.boxes = busy
	f.mu.Unlock()
	var problems []error
	for _, box := range idle {
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
	environments := slices.Clone(f.environments) // no process starts any more
	f.mu.Unlock()
	f.close()
	for _, env := range environments {
		env.stop()
	}
	f.running.Wait()
	return f.Recycle()
}
