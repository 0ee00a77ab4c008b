package objstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/s3server"
	"github.com/quarry-hn/quarry/host/objstore/storetest"
)

// The defaults of S3Options.
const (
	attempts     = 8
	stallTimeout = 30 * time.Second
	maxBackoff   = 20 * time.Second
)

// fault answers the nth request of a client, from 0. It may pass the request on to the server.
type fault func(n int, r *http.Request, server http.RoundTripper) (*http.Response, error)

// faulty is an HTTP transport to a server, with a fault in it.
type faulty struct {
	server http.RoundTripper
	fault  fault

	mu sync.Mutex
	n  int // requests so far
}

func (f *faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	n := f.n
	f.n++
	f.mu.Unlock()
	return f.fault(n, r, f.server)
}

// answers refuses a request after it has read a few bytes of it, as a busy server does.
func answers(r *http.Request, status int, code string, header ...string) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.CopyN(io.Discard, r.Body, 10)
		_ = r.Body.Close()
	}
	w := httptest.NewRecorder()
	for i := 0; i+1 < len(header); i += 2 {
		w.Header().Set(header[i], header[i+1])
	}
	refuse(w, r, status, code)
	response := w.Result()
	response.Request = r
	return response, nil
}

// hangs gives no answer: it waits until the client gives up.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// openThrough makes a bucket on a server, and opens it twice: through a fault, and without it.
func openThrough(t *testing.T, server *s3server.Server, f fault) (through, plain objstore.Store, way *faulty) {
	t.Helper()
	bucket := strings.ToLower(strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name()), "-"))
	bucket = bucket[max(0, len(bucket)-60):]
	if err := server.CreateBucket(t.Context(), strings.Trim(bucket, "-")); err != nil {
		t.Fatal(err)
	}
	way = &faulty{server: http.DefaultTransport, fault: f}
	open := func(o objstore.S3Options) objstore.Store {
		s, err := objstore.OpenS3(t.Context(), strings.Trim(bucket, "-"), "below", o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	// The machine may be busy: only a server that hangs is given up.
	o := objstore.S3Options{HTTPClient: &http.Client{Transport: way}, MaxBackoff: time.Millisecond, StallTimeout: 10 * time.Minute}
	return open(o), open(objstore.S3Options{StallTimeout: o.StallTimeout}), way
}

// operation is one of the operations of a store.
type operation struct {
	name string
	do   func(ctx context.Context, s objstore.Store) error
}

// operations are all operations of a store. Object "k" has to be there, with ten bytes.
var operations = []operation{
	{"head", func(ctx context.Context, s objstore.Store) error { _, err := s.Head(ctx, "k"); return err }},
	{"get", func(ctx context.Context, s objstore.Store) error {
		_, err := readAll(ctx, s, "k", 0)
		return err
	}},
	{"put", func(ctx context.Context, s objstore.Store) error {
		return s.Put(ctx, "k", strings.NewReader("0123456789"))
	}},
	{"put new", func(ctx context.Context, s objstore.Store) error {
		return s.PutNew(ctx, "new", bytes.NewReader(make([]byte, 300_000)))
	}},
	{"list", func(ctx context.Context, s objstore.Store) error {
		for _, err := range s.List(ctx, "", "") {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"list folders", func(ctx context.Context, s objstore.Store) error {
		for _, err := range s.Folders(ctx, "", "") {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"delete", func(ctx context.Context, s objstore.Store) error { return s.Delete(ctx, "gone") }},
}

func readAll(ctx context.Context, s objstore.Store, key string, from int64) ([]byte, error) {
	r, _, err := s.Get(ctx, key, from, "")
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

func putK(t *testing.T, s objstore.Store, content string) {
	t.Helper()
	if err := s.Put(t.Context(), "k", strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

// TestS3Retries has faults of the kind that passes. Where a fault comes twice, each operation succeeds. Where it comes
// always, the error says which fault and after how many attempts. The pauses are within the default policy.
func TestS3Retries(t *testing.T) {
	for _, c := range []struct {
		name string
		bad  func(r *http.Request) (*http.Response, error)
		says string
	}{
		{"503", func(r *http.Request) (*http.Response, error) { return answers(r, 503, "SlowDown") }, "503 SlowDown: As the test wants., request R1"},
		{"500", func(r *http.Request) (*http.Response, error) { return answers(r, 500, "InternalError") }, "500 InternalError"},
		{"409", func(r *http.Request) (*http.Response, error) { return answers(r, 409, "ConditionalRequestConflict") }, "409 Conditional"},
		{"409 aborted", func(r *http.Request) (*http.Response, error) { return answers(r, 409, "OperationAborted") }, "409 OperationAborted"},
		{"reset", func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
		}, "connection reset by peer"},
		{"no answer", hangs, "nothing came or went for 30s"},
	} {
		for _, op := range operations {
			if op.name == "head" && strings.HasPrefix(c.name, "409") {
				continue // an answer to HEAD has no code, and S3 gives these to writes
			}
			t.Run(c.name+" "+op.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { checkRetries(t, op, c.bad, c.says, c.name == "no answer") })
			})
		}
	}
}

func checkRetries(t *testing.T, op operation, bad func(r *http.Request) (*http.Response, error), says string, stalls bool) {
	times := 2
	s, plain, way := openFake(t, func(n int, r *http.Request, server http.RoundTripper) (*http.Response, error) {
		if n < times {
			return bad(r)
		}
		return server.RoundTrip(r)
	})
	putK(t, plain, "0123456789")
	if err := op.do(t.Context(), s); err != nil || way.n != 3 {
		t.Errorf("it comes twice: %v after %d requests; expected success after 3", err, way.n)
	}
	if err := plain.Delete(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	way.n, times = 0, 1<<30
	start := time.Now()
	err := op.do(t.Context(), s)
	for _, kind := range []error{objstore.ErrExists, objstore.ErrNotExist, objstore.ErrChanged, objstore.ErrDenied} {
		if errors.Is(err, kind) {
			t.Errorf("it comes always: %v is %v", err, kind)
		}
	}
	if errors.Is(err, objstore.ErrThrottled) != strings.HasPrefix(says, "503") {
		t.Errorf("it comes always: ErrThrottled is %v of %v", errors.Is(err, objstore.ErrThrottled), err)
	}
	if op.name == "head" && !stalls {
		says, _, _ = strings.Cut(says, " ") // the status
	}
	if err == nil || way.n != attempts || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "after 8 attempts") ||
		!strings.HasPrefix(err.Error(), op.name[:3]) || !strings.Contains(err.Error(), "s3://") || len(err.Error()) > 250 {
		t.Errorf("it comes always: %v after %d requests; expected %q after %d", err, way.n, says, attempts)
	}
	least := time.Duration(0)
	if stalls {
		least = attempts * stallTimeout
	}
	if took := time.Since(start); took < least || took > least+(attempts-1)*maxBackoff {
		t.Errorf("it comes always: %v by the test's clock; expected %v, and %d pauses of at most %v", took, least, attempts-1, maxBackoff)
	}
}

// TestS3Final has errors that to try again would not mend: there is one request.
func TestS3Final(t *testing.T) {
	server := storetest.S3(t)
	for _, c := range []struct {
		name   string
		status int
		code   string
		header []string
		op     int
		kind   error
		says   string
	}{
		{"412 put new", 412, "PreconditionFailed", nil, 3, objstore.ErrExists, "412 PreconditionFailed"},
		{"412 get", 412, "PreconditionFailed", nil, 1, objstore.ErrChanged, "412"},
		{"304 get", 304, "", nil, 1, objstore.ErrChanged, "304"},
		{"403 head", 403, "Forbidden", nil, 0, objstore.ErrDenied, "403"},
		{"403 get", 403, "AccessDenied", nil, 1, objstore.ErrDenied, "403 AccessDenied"},
		{"403 put", 403, "AccessDenied", nil, 2, objstore.ErrDenied, "403 AccessDenied"},
		{"403 list", 403, "AccessDenied", nil, 4, objstore.ErrDenied, "403 AccessDenied"},
		{"404 get", 404, "NoSuchKey", nil, 1, objstore.ErrNotExist, "404 NoSuchKey"},
		{"301 get", 301, "PermanentRedirect", []string{"X-Amz-Bucket-Region", "eu-west-3", "Location", "http://127.0.0.1:1/"}, 1, nil, "AWS_REGION=eu-west-3"},
		{"404 delete", 404, "NoSuchKey", nil, 6, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, plain, way := openThrough(t, server, func(_ int, r *http.Request, _ http.RoundTripper) (*http.Response, error) {
				return answers(r, c.status, c.code, c.header...)
			})
			putK(t, plain, "0123456789")
			err := operations[c.op].do(t.Context(), s)
			if c.kind != nil && !errors.Is(err, c.kind) || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) || way.n != 1 {
				t.Errorf("%v after %d requests; expected %v, %q, after 1", err, way.n, c.kind, c.says)
			}
		})
	}
}

// onBoth runs a test against versitygw, unless its fault is a stall, and against the fake S3.
func onBoth(t *testing.T, server *s3server.Server, stalls bool, f fault, test func(t *testing.T, s, plain objstore.Store, way *faulty)) {
	t.Helper()
	if !stalls {
		t.Run("versitygw", func(t *testing.T) {
			s, plain, way := openThrough(t, server, f)
			test(t, s, plain, way)
		})
	}
	t.Run("fake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, plain, way := openFake(t, f)
			test(t, s, plain, way)
		})
	})
}

