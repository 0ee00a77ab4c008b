package objstore

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// stalled is the error of a request, or of an answer's body, in which nothing moved for so long. The SDK tries such requests again.
type stalled time.Duration

func (s stalled) Error() string { return fmt.Sprintf("nothing came or went for %v", time.Duration(s)) }
func (s stalled) Timeout() bool { return true }

// steady gives a request up where no byte of its body goes, no answer comes, or no byte of the answer's body comes, for quiet.
type steady struct {
	next  aws.HTTPClient
	quiet time.Duration
}

func (s *steady) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	w := &watch{ctx: ctx, cancel: cancel, quiet: s.quiet}
	w.timer = time.AfterFunc(s.quiet, func() { cancel(stalled(s.quiet)) })
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &sending{r.Body, w}
	}
	response, err := s.next.Do(r)
	w.timer.Stop()
	if err != nil {
		err = w.cause(err)
		cancel(nil)
		return nil, err
	}
	response.Body = &receiving{response.Body, w}
	return response, nil
}

// watch is the time-out of one request.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	quiet  time.Duration
}

// cause is stalled where that is why err came.
func (w *watch) cause(err error) error {
	if s, ok := context.Cause(w.ctx).(stalled); ok {
		return s
	}
	return err
}

// sending is a request's body: each read of it shows that what was read before has gone.
type sending struct {
	io.ReadCloser
	w *watch
}

func (s *sending) Read(p []byte) (int, error) {
	if !s.w.timer.Reset(s.w.quiet) { // it has fired, or there is an answer already
		s.w.timer.Stop()
	}
	return s.ReadCloser.Read(p)
}

// receiving is an answer's body; only the time inside a read counts.
type receiving struct {
	io.ReadCloser
	w *watch
}

func (r *receiving) Read(p []byte) (int, error) {
	r.w.timer.Reset(r.w.quiet)
	n, err := r.ReadCloser.Read(p)
	r.w.timer.Stop()
	if err != nil && err != io.EOF {
		err = r.w.cause(err)
	}
	return n, err
}

func (r *receiving) Close() error {
	r.w.timer.Stop()
	err := r.ReadCloser.Close()
	r.w.cancel(nil)
	return err
}
