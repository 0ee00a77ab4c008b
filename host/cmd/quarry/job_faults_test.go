package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/storetest"
)

// breaking is a store whose reads fail from one of them on: at once, or after some bytes, at the last of them too.
type breaking struct {
	objstore.Store
	reads, at int
	after     int64
	stop      context.CancelFunc // interrupts the command then; nil for not
}

var errBroken = errors.New("the network is gone")

func (b *breaking) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, objstore.Object, error) {
	number := b.reads
	b.reads++
	r, o, err := b.Store.Get(ctx, key, from, etag)
	if b.at < 0 || number < b.at || err != nil {
		return r, o, err
	}
	if b.stop != nil {
		b.stop()
	}
	if b.after == 0 {
		_ = r.Close()
		return nil, o, errBroken
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, b.after), broken{}), r}, o, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// TestFetchLeavesNothing: a fetch that fails at any read, at once or after some bytes, leaves what was there before.
func TestFetchLeavesNothing(t *testing.T) {
	demoFolder(t)
	mustRun(t, initLine)
	mustRun(t, "job run --engine native "+nightly)
	at, err := job.Locate(t.Context(), nightly, "")
	if err != nil {
		t.Fatal(err)
	}
	reads := &breaking{Store: at.Out, at: -1}
	whole := &job.Place{Name: at.Name, In: at.In, Out: reads}
	if _, err := fetch(t.Context(), whole, host.OutputsBeside("out/whole.jsonl", false, false)); err != nil || reads.reads < 3 {
		t.Fatalf("%d reads, %v", reads.reads, err)
	}
	files{"out/old.jsonl": "old", "out/old.manifest.json": "old"}.write(t, ".")
	before := tree(t)
	for number := range reads.reads {
		for _, after := range []int64{0, 1, 100} {
			for _, output := range []string{"out/new.jsonl", "out/old.jsonl"} {
				for _, stopped := range []bool{false, true} {
					synctest.Test(t, func(t *testing.T) { // pauses between tries take no time
						ctx, stop := context.WithCancel(t.Context())
						defer stop()
						b := &breaking{Store: at.Out, at: number, after: after}
						if stopped {
							b.stop = stop
						}
						if _, err := fetch(ctx, &job.Place{Name: at.Name, In: at.In, Out: b}, host.OutputsBeside(output, false, true)); err == nil || b.reads <= number {
							t.Errorf("read %d, after %d bytes, stopped %v: %d reads, %v", number, after, stopped, b.reads, err)
						}
						checkUnchanged(t, before)
					})
				}
			}
		}
	}
}

// gate is the way to an S3 server on which one request that writes fails, with all its tries: it is not done, or done and not answered.
type gate struct {
	http.Handler
	mu           sync.Mutex
	writes, fail int
	done         bool
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	number := -1
	if r.Method == http.MethodPut || r.Method == http.MethodDelete {
		g.mu.Lock()
		number = g.writes
		g.writes++
		g.mu.Unlock()
	}
	if number < 0 || number != g.fail {
		g.Handler.ServeHTTP(w, r)
		return
	}
	if g.done {
		g.Handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprint(w, "<Error><Code>InternalError</Code><Message>As the test wants.</Message></Error>")
}

// arm has a write fail, counted from now on.
func (g *gate) arm(number int, done bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes, g.fail, g.done = 0, number, done
}

// TestJobCommandsWhoseWritesFail has each write of init, init --force and cancel fail in turn, by the command line. It is an error, and the same command
// again puts all in order.
func TestJobCommandsWhoseWritesFail(t *testing.T) {
	server := storetest.S3(t)
	for _, name := range []string{"my-quarry", "my-quarry-results"} {
		if err := server.CreateBucket(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	to, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{fail: -1, Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // which is signed
	}, ErrorLog: log.New(io.Discard, "", 0)}}
	proxy := httptest.NewServer(g)
	defer proxy.Close()
	t.Setenv("AWS_ENDPOINT_URL_S3", proxy.URL)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	demoFolder(t)
	mustRun(t, "fit data -o out/p.safetensors")
	mustRun(t, "mine data --projection out/p.safetensors -o out/n.jsonl --engine native")
	want := tree(t)["out/n.jsonl"]
	const at = "s3://my-quarry/jobs/nightly"
	const line = "job init data --projection out/p.safetensors --bucket s3://my-quarry --job nightly --engine native --shards "
	finished := func(t *testing.T) {
		mustRun(t, "job run --engine native "+at)
		mustRun(t, "job fetch --force -o out/j.jsonl "+at)
		if tree(t)["out/j.jsonl"] != want {
			t.Error("the job's negatives differ from those of mine")
		}
	}
	for _, c := range []struct {
		name, before, line string
		after              func(t *testing.T)
	}{
		{"init", "", line + "3", finished},
		{"init --force", line + "2 --top 2", line + "3 --force", finished},
		{"cancel", line + "3", "job cancel " + at, func(t *testing.T) {
			if s := status(t, at); s.State != job.Cancelled || s.Mined != 0 {
				t.Errorf("%+v", s)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			failed := 0
			for number := 0; ; number++ {
				for _, done := range []bool{false, true} {
					g.arm(-1, false)
					empty(t)
					if c.before != "" {
						mustRun(t, c.before)
						if o := quarry(t.Context(), "job run --engine native "+at); o.code != exitOK {
							t.Fatal(o.stderr)
						}
					}
					g.arm(number, done)
					o := quarry(t.Context(), c.line)
					if g.writes <= number {
						t.Logf("%d writes failed", failed)
						if failed < 5 {
							t.Error("it is known to write more often")
						}
						return
					}
					failed++
					if o.code != exitFailure || !strings.Contains(o.stderr, "500 InternalError") || o.stdout != "" {
						t.Errorf("write %d, done is %v: exit %d: %s", number, done, o.code, o.stderr)
					}
					g.arm(-1, false)
					mustRun(t, c.line)
					c.after(t)
				}
			}
		})
	}
}

// empty removes all objects of both buckets.
func empty(t *testing.T) {
	t.Helper()
	for _, bucket := range []string{"s3://my-quarry", "s3://my-quarry-results"} {
		s, err := objstore.Open(t.Context(), bucket)
		if err != nil {
			t.Fatal(err)
		}
		for o, err := range s.List(t.Context(), "", "") {
			if err == nil {
				err = s.Delete(t.Context(), o.Key)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
