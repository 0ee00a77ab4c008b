package lambda_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/s3server"
	"github.com/quarry-hn/quarry/lambda/internal/iam"
	"github.com/quarry-hn/quarry/lambda/internal/stack"
	"github.com/quarry-hn/quarry/testdata/demo"
)

// program returns the path of what make builds, or skips.
func program(t testing.TB, path string) string {
	t.Helper()
	path = filepath.Join("..", "bin", path)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not built: run `make test-lambda`", path)
	}
	return path
}

// account is a bucket for jobs and one for results on a server, a queue, and the function that the template's role lets to them.
type account struct {
	stack    *iam.Stack
	caller   *iam.Caller
	in, out  objstore.Store
	queue    *stack.Queue
	dead     *stack.Queue
	function *stack.Function
	poller   *stack.Poller
	mutex    sync.Mutex
	logs     []string
}

type options struct {
	cache       bool
	duplicates  float64
	concurrency int
	timeout     time.Duration
	killAfter   func(invocation int) (time.Duration, bool)
	fault       func(request int) stack.Fault
}

func newAccount(t testing.TB, o options) *account {
	t.Helper()
	bootstrap := program(t, "local/bootstrap")
	a := &account{}
	var err error
	if a.stack, err = iam.LoadStack(program(t, "template.json")); err != nil {
		t.Fatal(err)
	}
	server, err := s3server.Start(t.Context(), t.TempDir())
	if errors.Is(err, s3server.ErrNoProgram) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(server.Stop)
	server.Setenv(func(name, value string) { setenv(t, name, value) })
	for _, bucket := range []string{a.stack.InputBucket, a.stack.ResultsBucket} {
		must(t, server.CreateBucket(t.Context(), bucket))
	}
	a.in, err = objstore.Open(t.Context(), "s3://"+a.stack.InputBucket)
	must(t, err)
	a.out, err = objstore.Open(t.Context(), "s3://"+a.stack.ResultsBucket)
	must(t, err)

	target, err := url.Parse(server.Endpoint)
	must(t, err)
	a.caller = iam.NewCaller(a.stack.Role)
	gate := httptest.NewServer(iam.S3Gate(a.caller, target))
	t.Cleanup(gate.Close)

	a.dead, err = stack.NewQueue(stack.QueueConfig{Name: "dead"})
	must(t, err)
	a.queue, err = stack.NewQueue(stack.QueueConfig{Name: "quarry", Visibility: 4 * time.Second, MaxReceives: 40, DeadLetters: a.dead, Seed: 7, Duplicates: o.duplicates, ShortBatches: true})
	must(t, err)
	endpoint, err := stack.ServeSQS(o.fault, a.queue)
	must(t, err)
	t.Cleanup(func() { _ = endpoint.Close() })

	root := filepath.Dir(bootstrap)
	if !o.cache {
		root = t.TempDir()
	}
	root, err = filepath.Abs(root)
	must(t, err)
	env := append(server.Environment(), "AWS_SESSION_TOKEN=", "AWS_ENDPOINT_URL_S3="+gate.URL, "AWS_ENDPOINT_URL_SQS="+endpoint.URL(), "LAMBDA_TASK_ROOT="+root,
		"QUARRY_RESULTS=s3://"+a.stack.ResultsBucket, "QUARRY_QUEUE_URL="+endpoint.QueueURL(a.queue), "QUARRY_MAX_SHARD_MIB=512")
	a.function, err = stack.NewFunction(stack.FunctionConfig{
		Path: bootstrap, Env: env, MemoryMB: 1769, Timeout: o.timeout, Concurrency: o.concurrency, KillAfter: o.killAfter,
		Log: func(_ int, line string) {
			a.mutex.Lock()
			defer a.mutex.Unlock()
			a.logs = append(a.logs, line)
		},
	})
	must(t, err)
	t.Cleanup(func() { _ = a.function.Close() })
	a.poller, err = stack.StartPoller(stack.PollerConfig{Queue: a.queue, Invoke: a.function.Invoke, BatchSize: 3, Concurrency: o.concurrency})
	must(t, err)
	t.Cleanup(a.poller.Stop)
	return a
}