// TestS3AnswerLost loses the answer to a write that was done. The next attempt finds the object there, which is the
// caller's own.
func TestS3AnswerLost(t *testing.T) {
	server := storetest.S3(t)
	content := strings.Repeat("mine", 50_000)
	for what, lose := range map[string]func(r *http.Request) (*http.Response, error){
		"stall": hangs,
		"reset": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection reset by peer") },
		"500":   func(r *http.Request) (*http.Response, error) { return answers(r, 500, "InternalError") },
	} {
		t.Run(what, func(t *testing.T) {
			lost := func(n int, r *http.Request, server http.RoundTripper) (*http.Response, error) {
				response, err := server.RoundTrip(r)
				if n > 0 || err != nil {
					return response, err
				}
				_ = response.Body.Close()
				return lose(r)
			}
			onBoth(t, server, what == "stall", lost, func(t *testing.T, s, _ objstore.Store, way *faulty) {
				if err := s.PutNew(t.Context(), "k", strings.NewReader(content)); !errors.Is(err, objstore.ErrExists) || way.n != 2 {
					t.Errorf("put new: %v after %d requests", err, way.n)
				}
				if b, err := readAll(t.Context(), s, "k", 0); string(b) != content || err != nil {
					t.Errorf("%d bytes, %v", len(b), err)
				}
				way.n = 0
				if err := s.Put(t.Context(), "k", strings.NewReader(content)); err != nil || way.n != 2 {
					t.Errorf("put: %v after %d requests", err, way.n)
				}
			})
		})
	}
}

