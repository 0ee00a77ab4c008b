package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quarry-hn/quarry/host/objstore"
)

// untilJustBefore waits until a moment before a request's deadline. So the pause after the answer ends the time.
func untilJustBefore(r *http.Request) {
	deadline, _ := r.Context().Deadline()
	time.Sleep(time.Until(deadline) - time.Nanosecond)
}

// TestS3Late has the time end while a request is tried again: in the pause after the last answer, or while the next
// attempt waits for its answer. The error is the context's, and says what S3 or the network said last.
func TestS3Late(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	for _, c := range []struct {
		name      string
		bad       func(r *http.Request) (*http.Response, error)
		says      string
		throttled bool
	}{
		{"503", func(r *http.Request) (*http.Response, error) { return answers(r, 503, "SlowDown") }, "the last answer: 503", true},
		{"429", func(r *http.Request) (*http.Response, error) { return answers(r, 429, "TooManyRequests") }, "the last answer: 429", true},
		{"500", func(r *http.Request) (*http.Response, error) { return answers(r, 500, "InternalError") }, "the last answer: 500", false},
		{"409", func(r *http.Request) (*http.Response, error) { return answers(r, 409, "OperationAborted") }, "the last answer: 409", false},
		{"refused", func(*http.Request) (*http.Response, error) { return nil, refused }, "the last failure: dial tcp: connection refused", false},
		{"stalled", hangs, "the last failure: nothing came or went for 30s", false},
	} {
		for _, op := range operations {
			if c.name == "409" && op.name == "head" {
				continue // an answer to HEAD has no code
			}
			for _, where := range []string{"in the pause", "in the next attempt"} {
				if c.name == "stalled" && where == "in the pause" {
					continue // the test does not choose when a stall ends
				}
				t.Run(c.name+" "+op.name+" "+where, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { checkLate(t, op, c.bad, where == "in the pause", c.says, c.throttled) })
				})
			}
		}
	}
}

func checkLate(t *testing.T, op operation, bad func(r *http.Request) (*http.Response, error), inPause bool, says string, throttled bool) {
	const failures = 3
	s, plain, way := openFake(t, func(n int, r *http.Request, _ http.RoundTripper) (*http.Response, error) {
		if n == failures {
			return hangs(r)
		}
		response, err := bad(r)
		if n == failures-1 && inPause {
			untilJustBefore(r)
		}
		return response, err
	})
	putK(t, plain, "0123456789")
	limit, requests := 20*time.Second, failures+1 // the pauses take at most 1 s + 2 s + 4 s
	if inPause {
		requests = failures
	}
	if strings.Contains(says, "nothing came") {
		limit += failures * stallTimeout
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := op.do(ctx, s)
	for _, says := range []string{op.name[:3], "s3://bucket/below/", "context deadline exceeded", fmt.Sprintf("after %d attempts; %s", requests, says)} {
		if !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%v; expected an error that says %q", err, says)
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, objstore.ErrThrottled) != throttled || way.n != requests || len(err.Error()) > 250 {
		t.Errorf("%v, after %d requests; expected %d", err, way.n, requests)
	}
}

// TestS3LateFirst has the time end in the first attempt, or before it.
func TestS3LateFirst(t *testing.T) {
	for _, op := range operations {
		synctest.Test(t, func(t *testing.T) {
			s, plain, way := openFake(t, func(_ int, r *http.Request, _ http.RoundTripper) (*http.Response, error) { return hangs(r) })
			putK(t, plain, "0123456789")
			ctx, cancel := context.WithTimeout(t.Context(), stallTimeout/2)
			defer cancel()
			if err := op.do(ctx, s); !errors.Is(err, context.DeadlineExceeded) || !strings.HasSuffix(err.Error(), "context deadline exceeded, before an answer came") || way.n != 1 {
				t.Errorf("%s: %v, after %d requests", op.name, err, way.n)
			}
			if err := op.do(ctx, s); !errors.Is(err, context.DeadlineExceeded) || !strings.HasSuffix(err.Error(), ": context deadline exceeded") || way.n != 1 {
				t.Errorf("%s: %v, after %d requests", op.name, err, way.n)
			}
		})
	}
}

// TestS3LateBody has an answer's body that fails just when the time ends. The error is both.
func TestS3LateBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, plain, _ := openFake(t, body(func(_ int, _ *http.Request, body io.Reader) io.Reader {
			return &cut{body, 4, func() error { cancel(); return errCut }}
		}))
		putK(t, plain, "0123456789")
		if b, err := readAll(ctx, s, "k", 0); string(b) != "0123" || !errors.Is(err, context.Canceled) || !errors.Is(err, errCut) || !strings.Contains(err.Error(), "at byte 4 of 10") {
			t.Errorf("%q, %v", b, err)
		}
	})
}