func setenv(t testing.TB, name, value string) {
	if value == "" {
		old, had := os.LookupEnv(name)
		must(t, os.Unsetenv(name))
		if had {
			t.Cleanup(func() { _ = os.Setenv(name, old) })
		}
		return
	}
	t.Setenv(name, value)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// notifying is a bucket that tells a queue of uploads, as S3 does.
type notifying struct {
	objstore.Store
	bucket   string
	notifier *stack.Notifier
}

func (n *notifying) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	return n.told(key, n.Store.Put(ctx, key, body))
}

func (n *notifying) PutNew(ctx context.Context, key string, body io.ReadSeeker) error {
	return n.told(key, n.Store.PutNew(ctx, key, body))
}

func (n *notifying) told(key string, err error) error {
	if err == nil {
		_, err = n.notifier.Uploaded(n.bucket, key, 1, "0")
	}
	return err
}

// place is a job whose uploads are notified of.
func (a *account) place(name string) *job.Place {
	in := &notifying{a.in, a.stack.InputBucket, &stack.Notifier{Queue: a.queue, Prefix: job.Folder}}
	return job.Within(in, a.out, name)
}

func (a *account) drain(t *testing.T, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := a.poller.Drain(ctx); err != nil {
		t.Fatalf("the queue is not empty: %v; %+v", err, a.queue.Counters())
	}
	if err := a.queue.Check(); err != nil {
		t.Error(err)
	}
	if dead := a.queue.Counters().Dead; dead > 0 {
		t.Errorf("%d messages were given up", dead)
	}
}

// oneMachine is what mining on one machine gives.
func oneMachine(t testing.TB, folder *dataset.Folder, p *host.Projection, o host.MineOptions) (negatives, manifest []byte) {
	t.Helper()
	r, err := host.Mine(t.Context(), folder, p, o)
	must(t, err)
	var n, m bytes.Buffer
	must(t, errors.Join(r.WriteNegatives(&n), r.Manifest.Write(&m)))
	return n.Bytes(), m.Bytes()
}

func checkResult(t testing.TB, at *job.Place, negatives, manifest []byte) {
	t.Helper()
	var n, m bytes.Buffer
	result, err := job.Fetch(t.Context(), at, &n)
	must(t, err)
	must(t, result.Write(&m))
	if !bytes.Equal(n.Bytes(), negatives) || !bytes.Equal(m.Bytes(), manifest) {
		t.Errorf("the result differs from that of one machine: %d and %d bytes of negatives\n%s\n%s", n.Len(), len(negatives), m.Bytes(), manifest)
	}
}

// openData opens real documents, or the demo's where there are none.
func openData(t testing.TB) (*dataset.Folder, string) {
	t.Helper()
	data := os.Getenv("QUARRY_DATA")
	if data == "" {
		data = filepath.Join("..", "..", "shared", "data")
	}
	folder, err := dataset.Open(filepath.Join(data, "cloud-docs"))
	name := "cloud-docs"
	if errors.Is(err, fs.ErrNotExist) {
		t.Logf("no real data in QUARRY_DATA=%s: the demo's documents are mined", data)
		name = "demo"
		folder, err = dataset.OpenFS(demo.FS, name)
	}
	must(t, err)
	t.Cleanup(func() { _ = folder.Close() })
	return folder, name
}

