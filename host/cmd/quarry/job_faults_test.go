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

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/storetest"
	"github.com/quarry-hn/quarry/host/run"
)

// breaking is a store whose reads fail from the read number at on: at once, or after some bytes.
type breaking struct {
	objstore.Store
	reads, at int
	after     int64
	stop      context.CancelFunc // is called then, and interrupts the command; nil for nothing
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
	t.Parallel()
	w := demoFolder(t)
	w.mustRun(t, initLine)
	w.mustRun(t, runLine)
	at, err := job.Locate(t.Context(), w.path(nightly), "")
	if err != nil {
		t.Fatal(err)
	}
	reads := &breaking{Store: at.Out, at: -1}
	whole := &job.Place{Name: at.Name, In: at.In, Out: reads}
	if _, err := fetch(t.Context(), whole, run.OutputsBeside(w.path("out/whole.jsonl"), false, false)); err != nil || reads.reads < 3 {
		t.Fatalf("%d reads, %v", reads.reads, err)
	}
	w.write(t, files{"out/old.jsonl": "old", "out/old.manifest.json": "old"})
	before := w.tree(t)
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
						if _, err := fetch(ctx, &job.Place{Name: at.Name, In: at.In, Out: b}, run.OutputsBeside(w.path(output), false, true)); err == nil || b.reads <= number {
							t.Errorf("read %d, after %d bytes, stopped %v: %d reads, %v", number, after, stopped, b.reads, err)
						}
						w.checkUnchanged(t, before)
					})
				}
			}
		}
	}
}

// gate is a proxy of an S3 server that answers one of the requests that write with an error. The server does not get
// that request; or, where done is true, gets it, and its answer is lost.
type gate struct {
	http.Handler
	mutex  sync.Mutex
	writes int // that came since the gate was armed
	fail   int // the number of the write that fails, from 0; -1 for none
	done   bool
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	write := r.Method == http.MethodPut || r.Method == http.MethodDelete
	g.mutex.Lock()
	fails, done := write && g.writes == g.fail, g.done
	if write {
		g.writes++
	}
	g.mutex.Unlock()
	if !fails {
		g.Handler.ServeHTTP(w, r)
		return
	}
	if done {
		g.Handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprint(w, "<Error><Code>InternalError</Code><Message>As the test wants.</Message></Error>")
}

// arm makes the write of that number fail, counted from now on. -1 makes none fail.
func (g *gate) arm(number int, done bool) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.writes, g.fail, g.done = 0, number, done
}

// seen is how many writes came since the gate was armed.
func (g *gate) seen() int {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.writes
}

// gatedServer starts an S3 server behind a gate, with the two buckets of a job. S3 URLs lead there.
func gatedServer(t *testing.T) *gate {
	t.Helper()
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
	t.Cleanup(proxy.Close)
	t.Setenv("AWS_ENDPOINT_URL_S3", proxy.URL)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	return g
}

// TestJobCommandsWhoseWritesFail makes each write of init, init --force and cancel fail in turn. The command fails, and
// the same command again puts all in order. -short takes the first write, the last and one between.
func TestJobCommandsWhoseWritesFail(t *testing.T) {
	g := gatedServer(t)
	w := demoFolder(t)
	w.mustRun(t, mineLine+" --projection ./p.safetensors")
	const at = "s3://my-quarry/jobs/nightly"
	const line = "job init ./data --projection ./p.safetensors --bucket s3://my-quarry --job nightly --engine native --shards "
	for _, c := range []struct {
		name, before, line string
		writes             int // of the command, where none fails
		after              func(t *testing.T)
	}{
		{"init", "", line + "3", 7, func(t *testing.T) {
			w.mustRun(t, "job run --engine native "+at)
			w.mustRun(t, "job fetch --force -o ./out/j.jsonl "+at)
			w.checkFetched(t)
		}},
		{"init --force", line + "2 --top 2", line + "3 --force", 25, func(t *testing.T) {
			w.mustRun(t, "job run --engine native "+at)
			w.mustRun(t, "job fetch --force -o ./out/j.jsonl "+at)
			w.checkFetched(t)
		}},
		{"cancel", line + "3", "job cancel " + at, 7, func(t *testing.T) {
			var s job.Status
			if decodeStrictly(t, w.mustRun(t, "job status --json "+at), &s); s.State != job.Cancelled || s.Mined != 0 {
				t.Errorf("%+v", s)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := func(fail int, done bool) {
				g.arm(-1, false)
				empty(t)
				if c.before != "" {
					w.mustRun(t, c.before)
					w.mustRun(t, "job run --engine native "+at)
				}
				g.arm(fail, done)
			}
			begin(-1, false)
			w.mustRun(t, c.line)
			if n := g.seen(); n != c.writes {
				t.Fatalf("%d writes, expected %d", n, c.writes)
			}
			for number := range c.writes {
				if testing.Short() && number != 0 && number != c.writes/2 && number != c.writes-1 {
					continue
				}
				for _, done := range []bool{false, true} {
					if testing.Short() && done == (number == 0) {
						continue // the first write is not done, the others are
					}
					begin(number, done)
					o := w.quarry(t.Context(), c.line)
					if o.code != exitFailure || !strings.Contains(o.stderr, "500 InternalError") || o.stdout != "" {
						t.Errorf("write %d, done is %v: exit %d: %s", number, done, o.code, o.stderr)
					}
					g.arm(-1, false)
					w.mustRun(t, c.line)
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
