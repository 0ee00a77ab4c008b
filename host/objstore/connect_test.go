package objstore_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quarry-hn/quarry/host/objstore"
)

// dial makes the nth connection of a client, from 0. serve gives one to a fake S3.
type dial func(ctx context.Context, n int, serve func() net.Conn) (net.Conn, error)

// openDialled opens a bucket of a fake S3 at an endpoint, by way of connections that a function makes. n counts them.
// Call it in a bubble of synctest.
func openDialled(t *testing.T, endpoint string, d dial) (s objstore.Store, n *atomic.Int32) {
	t.Helper()
	server, n := &fakeS3{objects: map[string][]byte{"/bucket/below/k": []byte("0123456789")}}, &atomic.Int32{}
	serve := func() net.Conn {
		client, end := net.Pipe()
		go func() {
			defer end.Close()
			r, err := http.ReadRequest(bufio.NewReader(end))
			if err != nil {
				return // the client gave up
			}
			r.URL.Path = strings.TrimPrefix(r.URL.Path, "http://s3.test")
			if response, err := server.RoundTrip(r); err == nil {
				_ = response.Write(end)
			}
		}()
		return client
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d(ctx, int(n.Add(1)-1), serve)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return openAt(t, endpoint, transport), n
}

var (
	errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errors.New("connection refused"))}
	errNoName  = &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "s3.test", IsNotFound: true}}
)

func refuses(context.Context, int, func() net.Conn) (net.Conn, error) { return nil, errRefused }

// nobody takes the connection.
func nobody(ctx context.Context, _ int, _ func() net.Conn) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestS3Unreachable has endpoints that never take a connection. Each operation, and a ReadAll, gives up after a few
// seconds, and says what to check.
func TestS3Unreachable(t *testing.T) {
	operations := append([]operation{{"get all", func(ctx context.Context, s objstore.Store) error {
		_, _, err := objstore.ReadAll(ctx, s, "k", 100)
		return err
	}}}, operations...)
	for _, c := range []struct {
		name  string
		at    string
		dial  dial
		dials int // at most
		says  string
	}{
		{"refused", "http://s3.test", refuses, attempts, "http://s3.test cannot be reached: dial tcp: connect: connection refused, after "},
		{"no such name", "http://s3.test", func(context.Context, int, func() net.Conn) (net.Conn, error) { return nil, errNoName }, 1, "no such host"},
		{"nobody", "http://s3.test:9000", nobody, 1, "http://s3.test:9000 cannot be reached: no connection came about for 5s"},
		{"no TLS", "https://s3.test", func(_ context.Context, _ int, serve func() net.Conn) (net.Conn, error) { return serve(), nil }, attempts, "https://s3.test cannot be reached: "},
		{"silence instead of TLS", "https://s3.test", func(ctx context.Context, _ int, _ func() net.Conn) (net.Conn, error) {
			client, server := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, server) }()
			return client, nil
		}, 1, "the TLS handshake did not end for 5s"},
	} {
		for _, op := range operations {
			t.Run(c.name+" "+op.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, n := openDialled(t, c.at, c.dial)
					start := time.Now()
					err := op.do(t.Context(), s)
					for _, says := range []string{op.name[:3], "s3://bucket/below/", c.says, "\n  hint: check AWS_ENDPOINT_URL_S3"} {
						if err == nil || !strings.Contains(err.Error(), says) {
							t.Errorf("%v; expected an error that says %q", err, says)
						}
					}
					if took := time.Since(start); n.Load() == 0 || int(n.Load()) > c.dials || took > 5*time.Second {
						t.Errorf("%v, after %d dials and %v by the test's clock; expected at most %d", err, n.Load(), took, c.dials)
					}
				})
			})
		}
	}
}

// TestS3UnreachableAtTimes has an endpoint that takes no connection for a while. A request is tried again: at first for
// some seconds, and as often as all others once the endpoint has answered.
func TestS3UnreachableAtTimes(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes func(n int) bool
		dials []int // after each of the Gets, the last of which fails where an attempt is missing
	}{
		{"twice", func(n int) bool { return n > 1 }, []int{3, 4}},
		{"after an answer", func(n int) bool { return n == 0 || n == attempts }, []int{1, 1 + attempts}},
		{"always, after an answer", func(n int) bool { return n == 0 }, []int{1, 1 + attempts}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, n := openDialled(t, "http://s3.test", func(ctx context.Context, n int, serve func() net.Conn) (net.Conn, error) {
					if c.takes(n) {
						return serve(), nil
					}
					return refuses(ctx, n, serve)
				})
				for i, dials := range c.dials {
					b, err := readAll(t.Context(), s, "k", 0)
					fails := i == 1 && strings.HasPrefix(c.name, "always")
					if int(n.Load()) != dials || fails != (err != nil) || err == nil && string(b) != "0123456789" {
						t.Errorf("get %d: %q, %v, after %d dials; expected %d", i, b, err, n.Load(), dials)
					}
					if fails && (!strings.Contains(err.Error(), "after 8 attempts") || strings.Contains(err.Error(), "hint")) {
						t.Errorf("%v", err)
					}
				}
			})
		})
	}
}

