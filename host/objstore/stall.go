package objstore

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// stalledError is the error of a request, or of an answer's body, in which nothing moved for so long. It is a time-out,
// so the SDK tries the request again.
type stalledError struct {
	what  string
	limit time.Duration
}

func (s stalledError) Error() string { return fmt.Sprintf("%s for %v", s.what, s.limit) }
func (s stalledError) Timeout() bool { return true }

// stallClient is an HTTP client that gives a request up where nothing moves for a limit: no connection comes about, no
// byte of the request's body goes, no answer comes, or no byte of the answer's body comes. A transfer that goes on,
// however slowly, is not given up. The error of a request that got no connection is unreachable.
type stallClient struct {
	next     aws.HTTPClient
	limits   stallLimits
	answered atomic.Bool // the endpoint has answered something
}

func (s *stallClient) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	w := &stallTimer{ctx: ctx, cancel: cancel, limits: s.limits, error: stalledError{"nothing came or went", s.limits.transfer}}
	w.timer = time.AfterFunc(s.limits.transfer, w.fire)
	r = r.WithContext(w.trace(ctx))
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &requestBody{r.Body, w}
	}
	response, err := s.next.Do(r)
	w.timer.Stop()
	if err != nil {
		err = w.cause(err)
		if w.leftUnconnected() {
			err = s.asUnreachable(r, err)
		}
		cancel(nil)
		return nil, err
	}
	s.answered.Store(true)
	response.Body = &answerBody{response.Body, w}
	return response, nil
}

// stallTimer cancels one request where nothing moves for a limit.
type stallTimer struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limits stallLimits

	mu         sync.Mutex
	error      stalledError // if the time ends now
	connecting bool         // it is known that there is no connection yet
}

func (w *stallTimer) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel(w.error)
}

// trace has the transport tell the steps to a connection, and gives each its time. A transport other than http.Transport
// may tell nothing.
func (w *stallTimer) trace(ctx context.Context) context.Context {
	noAnswer := stalledError{"the name server did not answer", w.limits.lookup}
	noConnection := stalledError{"no connection came about", w.limits.connect}
	noHandshake := stalledError{"the TLS handshake did not end", w.limits.connect}
	nothing := w.error
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:           func(string) { w.begin(noConnection) },
		DNSStart:          func(httptrace.DNSStartInfo) { w.step(noAnswer, true) },
		DNSDone:           func(httptrace.DNSDoneInfo) { w.step(noConnection, true) },
		TLSHandshakeStart: func() { w.step(noHandshake, true) },
		GotConn:           func(httptrace.GotConnInfo) { w.step(nothing, false) },
	})
}

// begin begins the first step to a connection.
func (w *stallTimer) begin(otherwise stalledError) {
	w.mu.Lock()
	w.connecting = true
	w.mu.Unlock()
	w.step(otherwise, true)
}

// step begins a step to a connection, or ends the last. The transport may go on with a connection that it began for a
// request which then got another: its steps come late, and count no more.
func (w *stallTimer) step(otherwise stalledError, connecting bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.connecting {
		w.error, w.connecting = otherwise, connecting
		w.timer.Reset(otherwise.limit)
	}
}

// leftUnconnected tells whether the request ended without a connection. No step counts after that.
func (w *stallTimer) leftUnconnected() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := w.connecting
	w.connecting = false
	return left
}

// cause is the stalledError that made err, or err itself.
func (w *stallTimer) cause(err error) error {
	if s, ok := context.Cause(w.ctx).(stalledError); ok {
		return s
	}
	return err
}

// requestBody is a request's body. Each read of it starts the time anew: what was read before has gone.
type requestBody struct {
	io.ReadCloser
	w *stallTimer
}

func (b *requestBody) Read(p []byte) (int, error) {
	if !b.w.timer.Reset(b.w.limits.transfer) { // the time is over, or the answer has come already
		b.w.timer.Stop()
	}
	return b.ReadCloser.Read(p)
}

// answerBody is an answer's body. Only the time inside a read counts: a caller may take as long as it likes between
// reads.
type answerBody struct {
	io.ReadCloser
	w *stallTimer
}

func (r *answerBody) Read(p []byte) (int, error) {
	r.w.timer.Reset(r.w.limits.transfer)
	n, err := r.ReadCloser.Read(p)
	r.w.timer.Stop()
	if err != nil && err != io.EOF {
		err = r.w.cause(err)
	}
	return n, err
}

func (r *answerBody) Close() error {
	r.w.timer.Stop()
	err := r.ReadCloser.Close()
	r.w.cancel(nil)
	return err
}
