package job_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
)

func TestResultsOf(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for bucket, want := range map[string]string{
		"s3://in": "s3://in-results", "s3://in/a/b": "s3://in-results/a/b", "./bucket": "./bucket-results", "bucket/": "bucket-results",
		".": here + "-results", "..": filepath.Dir(here) + "-results", "a/..": here + "-results",
	} {
		if got := job.ResultsOf(bucket); got != want {
			t.Errorf("%s: %s, expected %s", bucket, got, want)
		}
	}
}

// TestNamesBesideAnObject: an object where jobs are hides none of them, and is none.
func TestNamesBesideAnObject(t *testing.T) {
	s := objstore.NewMemory()
	for _, key := range []string{"a", "a-b/manifest.json", "a.c/manifest.json", "a0/manifest.json", "b/manifest.json", "b/x", "b-", "c"} {
		if err := s.Put(t.Context(), key, bytes.NewReader(nil)); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for name, err := range job.Names(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if got := strings.Join(names, " "); got != "a-b a.c a0 b" {
		t.Errorf("jobs %s", got)
	}
}
