//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const (
	resumeLine = "mine ./data -o ./out/n.jsonl --engine native --threads 2 --part-documents 1 --resume"
	partFolder = "out/n.jsonl.parts"
)

// parts are the finished parts that there are, each with what tells whether it was written again.
func (w workspace) parts(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, path := range must(filepath.Glob(w.path(partFolder + "/part-*.safetensors"))) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		found[path] = fmt.Sprint(info.Sys().(*syscall.Stat_t).Ino, info.ModTime())
	}
	return found
}

// killings are what TestKilled saw.
type killings struct {
	ran, killed int
	reused      int // finished parts that a run found
	torn        int // runs that were killed while they removed the folder of parts
}

// TestKilled kills a run just before its n-th change to the disk, and runs it again, killed at other n, until it
// finishes. Then the files have the bytes of a run that was left alone, no finished part was made twice, and nothing is
// left over. The n are seeded; each change is once the first to be killed at, or a sample of them under -short.
// QUARRY_KILLS makes the test go on until it has killed so often.
func TestKilled(t *testing.T) {
	t.Parallel()
	least, short := 1, testing.Short()
	if text := os.Getenv("QUARRY_KILLS"); text != "" {
		least, short = must(strconv.Atoi(text)), false
	}
	w := workFolder(t, sample())
	o, events := w.stopped(t, resumeLine, "")
	if o.code != exitOK {
		t.Fatalf("exit %d: %s", o.code, o.stderr)
	}
	events = slices.DeleteFunc(events, func(name string) bool { return !strings.HasPrefix(name, "file ") && name != eventEnd })
	want := w.tree(t)
	r := rand.New(rand.NewPCG(11, 11))
	var did killings
	for round := 0; ; round++ {
		order := r.Perm(len(events))
		if short {
			order = order[:min(len(order), 12)]
		}
		for _, first := range order {
			w.emptyOut(t)
			w.killUntilDone(t, &did, r, first+1, len(events))
			w.checkUnchanged(t, want)
			if t.Failed() {
				t.Fatalf("first killed at event %d of %d, %s", first+1, len(events), events[first])
			}
		}
		if did.killed >= least {
			break
		}
	}
	t.Logf("%d events; %+v", len(events), did)
	if did.reused == 0 || did.torn == 0 {
		t.Errorf("%+v: no run found a finished part, or none was killed while it removed the parts", did)
	}
}

// TestKilledBesideFitted is TestKilled where the projection is there already, of the same fit. It stays the same file.
func TestKilledBesideFitted(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	w.mustRun(t, "fit ./data -o ./out/projection.safetensors")
	fitted := must(os.Stat(w.path("out/projection.safetensors")))
	o, events := w.stopped(t, resumeLine, "")
	if o.code != exitOK || !strings.Contains(o.stdout, "which was there") {
		t.Fatalf("exit %d: %s%s", o.code, o.stdout, o.stderr)
	}
	events = slices.DeleteFunc(events, func(name string) bool { return !strings.HasPrefix(name, "file ") && name != eventEnd })
	want := w.tree(t)
	r := rand.New(rand.NewPCG(12, 12))
	order := r.Perm(len(events))
	if testing.Short() {
		order = order[:min(len(order), 6)]
	}
	var did killings
	for _, first := range order {
		w.remove(t, "out/n.jsonl", "out/n.manifest.json")
		w.killUntilDone(t, &did, r, first+1, len(events))
		w.checkUnchanged(t, want)
		if now := must(os.Stat(w.path("out/projection.safetensors"))); !os.SameFile(now, fitted) || !now.ModTime().Equal(fitted.ModTime()) {
			t.Error("the projection was written again")
		}
		if t.Failed() {
			t.Fatalf("first killed at event %d of %d, %s", first+1, len(events), events[first])
		}
	}
	t.Logf("%d events; %+v", len(events), did)
}

// killUntilDone runs the command until a run finishes. It kills the first run at the event number at, and each later one
// at a random event out of so many.
func (w workspace) killUntilDone(t *testing.T, did *killings, r *rand.Rand, at, events int) {
	t.Helper()
	for first := true; ; first = false {
		before := w.parts(t)
		did.reused += len(before)
		o, _ := w.stopped(t, resumeLine, fmt.Sprintf("kill %d file ", at))
		did.ran++
		switch {
		case o.code == -1:
			did.killed++
		case o.code != exitOK || first:
			t.Fatalf("run %d, to be killed at event %d: exit %d: %s", did.ran, at, o.code, o.stderr)
		}
		after := w.parts(t)
		if _, err := os.Stat(w.path(partFolder + "/run.json")); err == nil {
			for path, was := range before {
				if now, ok := after[path]; !ok || now != was {
					t.Fatalf("run %d: %s was made again", did.ran, path)
				}
			}
		} else if len(after) > 0 { // all is done, and the folder of parts is being removed
			did.torn++
		}
		if o.code == exitOK {
			return
		}
		at = 1 + r.IntN(events+events/5) // past the last event nothing is killed
	}
}

