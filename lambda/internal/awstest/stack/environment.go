package stack

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// environment is one process of the bootstrap with a Runtime API endpoint of its own.
type environment struct {
	number   int // counts from 1
	arn      string
	kills    func(invocation int, at Moment) bool
	cmd      *exec.Cmd
	server   *http.Server
	started  time.Time
	work     chan *call
	ready    chan struct{} // closed by the first request for an event
	initTime time.Duration // valid once ready is closed
	exited   chan struct{} // closed when the process has ended and its output is read
	limit    int           // most invocations at once
	initErr  *FunctionError

	mu     sync.Mutex
	open   int     // requests for an event that wait for one
	calls  []*call // handed over and not completed, the first that was handed over first
	killed bool
}

// call is one invocation in an environment.
type call struct {
	number    int
	id        string
	event     []byte
	deadline  time.Time
	replied   chan struct{} // closed by the answer
	completed chan struct{} // closed by the request for an event after the answer

	// The environment's mu guards these.
	answered bool
	response []byte
	err      error
}

// startEnvironment starts the process. stop ends it. log gets the lines that it writes, and kills is asked at each
// Moment.
func startEnvironment(
	config *FunctionConfig, number int, tmp string, log func(int, string), kills func(int, Moment) bool,
) (*environment, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("stack: runtime API: %w", err)
	}
	e := &environment{
		number: number,
		arn:    "arn:aws:lambda:" + Region + ":" + account + ":function:" + config.Name,
		kills:  kills,
		work:   make(chan *call),
		ready:  make(chan struct{}),
		exited: make(chan struct{}),
		limit:  config.PerProcess,
	}
	e.server = &http.Server{Handler: e.api(), ReadHeaderTimeout: time.Minute}
	out := &lines{log: func(line string) { log(number, line) }}
	e.cmd = exec.Command(config.Path, config.Args...)
	e.cmd.Dir = filepath.Dir(config.Path)
	e.cmd.Env = environ(config, listener.Addr().String(), tmp)
	if config.EnvOf != nil {
		e.cmd.Env = append(e.cmd.Env, config.EnvOf(number)...)
	}
	e.cmd.Stdout, e.cmd.Stderr = out, out
	e.cmd.WaitDelay = time.Second // children of the process may hold its stdout
	e.started = time.Now()
	if err := e.cmd.Start(); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("stack: start the bootstrap: %w", err)
	}
	go func() { _ = e.server.Serve(listener) }() // the process waits until it is accepted
	go func() {
		_ = e.cmd.Wait() // ProcessState says how it ended
		out.flush()
		_ = e.server.Close()
		close(e.exited)
	}()
	return e, nil
}

// environ returns the variables of the process: those that Lambda sets for provided.al2023, then those of the
// configuration. TMPDIR stands for the private /tmp of an environment. The credentials are not real.
func environ(config *FunctionConfig, api, tmp string) []string {
	root := filepath.Dir(config.Path)
	day := time.Now().UTC().Format("2006/01/02")
	env := []string{
		"AWS_LAMBDA_RUNTIME_API=" + api,
		"AWS_LAMBDA_FUNCTION_NAME=" + config.Name,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + strconv.Itoa(config.MemoryMB),
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/" + config.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME=" + day + "/[$LATEST]" + randomHex(16),
		"AWS_REGION=" + Region,
		"AWS_DEFAULT_REGION=" + Region,
		"AWS_ACCESS_KEY_ID=test",
		"AWS_SECRET_ACCESS_KEY=test",
		"AWS_SESSION_TOKEN=test",
		"LAMBDA_TASK_ROOT=" + root,
		"LAMBDA_RUNTIME_DIR=/var/runtime",
		"_HANDLER=bootstrap",
		"LANG=en_US.UTF-8",
		"TZ=:UTC",
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"TMPDIR=" + tmp,
	}
	if config.PerProcess > 1 {
		env = append(env, "AWS_LAMBDA_MAX_CONCURRENCY="+strconv.Itoa(config.PerProcess))
	}
	return append(env, config.Env...) // where a name has two values, exec takes the later one
}

func (e *environment) ended() bool {
	select {
	case <-e.exited:
		return true
	default:
		return false
	}
}

