package objstore_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/objstore"
)

// fakeS3 answers as S3 does for one bucket, from memory and without a socket. So it works under testing/synctest, whose
// clock moves only while all goroutines wait: a time-out of 30 s passes at once, and never too early. What S3 does
// beyond that is tested against versitygw.
type fakeS3 struct {
	mu      sync.Mutex
	objects map[string][]byte // by path
}

// openFake opens a bucket of a fake S3 twice: through a fault, and without it. Call it in a bubble of synctest.
func openFake(t *testing.T, f fault) (through, plain objstore.Store, way *faulty) {
	t.Helper()
	server := &fakeS3{objects: map[string][]byte{}}
	way = &faulty{server: server, fault: f}
	return openAt(t, "http://s3.test", way), openAt(t, "http://s3.test", server), way
}

// openAt opens a bucket at an endpoint, below the prefix "below". Retries follow the default policy.
func openAt(t *testing.T, endpoint string, transport http.RoundTripper) objstore.Store {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_S3": endpoint, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1",
		"AWS_PROFILE": "", "AWS_SESSION_TOKEN": "", "AWS_ENDPOINT_URL": "", "AWS_MAX_ATTEMPTS": "", "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
	s, err := objstore.OpenS3(t.Context(), "bucket", "below", objstore.S3Options{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *fakeS3) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = b
		_ = r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	s.serve(w, r, body)
	response := w.Result()
	response.Request = r
	return response, nil
}

func (s *fakeS3) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object, there := s.objects[r.URL.Path]
	switch {
	case r.Method == http.MethodPut:
		s.put(w, r, body, there)
	case r.Method == http.MethodDelete:
		delete(s.objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	case r.URL.Query().Has("list-type"):
		fmt.Fprintf(w, "<ListBucketResult><IsTruncated>false</IsTruncated>")
		for path, b := range s.objects {
			fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>%d</Size><ETag>%s</ETag></Contents>", strings.TrimPrefix(path, "/bucket/"), len(b), etagOf(b))
		}
		fmt.Fprintf(w, "</ListBucketResult>")
	case !there:
		refuse(w, r, http.StatusNotFound, "NoSuchKey")
	case r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != etagOf(object):
		refuse(w, r, http.StatusPreconditionFailed, "PreconditionFailed")
	default:
		w.Header().Set("ETag", etagOf(object))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(object)) // with ranges
	}
}

func (s *fakeS3) put(w http.ResponseWriter, r *http.Request, body []byte, there bool) {
	// The request carries its body's fingerprint. Where the body is another, the client read it from the wrong place,
	// or not to its end.
	if sum := fmt.Sprintf("%x", sha256.Sum256(body)); r.Header.Get("X-Amz-Content-Sha256") != sum {
		refuse(w, r, http.StatusBadRequest, "XAmzContentSHA256Mismatch")
		return
	}
	if there && r.Header.Get("If-None-Match") == "*" {
		refuse(w, r, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	s.objects[r.URL.Path] = body
	w.Header().Set("ETag", etagOf(body))
}

func etagOf(b []byte) string { return fmt.Sprintf(`"%x"`, md5.Sum(b)) }

// refuse answers with an error, as S3 writes it. An answer to HEAD has no body.
func refuse(w http.ResponseWriter, r *http.Request, status int, code string) {
	w.Header().Set("X-Amz-Request-Id", "R1")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>As the test wants.</Message><RequestId>R1</RequestId></Error>", code)
	}
}
