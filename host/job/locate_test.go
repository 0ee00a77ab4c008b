package job_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
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