// body is a fault that replaces the body of the nth answer by what a function makes of it.
func body(of func(n int, r *http.Request, body io.Reader) io.Reader) fault {
	return func(n int, r *http.Request, server http.RoundTripper) (*http.Response, error) {
		response, err := server.RoundTrip(r)
		if err == nil && r.Method == http.MethodGet {
			response.Body = struct {
				io.Reader
				io.Closer
			}{of(n, r, response.Body), response.Body}
		}
		return response, err
	}
}

// cut is a body that ends after left bytes, with the error that then gives.
type cut struct {
	io.Reader
	left int
	then func() error
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, c.then()
	}
	n, err := c.Reader.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// TestS3BodyCut has bodies that end early: by an error, without one, or by a stall. A read fails, and Fetch goes on.
func TestS3BodyCut(t *testing.T) {
	server := storetest.S3(t)
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	if testing.Short() {
		content = content[:600_000] // Fetch pauses once, not three times
	}
	const piece = 300_001
	requests := (len(content) + piece - 1) / piece
	for what, c := range map[string]struct {
		cut func(r *http.Request, body io.Reader) io.Reader
		is  func(error) bool
	}{
		"by an error": {func(_ *http.Request, body io.Reader) io.Reader {
			return &cut{body, piece, func() error { return io.ErrUnexpectedEOF }}
		}, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		"without one": {func(_ *http.Request, body io.Reader) io.Reader {
			return &cut{body, piece, func() error { return io.EOF }}
		}, func(err error) bool { return err != nil }},
		"by a stall": {func(r *http.Request, body io.Reader) io.Reader {
			return &cut{body, piece, func() error { <-r.Context().Done(); return r.Context().Err() }}
		}, func(err error) bool { return err != nil && strings.Contains(err.Error(), "nothing came or went") }},
	} {
		t.Run(what, func(t *testing.T) {
			cuts := body(func(_ int, r *http.Request, body io.Reader) io.Reader { return c.cut(r, body) })
			onBoth(t, server, what == "by a stall", cuts, func(t *testing.T, s, plain objstore.Store, way *faulty) {
				putK(t, plain, string(content))
				for _, from := range []int64{0, 1000} {
					b, err := readAll(t.Context(), s, "k", from)
					if !c.is(err) || !bytes.Equal(b, content[from:from+piece]) || !strings.Contains(err.Error(), fmt.Sprintf("at byte %d", from+piece)) {
						t.Errorf("from %d: %d bytes, %v", from, len(b), err)
					}
				}
				way.n = 0
				var b bytes.Buffer
				o, err := objstore.Fetch(t.Context(), s, "k", &b)
				if err != nil || !bytes.Equal(b.Bytes(), content) || o.Size != int64(len(content)) || way.n != requests {
					t.Errorf("fetch: %d bytes, %+v, %v after %d requests", b.Len(), o, err, way.n)
				}
			})
		})
	}
}

// TestS3BodyChanged replaces the object after a Fetch has read a part of it.
func TestS3BodyChanged(t *testing.T) {
	server := storetest.S3(t)
	var plain objstore.Store
	s, plain, _ := openThrough(t, server, body(func(n int, _ *http.Request, body io.Reader) io.Reader {
		if err := plain.Put(context.Background(), "k", strings.NewReader("abcdefghij")); err != nil {
			t.Error(err)
		}
		return io.LimitReader(body, 4)
	}))
	putK(t, plain, "0123456789")
	var b bytes.Buffer
	if _, err := objstore.Fetch(t.Context(), s, "k", &b); !errors.Is(err, objstore.ErrChanged) || b.String() != "0123" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

// TestS3BodyWrong flips a bit on the way. The SDK compares a whole body with the checksum that the Put stored.
func TestS3BodyWrong(t *testing.T) {
	server := storetest.S3(t)
	s, plain, _ := openThrough(t, server, body(func(_ int, _ *http.Request, body io.Reader) io.Reader {
		b, _ := io.ReadAll(body)
		b[len(b)/2] ^= 1
		return bytes.NewReader(b)
	}))
	putK(t, plain, "0123456789")
	if _, err := objstore.Fetch(t.Context(), s, "k", io.Discard); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a body with a bit flipped: %v", err)
	}
}

// huge is a body of one byte more than S3 takes in one request.
type huge struct{ at int64 }

func (h *huge) Read([]byte) (int, error) { return 0, errors.New("it was read") }

func (h *huge) Seek(offset int64, whence int) (int64, error) {
	h.at = map[int]int64{io.SeekStart: 0, io.SeekCurrent: h.at, io.SeekEnd: 5<<30 + 1}[whence] + offset
	return h.at, nil
}

func TestS3TooLarge(t *testing.T) {
	server := storetest.S3(t)
	s, _, way := openThrough(t, server, func(int, *http.Request, http.RoundTripper) (*http.Response, error) { return nil, errCut })
	for _, err := range []error{s.Put(t.Context(), "k", &huge{}), s.PutNew(t.Context(), "k", &huge{})} {
		if err == nil || !strings.Contains(err.Error(), "5368709121 bytes") || way.n != 0 {
			t.Errorf("%v, after %d requests", err, way.n)
		}
	}
}

// TestS3NoBucket tells a missing bucket from a missing object.
func TestS3NoBucket(t *testing.T) {
	storetest.S3(t)
	for _, op := range operations {
		s, err := objstore.OpenS3(t.Context(), "no-such-bucket", "p", objstore.S3Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = op.do(t.Context(), s)
		if !errors.Is(err, objstore.ErrNoBucket) || errors.Is(err, objstore.ErrNotExist) || !strings.Contains(err.Error(), "s3://no-such-bucket/p") {
			t.Errorf("%s: %v", op.name, err)
		}
	}
}

func TestS3WrongKeys(t *testing.T) {
	server := storetest.S3(t)
	if err := server.CreateBucket(t.Context(), "b-1"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	s, err := objstore.OpenS3(t.Context(), "b-1", "", objstore.S3Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range operations {
		if err := op.do(t.Context(), s); !errors.Is(err, objstore.ErrDenied) {
			t.Errorf("%s: %v", op.name, err)
		}
	}
}

// withoutCredentials has an environment in which no credentials are found.
func withoutCredentials(t *testing.T) {
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "USERPROFILE": home, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "", "AWS_CONFIG_FILE": "", "AWS_SHARED_CREDENTIALS_FILE": "",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
	} {
		t.Setenv(name, value)
	}
}

// TestS3Environment has an environment without credentials, and then one without a region.
func TestS3Environment(t *testing.T) {
	withoutCredentials(t)
	for _, says := range []string{"set AWS_PROFILE, or AWS_ACCESS_KEY_ID", "set AWS_REGION"} {
		if _, err := objstore.Open(t.Context(), "s3://b/p"); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "s3://b") {
			t.Errorf("%v; expected an error that says %q", err, says)
		}
		t.Setenv("AWS_ACCESS_KEY_ID", "x")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	}
}
