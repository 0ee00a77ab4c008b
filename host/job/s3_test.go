package job_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
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
)

// transport is a process's way to the server.
type transport struct {
	*process
	quiet time.Duration
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
		kinds = append(kinds, cutBody, slowBody, hangs)
	}
	k := f.next(kinds)
	done := func() (*http.Response, error) {
		a, err := http.DefaultTransport.RoundTrip(r)
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
	if err == nil && k == cutBody && a.ContentLength != 0 {
		a.Body = &cut{a.Body, f.intN(int(max(1, min(a.ContentLength, 1<<20))))}
	} else if err == nil && k == slowBody {
		a.Body = &drip{a.Body, f.quiet / 8}
	}
	return a, err
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

// cut is a body whose connection breaks.
type cut struct {
	io.ReadCloser
	left int
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// drip is a body that comes in a few pieces.
type drip struct {
	io.ReadCloser
	pause time.Duration
}

func (d *drip) Read(p []byte) (int, error) {
	time.Sleep(d.pause)
	return d.ReadCloser.Read(p)
}

// TestFaultsOnS3 runs schedules on an S3 server whose answers are tampered with.
func TestFaultsOnS3(t *testing.T) {
	server := storetest.S3(t)
	for _, bucket := range []string{"work", "work-results"} {
		if err := server.CreateBucket(t.Context(), bucket); err != nil {
			t.Fatal(err)
		}
	}
	all, sum, dir := variants(t), &total{}, t.TempDir()
	var mu sync.Mutex
	t.Run("schedules", func(t *testing.T) {
		for number := range max(1, schedules(t)/12) {
			t.Run(strconv.Itoa(number), func(t *testing.T) {
				t.Parallel()
				s := onS3(t, all[number%len(all)], uint64(number), dir)
				s.run(t.Context())
				s.verify(all[number%len(all)].sample)
				mu.Lock()
				defer mu.Unlock()
				sum.add(s)
			})
		}
	})
	sum.log(t)
}

// onS3 is a schedule in two buckets, below a prefix of its own.
func onS3(t *testing.T, i *inputs, seed uint64, dir string) *schedule {
	const quiet = 250 * time.Millisecond
	open := func(bucket string, o objstore.S3Options) objstore.Store {
		s, err := objstore.OpenS3(t.Context(), bucket, job.Folder+strconv.FormatUint(seed, 10), o)
		if err != nil {
			panic(err)
		}
		return s
	}
	plain := &job.Place{Name: "nightly", In: open("work", objstore.S3Options{}), Out: open("work-results", objstore.S3Options{})}
	s := i.newSchedule(t, seed, plain, dir)
	s.rate, s.ledger = s.rate/2, newLedger(s.random(3).IntN(40))
	s.place = func(p *process) (in, out objstore.Store) {
		o := objstore.S3Options{HTTPClient: &http.Client{Transport: &transport{p, quiet}}, Attempts: 3, MaxBackoff: 5 * time.Millisecond, Quiet: quiet}
		return open("work", o), open("work-results", o)
	}
	return s
}
