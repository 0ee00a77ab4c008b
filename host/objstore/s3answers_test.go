package objstore_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/quarry-hn/quarry/host/objstore"
)

// TestS3ListWithoutItsRest has an answer that says that there is more, and not where. To take it for the whole list
// would leave objects out.
func TestS3ListWithoutItsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := openFake(t, func(_ int, r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			text := `<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>below/a</Key><Size>1</Size></Contents></ListBucketResult>`
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
		})
		var keys []string
		var failed error
		for o, err := range s.List(t.Context(), "", "") {
			if err != nil {
				failed = err
				continue
			}
			keys = append(keys, o.Key)
		}
		if failed == nil || !strings.Contains(failed.Error(), "/below/") || len(keys) > 1 {
			t.Errorf("%q, %v", keys, failed)
		}
	})
}

// TestS3NoBucketAfterAFailure has the first look for the bucket fail. That does not count as a bucket that is there.
func TestS3NoBucketAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := openFake(t, func(n int, r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			if n > 0 && n <= attempts { // the first look for the bucket, each time it is tried
				return nil, errCut
			}
			return answers(r, http.StatusNotFound, "")
		})
		for range 2 {
			_, err := s.Head(t.Context(), "k")
			if errors.Is(err, objstore.ErrNoBucket) {
				return
			}
		}
		t.Error("a missing bucket was never told from a missing object")
	})
}

// TestS3UnknownSize has an answer that does not say how large the object is. It must not pass for an empty object.
func TestS3UnknownSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := openFake(t, func(_ int, r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Etag": {`"x"`}}, ContentLength: -1,
				Body: io.NopCloser(strings.NewReader(strings.Repeat("0123456789", 100))), Request: r}, nil
		})
		if r, o, err := s.Get(t.Context(), "k", 0, ""); err == nil || !strings.Contains(err.Error(), "/below/k: the answer has no Content-Length") {
			t.Errorf("get: %v, %v, %v", r, o, err)
		}
		if o, err := s.Head(t.Context(), "k"); err == nil || !strings.Contains(err.Error(), "/below/k: the answer has no Content-Length") {
			t.Errorf("head: %v, %v", o, err)
		}
	})
}

// TestS3ForbiddenForAnotherReason has an archived object, and a wrong clock. S3 answers 403 for both, but neither is
// ErrDenied: a caller may take ErrDenied for an object that is missing, and these objects are there.
func TestS3ForbiddenForAnotherReason(t *testing.T) {
	for _, code := range []string{"InvalidObjectState", "RequestTimeTooSkewed"} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _, _ := openFake(t, func(_ int, r *http.Request, _ http.RoundTripper) (*http.Response, error) {
					return answers(r, http.StatusForbidden, code)
				})
				_, err := readAll(t.Context(), s, "k", 0)
				if err == nil || errors.Is(err, objstore.ErrDenied) || !strings.Contains(err.Error(), "/below/k: 403 "+code) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// TestS3LongMessage has an answer whose message is long, as that of a proxy that is no S3.
func TestS3LongMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := "<Error><Code>Odd</Code><Message>begins " + strings.Repeat("x", 100_000) + " ends</Message></Error>"
		s, _, _ := openFake(t, func(_ int, r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
		})
		_, err := readAll(t.Context(), s, "k", 0)
		if err == nil || len(err.Error()) > 700 || !strings.Contains(err.Error(), "400 Odd: begins x") || !strings.Contains(err.Error(), "x ends") {
			t.Errorf("%.2000v", err)
		}
	})
}
