package objstore_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slowBody gives one byte at a time, each just before it would count as a stall. Like the body of a real connection, it
// fails once the request is given up.
type slowBody struct {
	ctx context.Context
	io.Reader
}

func (s slowBody) Read(p []byte) (int, error) {
	time.Sleep(stallTimeout - time.Second)
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Reader.Read(p[:1])
}

// TestS3SlowDownload has an answer's body that takes ten times the time-out in all, and a caller that twice reads
// nothing for longer than the time-out. Neither is a stall.
func TestS3SlowDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, plain, way := openFake(t, body(func(_ int, r *http.Request, body io.Reader) io.Reader { return slowBody{r.Context(), body} }))
		putK(t, plain, "0123456789")
		r, _, err := s.Get(t.Context(), "k", 0, "")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * stallTimeout)
		first := make([]byte, 3)
		if _, err := io.ReadFull(r, first); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * stallTimeout)
		if b, err := io.ReadAll(r); string(first)+string(b) != "0123456789" || err != nil || r.Close() != nil || way.n != 1 {
			t.Errorf("%q, %v, after %d requests", b, err, way.n)
		}
	})
}

// pipes are connections without a socket: serve is called on the server's end of each.
type pipes struct {
	*http.Transport
	n atomic.Int32 // connections so far
}

func newPipes(t *testing.T, serve func(c net.Conn)) *pipes {
	p := &pipes{}
	p.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		p.n.Add(1)
		go func() {
			serve(server)
			_ = server.Close()
		}()
		return client, nil
	}}
	t.Cleanup(p.CloseIdleConnections)
	return p
}

// TestS3StalledUpload has a server that takes the connection, and then reads nothing. Each attempt is given up.
func TestS3StalledUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		p := newPipes(t, func(net.Conn) { <-done })
		s := openAt(t, "http://s3.test", p)
		start := time.Now()
		err := s.Put(t.Context(), "k", bytes.NewReader(make([]byte, 1<<20)))
		if err == nil || !strings.Contains(err.Error(), "nothing came or went for 30s") || !strings.Contains(err.Error(), "8 attempts") || p.n.Load() != attempts {
			t.Errorf("%v, after %d connections", err, p.n.Load())
		}
		if took := time.Since(start); took < attempts*stallTimeout || took > attempts*stallTimeout+(attempts-1)*maxBackoff {
			t.Errorf("it took %v by the test's clock", took)
		}
		close(done)
	})
}

// TestS3SlowUpload has a server that reads a few kilobytes at a time, with pauses shorter than the time-out. The upload
// takes much longer than the time-out, and its first attempt succeeds.
func TestS3SlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
		var got []byte
		p := newPipes(t, func(c net.Conn) {
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				t.Error(err)
				return
			}
			for piece := make([]byte, 8<<10); len(got) < len(content); {
				time.Sleep(stallTimeout / 10)
				read, err := r.Body.Read(piece)
				if got = append(got, piece[:read]...); err != nil && err != io.EOF {
					t.Error(err)
					return
				}
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\n\r\n")
		})
		s := openAt(t, "http://s3.test", p)
		start := time.Now()
		if err := s.Put(t.Context(), "k", bytes.NewReader(content)); err != nil || p.n.Load() != 1 || !bytes.Equal(got, content) {
			t.Errorf("%v, after %d connections, and %d bytes came", err, p.n.Load(), len(got))
		}
		if took := time.Since(start); took < 2*stallTimeout {
			t.Errorf("it took %v by the test's clock: too short to tell", took)
		}
	})
}
