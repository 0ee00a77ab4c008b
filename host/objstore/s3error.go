package objstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// s3Error says in one line what the SDK's errors say in many. errors.As still finds those.
type s3Error struct {
	text   string
	causes []error // those of this package and the context's first
}

func (e *s3Error) Error() string { return e.text }

func (e *s3Error) Unwrap() []error { return e.causes }

// status is the HTTP status of the answer that an error came from, or 0 where there was none.
func status(err error) int {
	if r := (*awshttp.ResponseError)(nil); errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// code is S3's name for an error. It is empty for an answer to HEAD, which has no body.
func code(err error) string {
	if a := smithy.APIError(nil); errors.As(err, &a) {
		return a.ErrorCode()
	}
	return ""
}

// kind is the error of this package that an error of S3 is, or nil.
func (s *s3Store) kind(ctx context.Context, op string, err error) error {
	switch status(err) {
	case http.StatusNotFound:
		if code(err) == "NoSuchBucket" || op == "head" && s.bucketMissing(ctx) {
			return ErrNoBucket
		}
		return ErrNotExist
	case http.StatusForbidden:
		if c := code(err); c == "InvalidObjectState" || c == "RequestTimeTooSkewed" {
			return nil // the object is archived, or this machine's clock is wrong
		}
		return ErrDenied
	case http.StatusBadRequest:
		if strings.HasPrefix(code(err), "KMS.") { // a key that is disabled or gone
			return ErrDenied
		}
	case http.StatusNotModified:
		return ErrChanged
	case http.StatusPreconditionFailed:
		if op == "put" {
			return ErrExists
		}
		return ErrChanged
	}
	return nil
}

// bucketMissing asks for the bucket, unless it is known to be there: the answer to HEAD does not tell what is missing,
// the object or the bucket.
func (s *s3Store) bucketMissing(ctx context.Context) bool {
	if s.exists.Load() {
		return false
	}
	_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.bucket})
	if status(err) == http.StatusNotFound {
		return true
	}
	if err == nil || status(err) == http.StatusForbidden {
		s.exists.Store(true)
	}
	return false
}

// isThrottled tells whether an answer asks for fewer requests. One to HEAD has no code; S3's 503 is such an answer.
func isThrottled(op string, err error) bool {
	return throttles.IsErrorThrottle(err).Bool() || op == "head" && status(err) == http.StatusServiceUnavailable
}

// fail makes an error of the operation, the object, and what S3 or the network said.
func (s *s3Store) fail(ctx context.Context, op, key string, err error) error {
	at := op + " " + s.name(key) + ": "
	if done := ctx.Err(); done != nil {
		return s.cutOff(at, op, done, err)
	}
	kind := s.kind(ctx, op, err)
	causes := []error{err}
	switch {
	case kind != nil:
		at += kind.Error()
		causes = []error{kind, err}
	case isThrottled(op, err):
		causes = []error{ErrThrottled, err}
	}
	said := explain(err)
	if a := (*attemptsError)(nil); errors.As(err, &a) && a.n > 1 {
		said += fmt.Sprintf(", after %d attempts", a.n)
	}
	if kind != nil {
		said = " (" + said + ")"
	}
	return &s3Error{at + said + s.reachHint(err), causes}
}

// cutOff is the error of a request that the context's end cut off. It says what the last attempt before that came to.
func (s *s3Store) cutOff(at, op string, done, err error) error {
	a := (*attemptsError)(nil)
	if !errors.As(err, &a) || a.n == 0 {
		return &s3Error{at + done.Error(), []error{done, err}}
	}
	if a.last == nil {
		return &s3Error{at + done.Error() + ", before an answer came", []error{done, err}}
	}
	last := "failure"
	if status(a.last) != 0 {
		last = "answer"
	}
	number := "1 attempt"
	if a.n > 1 {
		number = fmt.Sprintf("%d attempts", a.n)
	}
	text := fmt.Sprintf("%s%v, after %s; the last %s: %s", at, done, number, last, explain(a.last))
	causes := []error{done, a.last, err}
	if isThrottled(op, a.last) {
		causes = append(causes, ErrThrottled)
	}
	return &s3Error{text + s.reachHint(a.last), causes}
}

// explain is what S3 or the network said.
func explain(err error) string {
	if r := (*awshttp.ResponseError)(nil); errors.As(err, &r) && r.HTTPStatusCode() != 0 {
		return describeAnswer(err, r)
	}
	return innermost(err).Error()
}

// describeAnswer is what S3 said: status, code, message, and the number of the request.
func describeAnswer(err error, response *awshttp.ResponseError) string {
	said := fmt.Sprint(response.HTTPStatusCode())
	if a := smithy.APIError(nil); errors.As(err, &a) {
		said += " " + a.ErrorCode()
		if a.ErrorMessage() != "" && a.ErrorMessage() != a.ErrorCode() {
			said += ": " + excerpt.Text(a.ErrorMessage())
		}
	}
	if id := response.ServiceRequestID(); id != "" {
		said += ", request " + id
	}
	// S3 answers 301 where the bucket is in another region, or 400 where the signature names the wrong one.
	if r := response.HTTPResponse(); r != nil && (r.StatusCode == http.StatusMovedPermanently || r.StatusCode == http.StatusBadRequest) {
		if region := r.Header.Get("X-Amz-Bucket-Region"); region != "" {
			said += fmt.Sprintf("; the bucket is in %s: set AWS_REGION=%s", region, region)
		}
	}
	return said
}

// innermost takes the SDK's and the HTTP client's wrapping off an error that came without an answer.
func innermost(err error) error {
	if send := (*smithyhttp.RequestSendError)(nil); errors.As(err, &send) {
		err = send.Err
	}
	for {
		inner := error(nil)
		switch e := err.(type) {
		case *smithy.OperationError:
			inner = e.Err
		case *retry.MaxAttemptsError:
			inner = e.Err
		case *attemptsError:
			inner = e.error
		case *url.Error:
			inner = e.Err
		}
		if inner == nil {
			return err
		}
		err = inner
	}
}
