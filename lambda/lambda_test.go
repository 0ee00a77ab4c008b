package lambda_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore/s3server"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/account"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/iam"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/stack"
)

// patience is how long tests wait for what must come. It is far more than any machine needs, so a wait that ends with
// it is a hang.
const patience = 10 * time.Minute

// testAccount is an account whose function's log lines are kept.
type testAccount struct {
	*account.Account
	mutex sync.Mutex
	logs  []string
}

func newAccount(t testing.TB, o account.Options) *testAccount {
	t.Helper()
	a := &testAccount{}
	o.Dir, o.Programs = t.TempDir(), filepath.Join("..", "bin")
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

// lines returns what the function has logged so far. After Close that is all.
func (a *testAccount) lines() []string {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return slices.Clone(a.logs)
}

// drain waits until the queue is empty. On failure it shows the last lines of the log.
func (a *testAccount) drain(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.Drain(ctx); err != nil {
		lines := a.lines()
		t.Fatalf("%v\n%s", err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
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

// oneMachine returns what mining on one machine gives.
func oneMachine(t testing.TB, folder *dataset.Dataset, p *projection.Projection, o mining.Options) (negatives, manifest []byte) {
	t.Helper()
	r, err := mining.Mine(t.Context(), folder, p, o)
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
	if errors.Is(err, fs.ErrNotExist) {
		t.Logf("no real data in QUARRY_DATA=%s: the demo's documents are mined", data)
		return openDemo(t), "demo"
	}
	must(t, err)
	t.Cleanup(func() { _ = folder.Close() })
	return folder, "cloud-docs"
}

func openDemo(t testing.TB) *dataset.Dataset {
	t.Helper()
	folder, err := demo.Open()
	must(t, err)
	t.Cleanup(func() { _ = folder.Close() })
	return folder
}

// fit fits a projection on 4,000 documents, or on all where there are fewer.
func fit(t testing.TB, folder *dataset.Dataset) *projection.Projection {
	t.Helper()
	o := projection.FitOptions{}
	if folder.Documents.Len() > 4000 {
		o.FitOn = "sample:4000"
	}
	p, err := projection.Fit(t.Context(), folder, o)
	must(t, err)
	return p
}

// TestJob runs a job through an S3 server, a queue that delivers twice and in any order, and that is told of uploads by
// any route, and the built function, which may do what the template's role allows, and no more. The function's processes
// are killed at their requests to S3, before and after S3 does what they ask for. The result has the bytes of one
// machine. There are 40 shards and 20 kills; with -short 12 of the demo's and 7.
func TestJob(t *testing.T) { runJob(t, 1) }

// TestJobOfBusyProcesses is TestJob with processes that have three invocations at once, which die together.
func TestJobOfBusyProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("TestJobDenied has such processes too")
	}
	runJob(t, 3)
}

func runJob(t *testing.T, perProcess int) {
	const name = "nightly run+1 é"
	folder, data, shards := openDemo(t), "demo", 12
	if !testing.Short() {
		folder, data = openData(t)
		shards = 40
	}
	kills := killsOf(40, shards)
	if testing.Short() {
		kills = slices.DeleteFunc(kills, func(k kill) bool { return slices.Index(kills, k)%3 != 0 })
	}
	killer := newKiller(t, name, kills)
	a := newAccount(t, account.Options{
		Cache: true, Duplicates: 0.4, Concurrency: 2, PerProcess: perProcess, Timeout: patience, S3: killer.before, Route: stack.DrawRoute(40),
		Fault: func(request int) stack.Fault {
			return []stack.Fault{stack.NoFault, stack.FaultLost, stack.FaultRefused}[request%3]
		},
	})
	killer.arm(a.Function.Kill)
	p := fit(t, folder)
	var o mining.Options
	negatives, manifest := oneMachine(t, folder, p, o)

	at := a.Place(name)
	must(t, (&stack.Notifier{Queue: a.Queue}).Configured(a.Template.InputBucket))
	began := time.Now()
	o.Memory = option.ProcessBudget(1 << 30)
	m, err := job.Init(t.Context(), at, folder, p, job.InitOptions{Mine: o, Shards: shards})
	must(t, err)
	uploaded := time.Since(began)
	a.drain(t)
	took := time.Since(began)
	checkResult(t, at, negatives, manifest)
	status, err := job.ReadStatus(t.Context(), at)
	must(t, err)
	if status.State != job.Finished || status.Mined != len(m.Shards) || status.Dollars <= 0 {
		t.Errorf("status is %+v", status)
	}
	a.Close()
	checkRole(t, a)
	checkLogs(t, a.lines())

	if perProcess == 1 { // of processes that die together some requests are never made
		killer.check()
	}
	killed, cold, memory, longest := 0, 0, int64(0), time.Duration(0)
	records := a.Function.Invocations()
	for _, i := range records {
		if i.Killed {
			killed++
		}
		if i.Cold {
			cold++
		}
		memory, longest = max(memory, i.MaxRSS), max(longest, i.Duration)
	}
	if perProcess == 1 && killed != len(kills) || killed < 1 {
		t.Errorf("%d invocations were ended; expected %d processes to be killed", killed, len(kills))
	}
	t.Logf("%s, %d shards: uploaded in %.1f s, done after %.1f s; %d invocations, %d killed, %d cold; at most %d MiB and %.1f s; queue %+v; mining %.1f s, %.1f GB-s, $%.5f",
		data, shards, uploaded.Seconds(), took.Seconds(), len(records), killed, cold, memory>>20, longest.Seconds(), a.Queue.Counters(), status.Seconds, status.GBSeconds, status.Dollars)
}

// TestJobDenied has a policy deny a shard to the built function, whose processes have three invocations at once. The
// shard's messages end in the dead-letter queue, the log and the status say why, and once the policy is mended they mine
// the shard.
func TestJobDenied(t *testing.T) {
	const name, shard = "denied", "shards/000001.safetensors"
	a := newAccount(t, account.Options{
		Cache: true, Duplicates: 0.4, Concurrency: 2, PerProcess: 3, MaxReceives: 5, Timeout: patience, Route: stack.DrawRoute(41),
	})
	a.Denial.Set(iam.Rule{Bucket: a.Template.InputBucket, Prefix: job.Folder + name + "/" + shard})
	folder := openDemo(t)
	p := fit(t, folder)
	var o mining.Options
	negatives, manifest := oneMachine(t, folder, p, o)
	at := a.Place(name)
	o.Memory = option.ProcessBudget(512 << 20)
	_, err := job.Init(t.Context(), at, folder, p, job.InitOptions{Mine: o, Shards: 5})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, a.Poller.Drain(ctx))
	must(t, a.Queue.Check())
	dead := a.Dead.Left()
	if len(dead) == 0 {
		t.Error("no message is in the dead-letter queue")
	}
	why := map[string]int{}
	for _, line := range a.lines() {
		var l struct {
			Message string
			Problem string
			Denied  bool
		}
		if err := json.Unmarshal([]byte(line), &l); err == nil && l.Denied && strings.Contains(l.Problem, shard) && strings.Contains(l.Problem, "403") {
			why[l.Message]++
		}
	}
	for _, m := range dead {
		if why[m.ID] < 5 {
			t.Errorf("%d lines say why this message is dead: %s", why[m.ID], m.Body)
		}
	}
	status, err := job.ReadStatus(t.Context(), at)
	must(t, err)
	if status.State != job.Pending || status.Mined != 4 || len(status.Refused) != 1 || status.Refused[0].Name != shard {
		t.Errorf("status is %+v", status)
	}
	a.Denial.Set()
	a.Dead.Redrive(a.Queue)
	must(t, a.Poller.Drain(ctx))
	must(t, a.Queue.Check())
	checkResult(t, at, negatives, manifest)
}

// checkRole fails where the function was denied something, or where its role allows in S3 what nothing used.
func checkRole(t *testing.T, a *testAccount) {
	t.Helper()
	if denied := a.Caller.Denied(); len(denied) > 0 {
		t.Errorf("the role did not allow %v", denied)
	}
	for _, g := range a.Caller.Unused() {
		if strings.HasPrefix(g.Action, "s3:") {
			t.Errorf("the role allows %v, which nothing needed", g)
		}
	}
}

// checkLogs fails where a line is not JSON, or where the line of a mined shard does not say what it must.
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

// TestBuiltFunctionStopsInTime has the built function read a shard that does not come. It gives the shard up before its
// deadline, says so, puts nothing, and answers that the message must come again. Nothing else ends the read: the
// process of a slow machine is not ended at the deadline.
func TestBuiltFunctionStopsInTime(t *testing.T) {
	var reads atomic.Int64
	a := newAccount(t, account.Options{
		Cache: true, Concurrency: 1, Timeout: 6500 * time.Millisecond /* of which the function keeps five seconds */, Grace: patience,
		S3: func(s3 http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if method, key := target(r); method == http.MethodGet && strings.Contains(key, job.ShardsPrefix) {
					reads.Add(1)
					<-r.Context().Done() // the function breaks the request off
					panic(http.ErrAbortHandler)
				}
				s3.ServeHTTP(w, r)
			})
		},
	})
	a.Poller.Stop() // this test invokes
	at, folder := a.Place("slow"), openDemo(t)
	m, err := job.Init(t.Context(), at, folder, fit(t, folder), job.InitOptions{Mine: mining.Options{Compute: mining.Compute{Memory: option.ProcessBudget(1 << 30)}}, Shards: 1})
	must(t, err)
	message := stack.S3Event(stack.Object{Bucket: a.Template.InputBucket, Key: job.Folder + "slow/" + m.Shards[0].Name})
	event := stack.SQSEvent(a.Queue, []stack.Message{{ID: "7", Receipt: "receipt", Body: message, Receives: 1}})
	for end := time.Now().Add(patience); reads.Load() == 0; { // a slow machine may have no time left when it comes to the shard
		answer, err := a.Function.Invoke(t.Context(), event)
		must(t, err)
		if string(answer) != `{"batchItemFailures":[{"itemIdentifier":"7"}]}` {
			t.Fatalf("after %d reads the answer is %s", reads.Load(), answer)
		}
		if time.Now().After(end) {
			t.Fatalf("the shard was not read in %v\n%s", patience, strings.Join(a.lines(), "\n"))
		}
	}
	for o, err := range at.Out.List(t.Context(), "", "") {
		if err != nil || o.Key != job.ManifestKey && o.Key != "source.json" {
			t.Errorf("%v is there, %v", o, err)
		}
	}
	a.Close()
	if lines := strings.Join(a.lines(), "\n"); !strings.Contains(lines, job.ErrDeadline.Error()) {
		t.Errorf("the log does not say that too little time is left:\n%s", lines)
	}
}

// TestColdStart reports how long the first invocation of a new process takes, with the compiled plugin beside the
// program and without it.
func TestColdStart(t *testing.T) {
	times := 3
	if testing.Short() {
		times = 1
	}
	for _, cache := range []bool{true, false} {
		a := newAccount(t, account.Options{Cache: cache, Concurrency: 1, Timeout: patience, Env: []string{"GOMAXPROCS=1"}})
		var starts []string
		for range times {
			_, err := a.Function.Invoke(t.Context(), fmt.Appendf(nil, `{"quarry":"sweep","bucket":%q}`, a.Template.InputBucket))
			must(t, err)
			records := a.Function.Invocations()
			last := records[len(records)-1]
			if !last.Cold {
				t.Fatal("the process was warm")
			}
			starts = append(starts, fmt.Sprintf("%d+%d ms", last.Init.Milliseconds(), last.Duration.Milliseconds()))
			must(t, a.Function.Recycle())
		}
		t.Logf("on one core, compiled plugin beside the program %v: start and first invocation %v", cache, starts)
	}
}
