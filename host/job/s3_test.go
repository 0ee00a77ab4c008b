package job_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/storetest"
)

// Faults of requests.
const (
	slowDown     kind = "503 SlowDown"
	error500     kind = "500"
	error500Done kind = "500, done"
	error409     kind = "409 of a conditional write"
	exists412    kind = "412, of its own write"
	hangs        kind = "timed out, not done"
	hangsDone    kind = "timed out, done"
	cutBody      kind = "truncated body"
	slowBody     kind = "slow body"
	stalledBody  kind = "body that stops"
)

// quiet is how long an attempt may see no byte move. It is time of a bubble: only faults that the test makes take so long.
const quiet = 30 * time.Second

// transport is a process's way to the server. Its faults are those of requests.
type transport struct {
	*process
	next lanes
}

func (f *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	kinds := []kind{killedBefore, slowDown, error500, killedAfter}
	conditional := r.Header.Get("If-None-Match") != ""
	switch {
	case conditional:
		kinds = append(kinds, error500Done, error409, exists412, hangsDone, hangs)
	case r.Method == http.MethodPut:
		kinds = append(kinds, error500Done, hangsDone, hangs)
	case r.Method == http.MethodGet:
		kinds = append(kinds, cutBody, cutBody, slowBody, slowBody, stalledBody, hangs)
	}
	k := f.process.next(kinds)
	done := func() (*http.Response, error) {
		a, err := f.next.RoundTrip(r)
		if err == nil && conditional && a.StatusCode == http.StatusOK {
			f.created(r.URL.Path, k)
		}
		return a, err
	}
	drop := func(a *http.Response, err error) {
		if err == nil {
			_, _ = io.Copy(io.Discard, a.Body)
			_ = a.Body.Close()
		}
	}
	switch k {
	case dead, killedBefore:
		return nil, errKilled
	case killedAfter:
		drop(done())
		f.mu.Lock()
		f.kill()
		f.mu.Unlock()
		return nil, errKilled
	case slowDown:
		return answer(r, http.StatusServiceUnavailable, "SlowDown"), nil
	case error500:
		return answer(r, http.StatusInternalServerError, "InternalError"), nil
	case error500Done:
		drop(done())
		return answer(r, http.StatusInternalServerError, "InternalError"), nil
	case error409:
		return answer(r, http.StatusConflict, "ConditionalRequestConflict"), nil
	case exists412:
		drop(done())
		return answer(r, http.StatusPreconditionFailed, "PreconditionFailed"), nil
	case hangs, hangsDone:
		if k == hangsDone {
			drop(done())
		}
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	a, err := done()
	if err == nil && a.ContentLength != 0 {
		f.spoil(r, a, k)
	}
	return a, err
}

// spoil gives an answer's body its fault.
func (f *transport) spoil(r *http.Request, a *http.Response, k kind) {
	size := int(min(a.ContentLength, 1<<20))
	if size < 0 { // it is not known
		size = 1 << 10
	}
	switch k {
	case cutBody:
		a.Body = &cut{a.Body, f.intN(size), func() error { return io.ErrUnexpectedEOF }}
	case stalledBody:
		a.Body = &cut{a.Body, f.intN(size), func() error { <-r.Context().Done(); return r.Context().Err() }}
	case slowBody: // in all it takes longer than may pass without a byte
		a.Body = &drip{a.Body, quiet / 8, 1 + size/10}
	}
}

// created counts what a conditional write made.
func (f *transport) created(path string, k kind) {
	key := path[strings.LastIndex(path, "/")+1:]
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	f.ledger.created[key]++
	if key == resultKey && k != "" {
		f.ledger.lost = true
	}
}

func answer(r *http.Request, status int, code string) *http.Response {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	text := fmt.Sprintf("<Error><Code>%s</Code><Message>As the test wants.</Message></Error>", code)
	if r.Method == http.MethodHead {
		text = ""
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}
}

// cut is a body that ends early, where end says how.
type cut struct {
	io.ReadCloser
	left int
	end  func() error
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, c.end()
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// drip is a body that comes in small pieces, one after a pause.
type drip struct {
	io.ReadCloser
	pause time.Duration
	most  int
}

func (d *drip) Read(p []byte) (int, error) {
	time.Sleep(d.pause)
	return d.ReadCloser.Read(p[:min(len(p), d.most)])
}

// TestFaultsOnS3 runs schedules on an S3 server whose answers are tampered with.
func TestFaultsOnS3(t *testing.T) {
	b, all, sum, dir := newBuckets(t), variants(t), &total{}, t.TempDir()
	drawn := []kind{killedBefore, killedAfter, slowDown, error500, error500Done, error409, exists412, hangs, hangsDone, cutBody, slowBody, stalledBody}
	each(t, schedules(t, 2*len(drawn)), func(t *testing.T, number int) {
		inServersTime(t, func(t *testing.T) {
			i := variant(all, drawn, number)
			s := b.newSchedule(t, i, uint64(number), dir)
			s.plan(drawn, number)
			s.run(t.Context())
			s.verify(i.sample)
			sum.add(s)
		})
	})
	sum.log(t)
}

// TestKillAtEveryRequest kills a worker before and after each of its requests to an S3 server.
func TestKillAtEveryRequest(t *testing.T) {
	b, dir := newBuckets(t), t.TempDir()
	killEverywhere(t, []kind{killedBefore, killedAfter}, func(t *testing.T, i *inputs, number int, run func(t *testing.T, s *schedule)) {
		inServersTime(t, func(t *testing.T) { run(t, b.newSchedule(t, i, uint64(number), dir)) })
	})
}

// buckets are those of an S3 server, and the ways to it.
type buckets struct{ lanes }

// newBuckets starts a server with two buckets.
func newBuckets(t *testing.T) buckets {
	t.Helper()
	server := storetest.S3(t)
	for _, bucket := range []string{"work", "work-results"} {
		if err := server.CreateBucket(t.Context(), bucket); err != nil {
			t.Fatal(err)
		}
	}
	return buckets{newLanes(t, atATime)}
}

// open opens both buckets below a prefix of a schedule's own.
func (b buckets) open(t testing.TB, seed uint64, o objstore.S3Options) (in, out objstore.Store) {
	var stores [2]objstore.Store
	for i, bucket := range []string{"work", "work-results"} {
		s, err := objstore.OpenS3(t.Context(), bucket, job.Folder+strconv.FormatUint(seed, 10), o)
		if err != nil {
			panic(err) // goroutines of the schedule may not end the test
		}
		stores[i] = s
	}
	return stores[0], stores[1]
}

func (b buckets) newSchedule(t *testing.T, i *inputs, seed uint64, dir string) *schedule {
	in, out := b.open(t, seed, objstore.S3Options{HTTPClient: &http.Client{Transport: b.lanes}})
	s := i.newSchedule(t, seed, &job.Place{Name: "nightly", In: in, Out: out}, dir)
	s.ledger = newLedger(s.random(3).IntN(60))
	s.place = func(p *process) (in, out objstore.Store) {
		client := &http.Client{Transport: &transport{p, b.lanes}}
		return b.open(t, seed, objstore.S3Options{HTTPClient: client, Attempts: 3, MaxBackoff: 5 * time.Millisecond, StallTimeout: quiet})
	}
	return s
}