// interruptedWithParts leaves a run that failed after some parts, because the last document's vector is NaN. whole is the
// vector file as it was before.
func interruptedWithParts(t *testing.T) (w workspace, whole string) {
	t.Helper()
	w = workFolder(t, sample())
	const docs = "data/vectors/a/docs.npy"
	whole = w.read(t, docs)
	w.mustRun(t, "fit ./data -o ./p.safetensors")
	spoilt := []byte(whole)
	copy(spoilt[len(spoilt)-4:], "\x00\x00\xc0\x7f") // NaN
	w.write(t, files{docs: string(spoilt)})
	o := w.quarry(t.Context(), resumeLine+" --projection ./p.safetensors --split train")
	if o.code != exitInput || len(w.parts(t)) == 0 || !strings.Contains(o.stderr, "kept in "+partFolder) {
		t.Fatalf("exit %d, %d parts: %s", o.code, len(w.parts(t)), o.stderr)
	}
	return w, whole
}

func TestResumeRefuses(t *testing.T) {
	t.Parallel()
	line := resumeLine + " --projection ./p.safetensors"
	for _, row := range []struct {
		line   string
		change func(t *testing.T, w workspace)
		code   int
		says   []string
	}{
		{line + " --top 3", nil, exitExists, []string{partFolder, "top is 3 and was 5", "--force"}},
		{line + " --rule topk", nil, exitExists, []string{"rule.name", "topk"}},
		{strings.ReplaceAll(line, " --resume", ""), nil, exitExists, []string{partFolder, "--resume", "--force"}},
		{line, func(t *testing.T, w workspace) { w.edit(t, "data/qrels/train.tsv", "q1", "q3") }, exitExists, []string{"inputs.qrels/train"}},
		{line, func(t *testing.T, w workspace) { w.edit(t, partFolder+"/run.json", `"quarry.run.v1"`, `"x"`) }, exitInput, []string{"run.json", "--force"}},
		{line, func(t *testing.T, w workspace) {
			for path := range w.parts(t) {
				b := must(os.ReadFile(path))
				b[len(b)-1] ^= 1
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}, exitInput, []string{"part-", "remove it"}},
	} {
		t.Run(row.line, func(t *testing.T) {
			w, _ := interruptedWithParts(t)
			if row.change != nil {
				row.change(t, w)
			}
			before := w.tree(t)
			o := w.quarry(t.Context(), row.line)
			if o.code != row.code {
				t.Errorf("exit %d, expected %d", o.code, row.code)
			}
			for _, says := range row.says {
				if !strings.Contains(o.stderr, says) {
					t.Errorf("the message lacks %q: %s", says, o.stderr)
				}
			}
			w.checkUnchanged(t, before)
		})
	}
}

// edit replaces a text of a file.
func (w workspace) edit(t *testing.T, name, old, new string) {
	t.Helper()
	f := files{name: w.read(t, name)}
	f.edit(name, old, new)
	w.write(t, f)
}

func TestResume(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	// Where there is nothing, --resume starts. Where all is done, it does nothing and says so.
	first := w.mustRun(t, resumeLine)
	done := w.tree(t)
	if _, err := os.Stat(w.path(partFolder)); err == nil {
		t.Error("the parts are left")
	}
	if o := w.quarry(t.Context(), resumeLine); o.code != exitOK || !strings.Contains(o.stdout, "finished already") || o.stdout == first {
		t.Errorf("run again: exit %d: %s%s", o.code, o.stdout, o.stderr)
	}
	w.checkUnchanged(t, done)
	// The message names options of mining and of fitting that differ.
	for flags, says := range map[string]string{"--top 2": "top is 2 and was 5", "--components 2": `fit.PCA is "components=2" and was "variance=0.95"`, "--fit-on all": "fit.FitOn"} {
		if o := w.quarry(t.Context(), resumeLine+" "+flags); o.code != exitExists || !strings.Contains(o.stderr, says) {
			t.Errorf("%s: exit %d: %s", flags, o.code, o.stderr)
		}
		w.checkUnchanged(t, done)
	}
	// A run without --resume has several parts too, and removes them once it is done.
	w.mustRun(t, strings.ReplaceAll(resumeLine, "--resume", "--force"))
	w.checkUnchanged(t, done)
}

func TestResumeGoesOn(t *testing.T) {
	t.Parallel()
	w, whole := interruptedWithParts(t)
	kept := w.parts(t)
	w.write(t, files{"data/vectors/a/docs.npy": whole})
	// The inputs differ from those of the parts, which had a bad value. None of the parts may be used.
	if o := w.quarry(t.Context(), resumeLine+" --projection ./p.safetensors"); o.code != exitExists || !strings.Contains(o.stderr, "inputs.vectors/a/docs") {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
	if now := w.parts(t); len(now) != len(kept) {
		t.Errorf("%d parts, were %d", len(now), len(kept))
	}
	// --force starts anew.
	w.mustRun(t, strings.ReplaceAll(resumeLine, "--resume", "--projection ./p.safetensors --force"))
	for name := range w.tree(t) {
		if strings.Contains(name, "part") {
			t.Errorf("%s is left", name)
		}
	}
	if _, err := os.Stat(w.path(partFolder)); err == nil {
		t.Error("the folder of parts is left")
	}
}
