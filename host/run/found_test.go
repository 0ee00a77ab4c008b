package run

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// besideFitted makes a run, and returns another by the rule capped whose outputs go beside those of the first, and the
// projection that is there.
func besideFitted(t *testing.T, data *dataset.Dataset) (Run, *projection.Projection) {
	t.Helper()
	r := newRun(t)
	done, err := r.Do(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	r.Outputs, r.Mine.Rule = OutputsBeside(filepath.Join(filepath.Dir(r.Outputs.Negatives), "capped.jsonl"), true, false), "capped"
	return r, done.Projection
}

// given is the outputs of the same run with a projection that was given.
func (r Run) given(t *testing.T, data *dataset.Dataset, p *projection.Projection) []byte {
	t.Helper()
	r.Projection, r.Outputs, r.Resume = p, OutputsBeside(filepath.Join(t.TempDir(), "n.jsonl"), false, false), false
	if _, err := r.Do(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	return readOutputs(t, r.Outputs)
}

// TestUseFitted: a run uses the projection of the same fit that lies where it would write one. It fits nothing, leaves
// the file alone, and gives the bytes of a run to which the projection was given; also where it is cut short in its
// fourth part and gone on with.
func TestUseFitted(t *testing.T) {
	data := openDemo(t)
	for _, short := range []bool{false, true} {
		r, p := besideFitted(t, data)
		there := r.Outputs.Projection
		before, err := os.Stat(there)
		if err != nil {
			t.Fatal(err)
		}
		if short {
			var reports []string
			ctx, progress := atReport(t, "mine", 4, &reports)
			kept := (*Kept)(nil)
			if _, err := r.withProgress(progress).Do(ctx, data); !errors.As(err, &kept) {
				t.Fatalf("the run that was cut short: %v", err)
			}
			r.Resume = true
		}
		var reports []string
		_, progress := atReport(t, "", 0, &reports)
		r = r.withProgress(progress)
		r.Summarize = true
		done, err := r.Do(t.Context(), data)
		if err != nil || done.Found != there || done.Summary.Found != there || len(done.Summary.Written) != 2 || (done.Reused > 0) != short {
			t.Fatalf("cut short %v: %+v, %v", short, done, err)
		}
		if strings.HasPrefix(strings.Join(reports, "\n"), "fit") {
			t.Errorf("cut short %v: it fitted: %q", short, reports)
		}
		after, err := os.Stat(there)
		if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
			t.Errorf("cut short %v: the projection was written again (%v)", short, err)
		}
		written := r.Outputs
		written.Projection = ""
		if !bytes.Equal(readOutputs(t, written), r.given(t, data, p)) {
			t.Errorf("cut short %v: the outputs are other bytes than with a projection that was given", short)
		}
		r.Resume = true
		if done, err := r.Do(t.Context(), data); err != nil || !done.Finished {
			t.Errorf("once more with Resume: %+v, %v", done, err)
		}
	}
}

// TestUseFittedRefuses: a file that is not the projection of the same fit is neither used nor replaced, unless Force
// says so.
func TestUseFittedRefuses(t *testing.T) {
	data := openDemo(t)
	for says, change := range map[string]func(r *Run) error{
		"fit.Models is":              func(r *Run) error { r.Fit.Models = nil; return nil },
		"fit.Normalize is false":     func(r *Run) error { r.Fit.NoNormalize = true; return nil },
		"fit.PCA is":                 func(r *Run) error { r.Fit.Components = 13; return nil },
		"fit.Center is false":        func(r *Run) error { r.Fit.NoCenter = true; return nil },
		`fit.FitOn is "all"`:         func(r *Run) error { r.Fit.FitOn = projection.FitOnAll; return nil },
		"fit.Seed is 9 and was 0":    func(r *Run) error { r.Fit.Seed = 9; return nil },
		"not a projection file":      func(r *Run) error { return changeByte(r.Outputs.Projection, 9) },
		"its vectors were others":    nil,
		"exists already, and is not": nil, // where the run that found the projection was cut short
	} {
		t.Run(says, func(t *testing.T) {
			r, p := besideFitted(t, data)
			of := data
			switch {
			case change != nil:
				if err := change(&r); err != nil {
					t.Fatal(err)
				}
			case strings.HasPrefix(says, "its vectors"):
				of = openOtherVectors(t)
			default:
				var reports []string
				ctx, progress := atReport(t, "mine", 4, &reports)
				kept := (*Kept)(nil)
				if _, err := r.withProgress(progress).Do(ctx, data); !errors.As(err, &kept) {
					t.Fatal(err)
				}
				r.Resume = true
				if err := changeByte(r.Outputs.Projection, -1); err != nil {
					t.Fatal(err)
				}
			}
			before, err := os.ReadFile(r.Outputs.Projection)
			if err != nil {
				t.Fatal(err)
			}
			anew, err := r.fits(t, of)
			if !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "--force") || anew {
				t.Errorf("%v; it fitted: %v", err, anew)
			}
			if after, err := os.ReadFile(r.Outputs.Projection); err != nil || !bytes.Equal(after, before) {
				t.Errorf("the file was changed (%v)", err)
			}
			r.Outputs.Force = true
			if anew, err := r.fits(t, of); err != nil || !anew {
				t.Errorf("with Force: %v; it fitted: %v", err, anew)
			}
			if now, err := projection.Load(r.Outputs.Projection); err != nil || (now.Fingerprint == p.Fingerprint) != (r.Resume || strings.HasPrefix(says, "not a")) {
				t.Errorf("with Force the projection is %+v (%v)", now, err)
			}
		})
	}
}

// TestUseFittedLeavesGiven: a projection that is given is used, and no other file is replaced by it.
func TestUseFittedLeavesGiven(t *testing.T) {
	data := openDemo(t)
	r, p := besideFitted(t, data)
	r.Projection = p
	if _, err := r.Do(t.Context(), data); !errors.Is(err, option.ErrExists) {
		t.Errorf("%v", err)
	}
}
