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

// TestLongNames: the keys of a job's parts have to fit S3's 1,024 bytes, and its folder a file system's 255.
func TestLongNames(t *testing.T) {
	for name, valid := range map[string]bool{strings.Repeat("n", 255): true, strings.Repeat("n", 256): false, strings.Repeat("ü", 127): true, strings.Repeat("ü", 128): false} {
		if got := job.ValidJob(name); got != valid {
			t.Errorf("%d bytes: %v", len(name), got)
		}
		if _, _, ok := job.ParseKey("jobs/" + name + "/" + job.ManifestKey); ok != valid {
			t.Errorf("a key of %d bytes: %v", len(name), ok)
		}
		_, err := job.At(t.Context(), t.TempDir(), "", name)
		if (err == nil) != valid || err != nil && !strings.Contains(err.Error(), "255 bytes") {
			t.Errorf("%d bytes: %v", len(name), err)
		}
	}
}