// stop kills the process and waits for its end.
func (e *environment) stop() {
	_ = e.cmd.Process.Kill() // an error says that it has ended
	<-e.exited
}

// kill is stop, and the invocations that are not answered yet count as killed.
func (e *environment) kill() {
	e.mu.Lock()
	e.killed = true
	e.mu.Unlock()
	e.stop()
}

func (e *environment) exitError(id string, init bool) *ExitError {
	return &ExitError{RequestID: id, Code: e.cmd.ProcessState.ExitCode(), State: e.cmd.ProcessState.String(), Init: init}
}

// waitReady waits for the first request for an event.
func (e *environment) waitReady(ctx context.Context, id string, timeout time.Duration) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-e.ready:
		return nil
	case <-e.exited:
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.initErr != nil {
			return e.initErr
		}
		return e.exitError(id, true)
	case <-timer.C:
		return &TimeoutError{RequestID: id, After: timeout, Init: true}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newCall returns the invocation that a record is of. Its time begins.
func newCall(event []byte, timeout time.Duration, record *Invocation) *call {
	return &call{
		number: record.Number, id: record.RequestID, event: event, deadline: time.Now().Add(timeout),
		replied: make(chan struct{}), completed: make(chan struct{}),
	}
}

// invoke hands over an event and waits until the process asks for the next one, ends, or is ended. An answer that came
// before the end counts. A process that may have several invocations at once is not ended for one that exceeds its
// time-out, and its answer is not kept back until it asks for another event; over waits until it has done so.
func (e *environment) invoke(ctx context.Context, c *call, config *FunctionConfig, record *Invocation) ([]byte, error) {
	start := time.Now()
	defer func() { record.Duration = time.Since(start) }()
	cut := time.NewTimer(config.Timeout + config.Grace)
	defer cut.Stop()

	work := e.work // nil once the event was handed over
	done := c.completed
	if e.limit > 1 {
		done = c.replied
	}
	sample := time.NewTicker(20 * time.Millisecond)
	defer sample.Stop()
	var failure error
	for {
		select {
		case work <- c:
			work = nil
			continue
		case <-sample.C:
			e.sampleRSS(record)
			continue
		case <-done:
			e.sampleRSS(record)
		case <-e.exited:
			failure = e.exitError(c.id, false)
		case <-cut.C:
			e.sampleRSS(record)
			if e.limit == 1 {
				e.stop()
			}
			failure = &TimeoutError{RequestID: c.id, After: config.Timeout}
		case <-ctx.Done():
			e.stop()
			failure = ctx.Err()
		}
		if work != nil {
			close(c.completed) // the process never had it
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if c.answered {
			return c.response, c.err
		}
		record.Killed = e.killed
		return nil, failure
	}
}

// over waits until the process has done with an invocation: it has asked for another event, or has ended.
func (e *environment) over(c *call) {
	select {
	case <-c.completed:
	case <-e.exited:
	}
}

// sampleRSS reads VmHWM. The maximum in rusage would be wrong: on Linux it begins with that of the process that called
// fork.
func (e *environment) sampleRSS(record *Invocation) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.cmd.Process.Pid))
	if err != nil {
		return
	}
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) == 3 && string(fields[0]) == "VmHWM:" && string(fields[2]) == "kB" {
			if kb, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
				record.MaxRSS = kb << 10
			}
		}
	}
}

// lines cuts what a process writes into lines. Write is called by one goroutine of os/exec; flush after it has ended.
type lines struct {
	log func(line string)
	buf []byte
}

// maxLine is where a line without end is cut, as CloudWatch cuts an event: 256 KiB.
const maxLine = 256 << 10

func (l *lines) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p...)
	for {
		line, rest, ended := bytes.Cut(l.buf, []byte("\n"))
		if !ended && len(line) < maxLine {
			return len(p), nil
		}
		l.log(string(bytes.TrimSuffix(line, []byte("\r"))))
		l.buf = append(l.buf[:0], rest...)
	}
}

func (l *lines) flush() {
	if len(l.buf) > 0 {
		l.log(string(l.buf))
		l.buf = nil
	}
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// uuid returns a random UUID (version 4).
func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
