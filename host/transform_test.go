package host_test

import (
	"os"
	"testing"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/npy"
	"github.com/quarry-hn/quarry/host/engine"
)

// TestTransformWithDefaults projects with the zero value of the options, and opens what was written.
func TestTransformWithDefaults(t *testing.T) {
	f := demoFolder(t)
	p, err := host.Fit(t.Context(), f, host.FitOptions{Components: 12})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	done, err := host.Transform(t.Context(), f, p, dir, host.TransformOptions{Compute: host.Compute{Engine: engine.Native(engine.Options{})}})
	if err != nil {
		t.Fatal(err)
	}
	x, err := npy.Open(os.DirFS(dir), "docs.npy", "docs.npy", dataset.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if x.Rows() != f.Documents.Len() || x.Width() != 12 || done.Documents != x.Rows() || done.Zero != 0 {
		t.Errorf("%d x %d rows were written: %+v", x.Rows(), x.Width(), done)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v (%v)", entries, err)
	}
}