// TestJob runs a job of 40 shards through an S3 server, a queue that delivers twice and in any order, and the built function, whose processes are
// killed at seeded moments, and which may do what the template's role allows, and no more.
func TestJob(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the job takes a minute")
	}
	r := rand.New(rand.NewPCG(40, 1))
	a := newAccount(t, options{
		cache: true, duplicates: 0.4, concurrency: 2, timeout: time.Minute,
		killAfter: func(int) (time.Duration, bool) { return time.Duration(r.IntN(150)) * time.Millisecond, r.IntN(4) == 0 },
		fault: func(request int) stack.Fault {
			return []stack.Fault{stack.NoFault, stack.FaultLost, stack.FaultRefused}[request%3]
		},
	})
	folder, name := openData(t)
	p, err := host.Fit(t.Context(), folder, host.FitOptions{FitOn: "sample:4000"})
	if name == "demo" {
		p, err = host.Fit(t.Context(), folder, host.FitOptions{})
	}
	must(t, err)
	var o host.MineOptions
	negatives, manifest := oneMachine(t, folder, p, o)

	at := a.place("nightly run+1 é")
	must(t, (&stack.Notifier{Queue: a.queue}).Configured(a.stack.InputBucket))
	began := time.Now()
	o.Memory = 1 << 30
	m, err := job.Init(t.Context(), at, folder, p, job.InitOptions{Mine: o, Shards: 40})
	must(t, err)
	uploaded := time.Since(began)
	a.drain(t, 5*time.Minute)
	if t.Failed() {
		t.Log(strings.Join(a.logs[max(0, len(a.logs)-20):], "\n"))
	}
	checkResult(t, at, negatives, manifest)

	status, err := job.ReadStatus(t.Context(), at)
	must(t, err)
	if status.State != job.Finished || status.Mined != len(m.Shards) || status.Dollars <= 0 {
		t.Errorf("status is %+v", status)
	}
	denied := a.caller.Denied()
	// A process that finds nothing asks once whether the bucket is there at all, which it may not know.
	delete(denied, iam.Request{Action: "s3:ListBucket", Resource: "arn:aws:s3:::" + a.stack.ResultsBucket})
	if len(denied) > 0 {
		t.Errorf("the role did not allow %v", denied)
	}
	for _, g := range a.caller.Unused() {
		if strings.HasPrefix(g.Action, "s3:") {
			t.Errorf("the role allows %v, which nothing needed", g)
		}
	}
	killed, cold, most, longest := 0, 0, int64(0), time.Duration(0)
	records := a.function.Invocations()
	for _, i := range records {
		if i.Killed {
			killed++
		}
		if i.Cold {
			cold++
		}
		most, longest = max(most, i.MaxRSS), max(longest, i.Duration)
	}
	if killed < 5 {
		t.Errorf("%d processes were killed; expected 5 at least", killed)
	}
	t.Logf("%s, 40 shards: uploaded in %.1f s, done after %.1f s; %d invocations, %d killed, %d cold; at most %d MiB and %.1f s; queue %+v; mining %.1f s, %.1f GB-s, $%.5f",
		name, uploaded.Seconds(), time.Since(began).Seconds(), len(records), killed, cold, most>>20, longest.Seconds(), a.queue.Counters(), status.Seconds, status.GBSeconds, status.Dollars)
	checkLogs(t, a.logs)
}

// checkLogs looks for what each mined shard's line must say.
func checkLogs(t *testing.T, lines []string) {
	t.Helper()
	mined := 0
	for _, line := range lines {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("not JSON: %s", line)
			continue
		}
		if l["msg"] != string(job.Mined) {
			continue
		}
		mined++
		for _, key := range []string{"job", "shard", "request_id", "pairs", "negatives", "documents", "bytes", "milliseconds", "cold_start", "parts", "of"} {
			if _, ok := l[key]; !ok {
				t.Errorf("%s is not in %s", key, line)
			}
		}
	}
	if mined == 0 {
		t.Error("no line says that a shard was mined")
	}
}

// TestColdStart compares the first invocation of a new process with the compiled plugin beside the program, and without.
func TestColdStart(t *testing.T) {
	for _, cache := range []bool{true, false} {
		a := newAccount(t, options{cache: cache, concurrency: 1, timeout: time.Minute})
		var inits []string
		for range 3 {
			if _, err := a.function.Invoke(t.Context(), []byte(fmt.Sprintf(`{"quarry":"sweep","bucket":%q}`, a.stack.InputBucket))); err != nil {
				t.Fatal(err)
			}
			records := a.function.Invocations()
			last := records[len(records)-1]
			if !last.Cold {
				t.Fatal("the process was warm")
			}
			inits = append(inits, fmt.Sprintf("%d+%d ms", last.Init.Milliseconds(), last.Duration.Milliseconds()))
			must(t, a.function.Recycle())
		}
		t.Logf("compiled plugin beside the program %v: start and first invocation %v", cache, inits)
	}
}
