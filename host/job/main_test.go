package job_test

import (
	"os"
	"testing"
)

// TestMain has temporary files in memory, where the system has a folder for that and TMPDIR names no other. Workers
// make many small files, which a disk takes several times as long for.
func TestMain(m *testing.M) {
	if dir := memoryFolder(); dir != "" && os.Getenv("TMPDIR") == "" {
		_ = os.Setenv("TMPDIR", dir)
	}
	os.Exit(m.Run())
}
