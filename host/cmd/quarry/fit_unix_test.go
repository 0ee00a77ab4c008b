//go:build unix

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// fitReports counts the events that are a fit's reports of progress: one where a pass begins or is gone on with, and
// one for each block of rows.
func fitReports(events []string) (n int) {
	for _, name := range events {
		if strings.HasPrefix(name, "progress fit") {
			n++
		}
	}
	return n
}

// longFits are command lines whose fit has several blocks a pass.
var longFits = []struct {
	name             string
	documents, width int
	line             string
	parts            string // the folder where what is finished is kept
	sums             bool   // the sums of every block are kept
}{
	{"by the covariance", 3000, 8, "fit ./data -o ./out/p.safetensors --components 3 --threads 2 --part-documents 1 --resume", "out/p.safetensors.parts", true},
	{"wide", 1100, 2100, "fit ./data -o ./out/p.safetensors --components 3 --threads 2 --part-documents 1 --resume", "out/p.safetensors.parts", true},
	{"before mining", 3000, 8, "mine ./data -o ./out/n.jsonl --components 3 --threads 2 --zero skip --engine native --resume", "out/n.jsonl.parts", false},
}

// longFit makes a workspace with the vectors of a row, runs its line, and returns the events and the files. Then it
// empties the folder out.
func longFit(t *testing.T, line string, documents, width int) (w workspace, events []string, want files) {
	t.Helper()
	w = newWorkspace(t)
	w.mkdir(t, "out")
	writeRandomFolder(t, w.path("data"), documents, 5, width)
	o, events := w.stopped(t, line, "")
	if o.code != exitOK || o.stderr != "" {
		t.Fatalf("exit %d: %s", o.code, o.stderr)
	}
	want = w.tree(t)
	w.emptyOut(t)
	return w, events, want
}

// TestKilledFit kills a command at each of its events once, and goes on with --resume, killed at other events, until
// it finishes. The files have the bytes of a run that was left alone, and nothing is left over. A run that goes on
// repeats nothing that was kept. Of the reports that the run before it made it makes three again at most: the end of
// the pass that was kept last, the beginning of the next pass, and its first block. Where the result was kept, it
// makes one at most.
func TestKilledFit(t *testing.T) {
	t.Parallel()
	for _, row := range longFits {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w, events, want := longFit(t, row.line, row.documents, row.width)
			alone := fitReports(events)
			r := rand.New(rand.NewPCG(13, uint64(row.width)))
			runs, found := 0, 0
			for _, first := range interruptions(len(events)) {
				reports, before, past := 0, runs, false
				for at := first; ; at = 1 + r.IntN(2*len(events)) { // past the last event nothing is killed
					fitted := past || w.fitted(t, row.parts)
					o, seen := w.stopped(t, row.line, fmt.Sprintf("kill %d ", at))
					runs++
					n := fitReports(seen)
					reports += n
					past = past || slices.Contains(seen, "progress look for zero vectors") // which mining does after the fit
					if fitted {
						found++
						if n > 1 {
							t.Errorf("the result of the fit was kept, and %d reports followed", n)
						}
					}
					if o.code == exitOK {
						break
					}
					if o.code != -1 {
						t.Fatalf("run %d, to be killed at event %d: exit %d: %s", runs, at, o.code, o.stderr)
					}
				}
				if again := runs - before - 1; row.sums && reports > alone+3*again {
					t.Errorf("%d runs reported %d times how far the fit is; one that is left alone does %d times", again+1, reports, alone)
				}
				w.checkUnchanged(t, want)
				if t.Failed() {
					t.Fatalf("first killed at event %d of %d, %s", first, len(events), events[first-1])
				}
				w.emptyOut(t)
			}
			t.Logf("%d events, %d of them reports of the fit; %d runs, of which %d found the result of a fit", len(events), alone, runs, found)
			if found == 0 && !testing.Short() { // then one of the first kills is right after the result was kept
				t.Error("no run found the result of a fit")
			}
		})
	}
}

// fitted reports whether the folder of what is finished has the result of a fit.
func (w workspace) fitted(t *testing.T, parts string) bool {
	t.Helper()
	if _, err := os.Stat(w.path(parts + "/run.json")); err == nil {
		return true
	}
	b, err := os.ReadFile(w.path(parts + "/fit.safetensors"))
	return err == nil && bytes.Contains(b, []byte(`"stage":"result"`))
}

