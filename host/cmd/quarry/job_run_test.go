package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
)

// The runs of these tests wait in a bubble of testing/synctest: its clock stands still while anything is at work, and
// synctest.Wait returns once every run waits for a shard.

// waitLine waits for shards, by the bubble's clock.
const waitLine = runLine + " --wait 60s"

// TestJobRunsAtOnce: two runs share a job whose last shards come while they wait.
func TestJobRunsAtOnce(t *testing.T) {
	t.Parallel()
	w := demoFolder(t)
	w.mustRun(t, mineLine+" --projection ./p.safetensors")
	w.mustRun(t, initLine)
	late := w.tree(t)
	w.remove(t, shard(2), shard(5))
	outputs := make([]output, 2)
	synctest.Test(t, func(t *testing.T) {
		var runs sync.WaitGroup
		for i := range outputs {
			runs.Go(func() { outputs[i] = w.quarry(t.Context(), waitLine+" --json") })
		}
		for _, i := range []int{5, 2} {
			time.Sleep(20 * time.Second) // by the bubble's clock: they mine what is there, and wait
			synctest.Wait()
			w.write(t, files{"late": late[shard(i)]})
			w.rename(t, "late", shard(i))
		}
		runs.Wait()
	})
	committed, mined := 0, 0
	for _, o := range outputs {
		if o.code != exitOK || o.stderr != "" {
			t.Fatalf("exit %d: %s", o.code, o.stderr)
		}
		var s workSummary
		decodeStrictly(t, o.stdout, &s)
		if s.State != job.Finished {
			t.Errorf("a run ended with the job %s", s.State)
		}
		if mined += s.Shards; s.Committed {
			committed++
		}
	}
	if committed != 1 || mined < 8 {
		t.Errorf("%d of the runs wrote the result, and both mined %d shards", committed, mined)
	}
	w.mustRun(t, fetchLine)
	w.checkFetched(t)
}

// reading is a store that notes which shards are read, in order.
type reading struct {
	objstore.Store
	mutex  sync.Mutex
	shards []string
}

func (r *reading) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, objstore.Object, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if strings.HasPrefix(key, "shards/") && !slices.Contains(r.shards, key) {
		r.shards = append(r.shards, key)
	}
	return r.Store.Get(ctx, key, from, etag)
}

// TestJobRunsInAnyOrder: a run takes the shards in a random order. Two runs that took them by name would go on side by
// side, at the same shard, once they meet. In a random order of 40 shards about one follows its predecessor by name; the
// probability that twenty do is below 1e-17.
func TestJobRunsInAnyOrder(t *testing.T) {
	t.Parallel()
	w := demoFolder(t)
	w.mustRun(t, strings.Replace(initLine, "--shards 8", "--shards 40", 1))
	at, err := job.Locate(t.Context(), w.path(nightly), "")
	if err != nil {
		t.Fatal(err)
	}
	in := &reading{Store: at.In}
	a := &app{stdout: io.Discard, stderr: io.Discard}
	workers := &localWorkers{meter: a.newMeter(), compute: mining.Compute{Engine: engine.Native(engine.Options{}), Threads: 1, Memory: option.ProcessBudget(0)}}
	worker, err := workers.open(&job.Place{Name: at.Name, In: in, Out: at.Out})
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.mineToEnd(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := worker.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(slices.Values(in.shards))
	if len(names) != 40 {
		t.Fatalf("%d shards were read", len(names))
	}
	inOrder := 0
	for i, name := range in.shards[1:] {
		if slices.Index(names, name) == (slices.Index(names, in.shards[i])+1)%len(names) {
			inOrder++
		}
	}
	if inOrder > 20 {
		t.Errorf("%d of 39 steps lead to the next shard by name", inOrder)
	}
}

// TestJobWaitsForAll: with --wait, a job whose manifest is yet to come is mined once it is there.
func TestJobWaitsForAll(t *testing.T) {
	t.Parallel()
	w := demoFolder(t)
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan output)
		go func() { ended <- w.quarry(t.Context(), waitLine) }()
		synctest.Wait()
		w.mustRun(t, initLine)
		if o := <-ended; o.code != exitOK {
			t.Errorf("exit %d: %s", o.code, o.stderr)
		}
		w.fails(t, "job run --engine native --wait 60s ./bucket/jobs/other", exitInput, "there is no manifest.json yet", "hint: ")
	})
}

// TestJobRunInterrupted: shards that are mined stay mined, and the message says so.
func TestJobRunInterrupted(t *testing.T) {
	t.Parallel()
	w := demoFolder(t)
	w.mustRun(t, initLine)
	w.remove(t, shard(1))
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan output)
		go func() { ended <- w.quarry(ctx, waitLine) }()
		synctest.Wait() // it has mined the seven others
		cancel()
		if o := <-ended; o.code != exitInterrupted || !strings.Contains(o.stderr, "interrupted; shards that are mined stay so; the same command goes on") {
			t.Errorf("exit %d: %s", o.code, o.stderr)
		}
	})
	if s := w.status(t); s.Mined != 7 {
		t.Errorf("%d shards are mined", s.Mined)
	}
}
