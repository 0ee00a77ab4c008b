package objstore

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// stalledError is the error of a request, or of an answer's body, in which no byte moved for so long. It is a time-out,
// so the SDK tries the request again.
type stalledError time.Duration

func (s stalledError) Error() string {
	return fmt.Sprintf("nothing came or went for %v", time.Duration(s))
}
func (s stalledError) Timeout() bool { return true }

// stallClient is an HTTP client that gives a request up where nothing moves for limit: no byte of the request's body
// goes, no answer comes, or no byte of the answer's body comes. A transfer that goes on, however slowly, is not given
// up.
type stallClient struct {
	next  aws.HTTPClient
	limit time.Duration
}

func (s *stallClient) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	w := &stallTimer{ctx: ctx, cancel: cancel, limit: s.limit}
	w.timer = time.AfterFunc(s.limit, func() { cancel(stalledError(s.limit)) })
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &requestBody{r.Body, w}
	}
	response, err := s.next.Do(r)
	w.timer.Stop()
	if err != nil {
		err = w.cause(err)
		cancel(nil)
		return nil, err
	}
	response.Body = &answerBody{response.Body, w}
	return response, nil
}

// stallTimer cancels one request where nothing moves for limit.
type stallTimer struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
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
	if !b.w.timer.Reset(b.w.limit) { // the time is over, or the answer has come already
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
	r.w.timer.Reset(r.w.limit)
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
