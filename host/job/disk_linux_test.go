package job_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
)

// onSmallDisk is the folder of a disk of its own, in the process that onDisk makes for a test.
const onSmallDisk = "QUARRY_TEST_SMALL_DISK"

// onDisk runs the test that calls it in another process, in a name space where a folder is a disk of so many KiB, and
// returns that folder there; in this process it returns nothing.
func onDisk(t *testing.T, kib string) string {
	t.Helper()
	if dir := os.Getenv(onSmallDisk); dir != "" {
		return dir
	}
	dir := t.TempDir()
	isolate, err := exec.LookPath("unshare")
	if err == nil {
		err = exec.Command(isolate, "-rm", "mount", "-t", "tmpfs", "none", dir).Run()
	}
	if err != nil {
		t.Skip("no file system can be mounted here: ", err)
	}
	c := exec.Command(isolate, "-rm", "sh", "-c", `mount -t tmpfs -o size="$0"k none "$1" && exec "$2" -test.run "^$3\$"`, kib, dir, os.Args[0], t.Name())
	c.Env = append(os.Environ(), onSmallDisk+"="+dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return ""
}

// TestShardOnAFullDisk: the pairs that a worker keeps from one shard to the next make room for a shard.
func TestShardOnAFullDisk(t *testing.T) {
	dir := onDisk(t, "1024")
	if dir == "" {
		return
	}
	x := newInputs(t, grouped(t, mining.Options{}, 3), 3).on(t)
	w, err := job.NewWorker(x.at.In, x.at.Out, job.Options{Compute: mining.Compute{Engine: native}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close(t.Context()) }()
	x.w = w
	x.shard(x.shards[0], job.Mined, "")
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(filler, endless{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	x.shard(x.shards[1], job.Mined, "")
	// Where nothing is kept, it is said.
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if x.w, err = job.NewWorker(x.at.In, x.at.Out, job.Options{Compute: mining.Compute{Engine: native}, Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.w.Close(t.Context()) }()
	if _, err := io.Copy(filler, endless{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if o, err := x.w.Shard(t.Context(), x.shards[2]); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%+v, %v", o, err)
	}
	if err := os.Remove(filler.Name()); err != nil || filler.Close() != nil {
		t.Fatal(err)
	}
	x.rest()
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
