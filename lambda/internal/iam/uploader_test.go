package iam

import (
	"io"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/job"
)

// TestUploadersPolicy makes, reads, cancels and replaces a job as who has the policy of lambda/deploy/README.md: it allows all of that, and
// nothing that is not used.
func TestUploadersPolicy(t *testing.T) {
	page, err := os.ReadFile("../../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```json\n")
	text, _, found := strings.Cut(text, "```")
	if !found {
		t.Fatal("the page has no policy")
	}
	policy, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	server := startServer(t)
	u, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	caller := NewCaller(policy)
	gate := httptest.NewServer(S3Gate(caller, u))
	defer gate.Close()
	for _, bucket := range []string{"my-quarry", "my-quarry-results"} {
		if err := server.CreateBucket(t.Context(), bucket); err != nil {
			t.Fatal(err)
		}
	}
	server.Setenv(t.Setenv)
	worker, err := job.Locate(t.Context(), "s3://my-quarry/jobs/first", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ENDPOINT_URL_S3", gate.URL)
	uploader, err := job.Locate(t.Context(), "s3://my-quarry/jobs/first", "")
	if err != nil {
		t.Fatal(err)
	}

	folder, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Fit(t.Context(), folder, host.FitOptions{Components: 20})
	if err != nil {
		t.Fatal(err)
	}
	o := job.InitOptions{Mine: host.MineOptions{RunOptions: host.RunOptions{Engine: engine.Native(engine.Options{}), Memory: 1 << 30}}, Shards: 2}
	for range 2 {
		m, err := job.Init(t.Context(), uploader, folder, p, o)
		if err != nil {
			t.Fatal(err)
		}
		w, err := job.NewWorker(worker.In, worker.Out, job.Options{RunOptions: o.Mine.RunOptions, Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = w.Close(t.Context()) }()
		for _, shard := range m.Shards {
			if _, err := w.Shard(t.Context(), shard.Name); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := job.ReadStatus(t.Context(), uploader); err != nil || s.State != job.Finished {
			t.Errorf("%+v, %v", s, err)
		}
		if _, err := job.Fetch(t.Context(), uploader, io.Discard); err != nil {
			t.Error(err)
		}
		if _, err := job.Cancel(t.Context(), uploader); err != nil {
			t.Error(err)
		}
		o.Force = true
	}
	if denied := caller.Denied(); len(denied) > 0 {
		t.Errorf("it does not allow %v", denied)
	}
	if unused := caller.Unused(); len(unused) > 0 {
		t.Errorf("it allows %v, which nothing used", unused)
	}
}
