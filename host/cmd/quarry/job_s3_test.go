package main

import (
	"os"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore/storetest"
)

// TestJobOnS3 makes, mines, fetches and cancels a job with s3:// URLs, by way of the plugin.
func TestJobOnS3(t *testing.T) {
	server := storetest.S3(t)
	w := demoFolder(t)
	const at = "s3://my-quarry/jobs/nightly"
	status := func() (s job.Status) {
		decodeStrictly(t, w.mustRun(t, "job status --json "+at), &s)
		return s
	}
	const line = "job init ./data --shards 12 --bucket s3://my-quarry --job nightly --projection ./p.safetensors"
	before := w.tree(t)
	w.fails(t, line, exitWrite, "cannot write", "s3://my-quarry", "no such bucket", "hint: ")
	w.fails(t, "job status "+at, exitInput, "s3://my-quarry", "no such bucket")
	for _, name := range []string{"my-quarry", "my-quarry-results"} {
		if err := server.CreateBucket(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	w.fails(t, "job status "+at, exitInput, at+": there is no job", "hint: ")
	known := os.Getenv("AWS_SECRET_ACCESS_KEY")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	for _, command := range []string{"status", "run", "sweep", "cancel"} {
		w.fails(t, "job "+command+" "+at, exitInput, at+": there is no job, or it may not be read", "403 SignatureDoesNotMatch", "hint: ")
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", known)
	checkSays(t, w.mustRun(t, line), "nightly, in "+at, "will be in s3://my-quarry-results/jobs/nightly", "quarry job run "+at)
	w.mustRun(t, line)
	checkSays(t, w.mustRun(t, "job status "+at), "pending", "0 of 12 shards", "12 uploaded")
	checkSays(t, w.mustRun(t, "job run "+at), "12 shards here, 335 documents", "result  written, in s3://my-quarry-results/jobs/nightly")
	checkSays(t, w.mustRun(t, "job sweep s3://my-quarry"), "nightly", "was there")
	if s := status(); s.State != job.Finished || s.Mined != 12 {
		t.Errorf("status is %+v", s)
	}
	w.checkUnchanged(t, before)
	w.mustRun(t, "job fetch -o ./out/j.jsonl "+at)
	w.mustRun(t, mineLine+" --projection ./p.safetensors")
	w.checkFetched(t)
	checkSays(t, w.mustRun(t, "job cancel "+at), "the result stays")
	checkSays(t, w.mustRun(t, "job sweep s3://my-quarry/"), "cancelled")
	w.mustRun(t, strings.Replace(line, "s3://my-quarry ", "s3://my-quarry/ ", 1)+" --force")
	if s := status(); s.State != job.Pending || s.Mined != 0 {
		t.Errorf("status is %+v", s)
	}
	checkSays(t, w.mustRun(t, "job run "+at), "12 shards here", "result  written, in s3://my-quarry-results/jobs/nightly")
}
