package host_test

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/testdata/demo"
)

func demoFolder(t testing.TB) *dataset.Folder {
	t.Helper()
	f, err := dataset.OpenFS(demo.FS, "demo")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestFitIsDeterministic fits at several numbers of threads and of processors, and compares the files.
func TestFitIsDeterministic(t *testing.T) {
	f := demoFolder(t)
	for _, o := range []host.FitOptions{{}, {FitOn: host.FitOnAll, NoCenter: true}, {FitOn: "sample:200", Seed: 7, Components: 20}} {
		var want []byte
		for _, threads := range []int{1, 2, 7} {
			before := runtime.GOMAXPROCS(threads)
			o.Threads = threads
			p, err := host.Fit(t.Context(), f, o)
			runtime.GOMAXPROCS(before)
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = p.File
			}
			if !bytes.Equal(p.File, want) {
				t.Errorf("%+v: the file depends on the number of threads", o)
			}
		}
	}
	a, err := host.Fit(t.Context(), f, host.FitOptions{FitOn: "sample:200", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	b, err := host.Fit(t.Context(), f, host.FitOptions{FitOn: "sample:200", Seed: 2})
	if err != nil || a.Fingerprint == b.Fingerprint {
		t.Errorf("two seeds give one projection (%v)", err)
	}
}

func TestFitOptionsAreChecked(t *testing.T) {
	f := demoFolder(t)
	for _, o := range []host.FitOptions{
		{Variance: 2}, {Variance: 0.5, Components: 3}, {NoPCA: true, Components: 3}, {FitOn: "sample:0"}, {FitOn: "queries"}, {FitOn: "sample:100000"},
		{Models: []host.Weight{{Model: "minilm", Weight: 0}}}, {Models: []host.Weight{{Model: "minilm", Weight: 1}, {Model: "minilm", Weight: 1}}}, {Zero: "keep"},
	} {
		if _, err := host.Fit(t.Context(), f, o); !errors.Is(err, host.ErrOption) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
