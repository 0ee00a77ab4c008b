package job_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
)

// called is a store under another URL.
type called struct {
	objstore.Store
	url string
}

func (c called) URL() string { return c.url }

// TestJobsOfOneNameInTwoBuckets: the results are those of the job whose worker came first. A worker of the other one
// fails before it puts anything, and so does its Init.
func TestJobsOfOneNameInTwoBuckets(t *testing.T) {
	n := newRivals(t)
	first, second := n.old.uploaded(t), n.new.uploaded(t)
	out := called{first.Out, "s3://results/jobs/a"}
	own := &job.Place{Name: "a", In: called{first.In, "s3://first/jobs/a"}, Out: out}
	other := &job.Place{Name: "a", In: called{second.In, "s3://second/jobs/a"}, Out: out}
	if o, err := worker(t, own).Shard(t.Context(), n.old.shards[0]); err != nil || o.Action != job.Mined {
		t.Fatalf("%+v, %v", o, err)
	}
	for range 2 {
		if o, err := worker(t, other).Shard(t.Context(), n.new.shards[0]); !errors.Is(err, job.ErrPlace) || !strings.Contains(err.Error(), "s3://first/jobs/a") {
			t.Errorf("%+v, %v", o, err)
		}
		if o, err := worker(t, other).Sweep(t.Context()); !errors.Is(err, job.ErrPlace) {
			t.Errorf("%+v, %v", o, err)
		}
		// Where the first worker died before it copied the manifest, its record decides all the same.
		if err := first.Out.Delete(t.Context(), job.ManifestKey); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.new.make(t.Context(), other, false); !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), "s3://first/jobs/a") {
		t.Errorf("init: %v", err)
	}
	n.old.mined(t, own)
}

// TestResultsElsewhere makes a job whose results go to a folder of another name. Who is not told of that folder finds it.
func TestResultsElsewhere(t *testing.T) {
	i, dir := newInputs(t, mining.Options{}, 3), t.TempDir()
	bucket, elsewhere := filepath.Join(dir, "bucket"), filepath.Join(dir, "elsewhere")
	at := func(results string) *job.Place {
		t.Helper()
		p, err := job.Locate(t.Context(), bucket+"/jobs/a", results)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := i.make(t.Context(), at(elsewhere), false); err != nil {
		t.Fatal(err)
	}
	i.mined(t, at(""))
	if _, err := os.Stat(bucket + "-results"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the usual bucket of results: %v", err)
	}
	if p := at(""); p.Out.URL() != elsewhere+"/jobs/a" {
		t.Errorf("the results are looked for in %s", p.Out.URL())
	}
	if err := i.make(t.Context(), at(""), false); err != nil {
		t.Errorf("init again, without --results: %v", err)
	}
	third := filepath.Join(dir, "third")
	if err := i.make(t.Context(), at(third), false); !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), elsewhere) {
		t.Errorf("init again, with other --results: %v", err)
	}
	if err := i.make(t.Context(), at(third), true); err != nil {
		t.Fatal(err)
	}
	i.mined(t, at(""))
	if p := at(""); p.Out.URL() != third+"/jobs/a" {
		t.Errorf("the results are looked for in %s", p.Out.URL())
	}
}

// TestWorkerOfOtherResults: a worker whose results go to another bucket of S3 than its job's fails before it puts
// anything. A record that makes no sense is an error that names it.
func TestWorkerOfOtherResults(t *testing.T) {
	i := newInputs(t, mining.Options{}, 3)
	for record, want := range map[string]string{
		`{"format":"quarry.results.v1","bucket":"s3://theirs"}`:  "s3://theirs",
		`{"format":"quarry.results.v2","bucket":"s3://mine"}`:    "results.json",
		`{"format":"quarry.results.v1"}`:                         "results.json",
		`s3://theirs`:                                            "results.json",
		`{"format":"quarry.results.v1","bucket":"s3://mine"}`:    "",
		`{"format":"quarry.results.v1","bucket":"/some/folder"}`: "/some/folder",
	} {
		x := i.on(t)
		x.put("results.json", []byte(record))
		w := worker(t, &job.Place{Name: "a", In: called{x.at.In, "s3://in/jobs/a"}, Out: called{x.at.Out, "s3://mine/jobs/a"}})
		o, err := w.Shard(t.Context(), i.shards[0])
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || strings.Contains(want, "/") && !errors.Is(err, job.ErrPlace) {
			t.Errorf("%s: %+v, %v", record, o, err)
		}
		if want == "" {
			continue
		}
		for o, err := range x.at.Out.List(t.Context(), "", "") {
			t.Errorf("%s: %v was put, %v", record, o, err)
		}
	}
}