// TestInterruptedFit interrupts a fit at each of its events. It says whether there is something to go on from, and
// where, and goes on from it.
func TestInterruptedFit(t *testing.T) {
	t.Parallel()
	row := longFits[0]
	w, events, want := longFit(t, row.line, row.documents, row.width)
	ended := map[string]int{}
	for _, at := range interruptions(len(events)) {
		o, _ := w.stopped(t, row.line, fmt.Sprintf("interrupt %d ", at))
		_, none := os.Stat(w.path(row.parts))
		how := ""
		switch {
		case o.code == exitOK && none != nil:
			how = "finished"
			w.checkUnchanged(t, want)
		case o.code == exitInterrupted && none != nil && o.stderr == "quarry: interrupted; nothing was written\n":
			how = "nothing"
		case o.code == exitInterrupted && none == nil && o.stderr == "quarry: interrupted; what is finished is kept in "+row.parts+": --resume goes on from there\n":
			how = "kept"
		default:
			t.Errorf("exit %d, stderr:\n%s", o.code, o.stderr)
		}
		ended[how]++
		w.mustRun(t, row.line)
		w.checkUnchanged(t, want)
		if t.Failed() {
			t.Fatalf("interrupted at event %d of %d, %s", at, len(events), events[at-1])
		}
		w.emptyOut(t)
	}
	t.Logf("%d events; how the fits ended: %v", len(events), ended)
	if ended["nothing"] == 0 || ended["finished"] == 0 || ended["kept"] == 0 {
		t.Errorf("the fits ended %v", ended)
	}
}

// TestResumeFit: where there is nothing, fit --resume starts; where all is done, it says so and does nothing; where
// it would differ, it says how.
func TestResumeFit(t *testing.T) {
	t.Parallel()
	const line = "fit ./data -o ./out/p.safetensors"
	w := workFolder(t, sample())
	first := w.mustRun(t, line+" --resume")
	done := w.tree(t)
	if !strings.Contains(first, "out/p.safetensors") {
		t.Errorf("the summary is %s", first)
	}
	if again := w.mustRun(t, line+" --resume"); again != "finished already: out/p.safetensors\n" {
		t.Errorf("run again: %s", again)
	}
	w.checkUnchanged(t, done)
	for flags, says := range map[string]string{"--components 2": `fit.PCA is "components=2" and was "variance=0.95"`, "--seed 3": "fit.Seed is 3 and was 0", "": "of other vectors"} {
		if flags == "" {
			w.write(t, files{"data/vectors/b/docs.npy": f4(spread(len(documentDegrees), 1)...)})
			done = w.tree(t)
		}
		if o := w.quarry(t.Context(), line+" --resume "+flags); o.code != exitExists || !strings.Contains(o.stderr, says) || !strings.Contains(o.stderr, "--force") {
			t.Errorf("%s: exit %d: %s", flags, o.code, o.stderr)
		}
		w.checkUnchanged(t, done)
	}
	// Without --resume what was kept is neither gone on from nor replaced, unless --force says so.
	w.emptyOut(t)
	w.mkdir(t, "out/p.safetensors.parts")
	w.write(t, files{"out/p.safetensors.parts/fit.safetensors": "x"})
	done = w.tree(t)
	if o := w.quarry(t.Context(), line); o.code != exitExists || !strings.Contains(o.stderr, "p.safetensors.parts") || !strings.Contains(o.stderr, "--resume") {
		t.Errorf("without --resume: exit %d: %s", o.code, o.stderr)
	}
	w.checkUnchanged(t, done)
	w.mustRun(t, line+" --force")
	if _, err := os.Stat(w.path("out/p.safetensors.parts")); err == nil {
		t.Error("the folder is left")
	}
}

// TestKilledInit kills job init once its fit is done, before anything is uploaded. The same command does not fit again,
// and leaves nothing in the user's cache.
func TestKilledInit(t *testing.T) {
	t.Parallel()
	const line = "job init ./data --shards 2 --bucket ./bucket --job n --components 3 --threads 2 --engine native"
	w := newWorkspace(t)
	writeRandomFolder(t, w.path("data"), 3000, 5, 8)
	o, events := w.stopped(t, line, "")
	if o.code != exitOK {
		t.Fatalf("exit %d: %s", o.code, o.stderr)
	}
	want := w.tree(t)
	for _, name := range []string{"bucket", "bucket-results"} {
		if err := os.RemoveAll(w.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	last := 0
	for i, name := range events {
		if strings.HasPrefix(name, "progress fit") {
			last = i
		}
	}
	after := slices.IndexFunc(events[last:], func(name string) bool {
		return strings.HasPrefix(name, "progress ") && !strings.HasPrefix(name, "progress fit")
	})
	if after < 0 {
		t.Fatalf("nothing comes after the fit: %q", events)
	}
	if o, _ := w.stopped(t, line, fmt.Sprintf("kill %d ", last+after+1)); o.code != -1 {
		t.Fatalf("exit %d: %s", o.code, o.stderr)
	}
	if _, err := os.Stat(w.path("bucket/jobs/n/manifest.json")); err == nil {
		t.Fatal("it was killed too late")
	}
	o, events = w.stopped(t, line, "")
	if n := fitReports(events); o.code != exitOK || n > 1 {
		t.Errorf("exit %d, after %d reports of a fit: %s", o.code, n, o.stderr)
	}
	w.checkUnchanged(t, want)
	if o, events = w.stopped(t, line+" --force", ""); o.code != exitOK || fitReports(events) <= 1 {
		t.Errorf("exit %d: a kept fit was left in the cache", o.code)
	}
}
