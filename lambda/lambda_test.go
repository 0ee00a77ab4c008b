package lambda_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore/s3server"
	"github.com/quarry-hn/quarry/lambda/internal/account"
	"github.com/quarry-hn/quarry/lambda/internal/iam"
	"github.com/quarry-hn/quarry/lambda/internal/stack"
)

// testAccount is one whose function's log lines are kept.
type testAccount struct {
	*account.Account
	mutex sync.Mutex
	logs  []string
}

func newAccount(t testing.TB, o account.Options) *testAccount {
	t.Helper()
	a := &testAccount{}
	o.Dir, o.Programs, o.VisibleAfter = t.TempDir(), filepath.Join("..", "bin"), 4*time.Second
	o.Setenv = func(name, value string) { setenv(t, name, value) }
	o.Log = func(line string) {
		a.mutex.Lock()
		defer a.mutex.Unlock()
		a.logs = append(a.logs, line)
	}
	var err error
	if a.Account, err = account.New(t.Context(), o); errors.Is(err, fs.ErrNotExist) || errors.Is(err, s3server.ErrNoProgram) {
		t.Skipf("not all programs are built, run `make test-lambda`: %v", err)
	}
	must(t, err)
	t.Cleanup(a.Close)
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

// oneMachine is what mining on one machine gives.
func oneMachine(t testing.TB, folder *dataset.Dataset, p *host.Projection, o host.MineOptions) (negatives, manifest []byte) {
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
func openData(t testing.TB) (*dataset.Dataset, string) {
	t.Helper()
	data := os.Getenv("QUARRY_DATA")
	if data == "" {
		data = filepath.Join("..", "..", "shared", "data")
	}
	folder, err := beir.Open(filepath.Join(data, "cloud-docs"))
	name := "cloud-docs"
	if errors.Is(err, fs.ErrNotExist) {
		t.Logf("no real data in QUARRY_DATA=%s: the demo's documents are mined", data)
		name = "demo"
		folder, err = beir.OpenFS(demo.FS, name)
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
	a := newAccount(t, account.Options{
		Cache: true, Duplicates: 0.4, Concurrency: 2, Timeout: time.Minute,
		KillAfter: func(int) (time.Duration, bool) { return time.Duration(r.IntN(150)) * time.Millisecond, r.IntN(4) == 0 },
		Fault: func(request int) stack.Fault {
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

	at := a.Place("nightly run+1 é")
	must(t, (&stack.Notifier{Queue: a.Queue}).Configured(a.Stack.InputBucket))
	began := time.Now()
	o.Memory = 1 << 30
	m, err := job.Init(t.Context(), at, folder, p, job.InitOptions{Mine: o, Shards: 40})
	must(t, err)
	uploaded := time.Since(began)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := a.Drain(ctx); err != nil {
		t.Errorf("%v\n%s", err, strings.Join(a.logs[max(0, len(a.logs)-20):], "\n"))
	}
	checkResult(t, at, negatives, manifest)

	status, err := job.ReadStatus(t.Context(), at)
	must(t, err)
	if status.State != job.Finished || status.Mined != len(m.Shards) || status.Dollars <= 0 {
		t.Errorf("status is %+v", status)
	}
	denied := a.Caller.Denied()
	// A process that finds nothing asks once whether the bucket is there at all, which it may not know.
	delete(denied, iam.Request{Action: "s3:ListBucket", Resource: "arn:aws:s3:::" + a.Stack.ResultsBucket})
	if len(denied) > 0 {
		t.Errorf("the role did not allow %v", denied)
	}
	for _, g := range a.Caller.Unused() {
		if strings.HasPrefix(g.Action, "s3:") {
			t.Errorf("the role allows %v, which nothing needed", g)
		}
	}
	killed, cold, most, longest := 0, 0, int64(0), time.Duration(0)
	records := a.Function.Invocations()
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
		name, uploaded.Seconds(), time.Since(began).Seconds(), len(records), killed, cold, most>>20, longest.Seconds(), a.Queue.Counters(), status.Seconds, status.GBSeconds, status.Dollars)
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

// TestBuiltFunctionStopsInTime gives the function a shard that takes longer than its time-out: it stops before it is cut, puts nothing, and the message comes back.
func TestBuiltFunctionStopsInTime(t *testing.T) {
	folder, name := openData(t)
	if name == "demo" {
		t.Skip("the demo's documents are mined in no time")
	}
	const timeout = 7 * time.Second // the function keeps five for itself
	a := newAccount(t, account.Options{Cache: true, Concurrency: 1, Timeout: timeout, Env: []string{"GOMAXPROCS=1"}})
	p, err := host.Fit(t.Context(), folder, host.FitOptions{NoPCA: true})
	must(t, err)
	at := a.Place("large")
	_, err = job.Init(t.Context(), at, folder, p, job.InitOptions{Mine: host.MineOptions{Split: "all", RunOptions: host.RunOptions{Memory: 1 << 30}}, Shards: 1})
	must(t, err)
	said := func() int {
		a.mutex.Lock()
		defer a.mutex.Unlock()
		return strings.Count(strings.Join(a.logs, "\n"), job.ErrDeadline.Error())
	}
	for end := time.Now().Add(2 * time.Minute); said() < 2; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the shard was not given up twice in two minutes:\n%s", strings.Join(a.logs, "\n"))
		}
	}
	for o, err := range at.Out.List(t.Context(), "", "") {
		if err != nil || o.Key != job.ManifestKey {
			t.Errorf("%v is there, %v", o, err)
		}
	}
	for _, i := range a.Function.Invocations() {
		if i.Err != nil || i.Duration > timeout {
			t.Errorf("an invocation took %v and ended with %v", i.Duration, i.Err)
		}
	}
	if c := a.Queue.Counters(); c.Returned == 0 || c.Left == 0 {
		t.Errorf("the message did not come back: %+v", c)
	}
}

// TestColdStart compares the first invocation of a new process with the compiled plugin beside the program, and without.
func TestColdStart(t *testing.T) {
	for _, cache := range []bool{true, false} {
		a := newAccount(t, account.Options{Cache: cache, Concurrency: 1, Timeout: time.Minute})
		var inits []string
		for range 3 {
			if _, err := a.Function.Invoke(t.Context(), []byte(fmt.Sprintf(`{"quarry":"sweep","bucket":%q}`, a.Stack.InputBucket))); err != nil {
				t.Fatal(err)
			}
			records := a.Function.Invocations()
			last := records[len(records)-1]
			if !last.Cold {
				t.Fatal("the process was warm")
			}
			inits = append(inits, fmt.Sprintf("%d+%d ms", last.Init.Milliseconds(), last.Duration.Milliseconds()))
			must(t, a.Function.Recycle())
		}
		t.Logf("compiled plugin beside the program %v: start and first invocation %v", cache, inits)
	}
}
