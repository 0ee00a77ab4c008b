package account

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore/s3server"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/iam"
)

// patience is how long the test waits for what must come. It is far more than any machine needs, so a wait that ends
// with it is a hang.
const patience = 10 * time.Minute

// TestLeastMemory mines the demo's job with the least memory that the template takes. A message that fails is given up at
// once.
func TestLeastMemory(t *testing.T) {
	programs, err := filepath.Abs("../../../../bin")
	must(t, err)
	template, err := iam.LoadTemplate(filepath.Join(programs, "template.json"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	must(t, err)
	a, err := New(t.Context(), Options{
		Dir: t.TempDir(), Programs: programs, Cache: true, Concurrency: 1, Timeout: patience, MemoryMiB: template.LeastMemoryMiB, MaxReceives: 1,
		Log: func(line string) { t.Log(line) }, Setenv: func(name, value string) { setenv(t, name, value) },
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, s3server.ErrNoProgram) {
		t.Skipf("not all programs are built, run `make test-lambda`: %v", err)
	}
	must(t, err)
	defer a.Close()
	folder, err := demo.Open()
	must(t, err)
	defer folder.Close()
	p, err := projection.Fit(t.Context(), folder, projection.FitOptions{})
	must(t, err)
	at := a.Place("least")
	o := mining.Options{Compute: mining.Compute{Memory: option.ProcessBudget(int64(template.LeastMemoryMiB) << 20 / 10 * 9)}}
	_, err = job.Init(t.Context(), at, folder, p, job.InitOptions{Mine: o, Shards: 2})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, a.Drain(ctx))
	if _, err := job.Fetch(t.Context(), at, io.Discard); err != nil {
		t.Error(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// setenv sets a variable, or removes one where the value is empty, until the end of the test.
func setenv(t *testing.T, name, value string) {
	t.Setenv(name, value)
	if value == "" {
		must(t, os.Unsetenv(name)) // t.Setenv brings back what was there
	}
}