// TestS3UnreachableFetch has an endpoint that stops to take connections after the first. ReadAll goes on trying, since
// the address is right.
func TestS3UnreachableFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const downFor = 3 * attempts
		s, n := openDialled(t, "http://s3.test", func(ctx context.Context, n int, serve func() net.Conn) (net.Conn, error) {
			if n == 0 || n > downFor {
				return serve(), nil
			}
			return refuses(ctx, n, serve)
		})
		for range 2 {
			if b, _, err := objstore.ReadAll(t.Context(), s, "k", 100); err != nil || string(b) != "0123456789" {
				t.Errorf("%q, %v", b, err)
			}
		}
		if n.Load() != downFor+2 {
			t.Errorf("%d dials, expected %d", n.Load(), downFor+2)
		}
	})
}

// TestS3SlowName has a name server that does not answer within its 5 s, so that another has to be asked. Then the
// endpoint takes the connection only just in time.
func TestS3SlowName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n := openDialled(t, "http://s3.test", func(ctx context.Context, _ int, serve func() net.Conn) (net.Conn, error) {
			trace := httptrace.ContextClientTrace(ctx)
			trace.DNSStart(httptrace.DNSStartInfo{Host: "s3.test"})
			time.Sleep(6 * time.Second)
			trace.DNSDone(httptrace.DNSDoneInfo{})
			time.Sleep(4 * time.Second)
			return serve(), ctx.Err()
		})
		if b, err := readAll(t.Context(), s, "k", 0); err != nil || string(b) != "0123456789" || n.Load() != 1 {
			t.Errorf("%q, %v, after %d dials", b, err, n.Load())
		}
	})
}

// TestS3LateSteps has a transport that goes on with a connection which it began for a request that then got another. That
// connection's steps do not cut off the answer, which takes longer than each of them may.
func TestS3LateSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, plain, way := openFake(t, func(_ int, r *http.Request, server http.RoundTripper) (*http.Response, error) {
			trace := httptrace.ContextClientTrace(r.Context())
			trace.GetConn("s3.test:80")
			trace.GotConn(httptrace.GotConnInfo{Reused: true})
			trace.DNSDone(httptrace.DNSDoneInfo{})
			time.Sleep(stallTimeout / 2)
			response, err := server.RoundTrip(r)
			if err == nil {
				trace.TLSHandshakeStart()
				response.Body = io.NopCloser(slowBody{r.Context(), response.Body})
			}
			return response, err
		})
		putK(t, plain, "0123456789")
		if b, err := readAll(t.Context(), s, "k", 0); err != nil || string(b) != "0123456789" || way.n != 1 {
			t.Errorf("%q, %v, after %d requests", b, err, way.n)
		}
	})
}

// TestS3UnreachableSays has the endpoint from each place that it may come from. The error names the place.
func TestS3UnreachableSays(t *testing.T) {
	config := t.TempDir() + "/config"
	if err := os.WriteFile(config, []byte("[default]\nendpoint_url = http://of-the-file.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ of, all, file, endpoint, check string }{
		{"http://of-s3.test", "http://of-all.test", config, "http://of-s3.test", "check AWS_ENDPOINT_URL_S3"},
		{"", "http://of-all.test", config, "http://of-all.test", "check AWS_ENDPOINT_URL"},
		{"", "", config, "http://of-the-file.test", "check endpoint_url in the AWS configuration file"},
		{"", "", config + "-no", "https://bucket.s3.eu-no-1.amazonaws.com", "check the network, and AWS_REGION, which is eu-no-1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errRefused }}
			openAt(t, "", transport) // for its environment
			t.Setenv("AWS_ENDPOINT_URL_S3", c.of)
			t.Setenv("AWS_ENDPOINT_URL", c.all)
			t.Setenv("AWS_CONFIG_FILE", c.file)
			t.Setenv("AWS_REGION", "eu-no-1")
			s, err := objstore.OpenS3(t.Context(), "bucket", "below", objstore.S3Options{HTTPClient: &http.Client{Transport: transport}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Head(t.Context(), "k")
			if text := err.Error(); !strings.Contains(text, c.endpoint+" cannot be reached") || !strings.HasSuffix(text, "\n  hint: "+c.check) {
				t.Errorf("%s", text)
			}
		})
	}
}