// TestRefusalsOfAReplacedJob: what a worker of a replaced job refused does not count against the new one.
func TestRefusalsOfAReplacedJob(t *testing.T) {
	n := newRivals(t)
	at := n.old.uploaded(t)
	if err := n.new.make(t.Context(), at, true); err != nil {
		t.Fatal(err)
	}
	x := n.old.on(t) // the old job, in which a shard of the new one is refused, late
	x.put(n.old.shards[0], []byte("x"))
	x.shard(n.old.shards[0], job.Refused, "its size")
	if err := copyObjects(t.Context(), x.at.Out, at.Out, "refused/"); err != nil {
		t.Fatal(err)
	}
	if s, err := job.ReadStatus(t.Context(), at); err != nil || len(s.Refused) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
	n.new.mined(t, at)
}

// twoBuckets are jobs of one name in two buckets, whose results have the same place.
func twoBuckets(t *testing.T) (n *rivals, own, other *job.Place) {
	n = newRivals(t)
	first, second := n.old.uploaded(t), n.new.uploaded(t)
	out := called{first.Out, "s3://results/jobs/a"}
	own = &job.Place{Name: "a", In: called{first.In, "s3://first/jobs/a"}, Out: out}
	other = &job.Place{Name: "a", In: called{second.In, "s3://second/jobs/a"}, Out: out}
	return n, own, other
}

// TestSecondBucketOfAFinishedJob: where the first bucket's job is finished, its result is nobody else's: a worker, a
// sweep, fetch, status and cancel of the second bucket's job fail.
func TestSecondBucketOfAFinishedJob(t *testing.T) {
	n, own, other := twoBuckets(t)
	w := worker(t, own)
	for _, name := range n.old.shards {
		if _, err := w.Shard(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	o, err := worker(t, other).Shard(t.Context(), n.new.shards[0])
	if !errors.Is(err, job.ErrPlace) {
		t.Errorf("a shard of the second bucket: %+v, %v; expected ErrPlace", o, err)
	}
	if s, err := job.Look(t.Context(), other); err == nil && s.Ended == job.Finished {
		t.Errorf("the sweep takes the second bucket's job for finished")
	}
	var b bytes.Buffer
	if _, err := job.Fetch(t.Context(), other, &b); err == nil {
		t.Errorf("fetch of the second bucket's job gives %d bytes, the first's: %v", b.Len(), bytes.Equal(b.Bytes(), n.old.negatives))
	}
	if s, err := job.ReadStatus(t.Context(), other); !errors.Is(err, job.ErrPlace) {
		t.Errorf("status of the second bucket's job: %+v, %v", s, err)
	}
	if _, err := job.Cancel(t.Context(), other); !errors.Is(err, job.ErrPlace) {
		t.Errorf("cancel of the second bucket's job: %v", err)
	}
	n.old.check(t, own)
}

// TestResultsOfAnEarlierVersion: a job that was begun without a record of its inputs is nobody else's. The first worker
// with the manifest's own inputs records them.
func TestResultsOfAnEarlierVersion(t *testing.T) {
	n, own, other := twoBuckets(t)
	if o, err := worker(t, own).Shard(t.Context(), n.old.shards[0]); err != nil || o.Action != job.Mined {
		t.Fatalf("%+v, %v", o, err)
	}
	if err := own.Out.Delete(t.Context(), "source.json"); err != nil { // as the earlier version left it
		t.Fatal(err)
	}
	_, _ = worker(t, other).Shard(t.Context(), n.new.shards[0])
	if o, err := worker(t, own).Shard(t.Context(), n.old.shards[1]); err != nil {
		t.Errorf("the job's own worker: %+v, %v", o, err)
	}
	if _, err := worker(t, other).Shard(t.Context(), n.new.shards[0]); !errors.Is(err, job.ErrPlace) {
		t.Errorf("the other bucket's worker, then: %v", err)
	}
	n.old.mined(t, own)
}
