//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	resumeLine = "mine data -o out/n.jsonl --engine native --threads 2 --part-documents 1 --resume"
	partFolder = "out/n.jsonl.parts"
)

// parts are the finished parts that there are, each with what tells whether it was written again.
func parts(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, path := range must(filepath.Glob(partFolder + "/part-*.safetensors")) {
		info, err := os.Stat(path)
		if err != nil {
			continue // removed since
		}
		found[path] = fmt.Sprint(info.Sys().(*syscall.Stat_t).Ino, info.ModTime())
	}
	return found
}

// TestKilled kills a run at seeded moments, and runs it again, until it finishes: with the bytes of a run that was left alone, no finished part
// made twice, and nothing left over. QUARRY_KILLS makes it longer.
func TestKilled(t *testing.T) {
	kills := 200
	if text := os.Getenv("QUARRY_KILLS"); text != "" {
		kills = must(strconv.Atoi(text))
	}
	workFolder(t, sample())
	began := time.Now()
	if o := command(t.Context(), "", strings.ReplaceAll(resumeLine, " --resume", "")).finish(t); o.code != exitOK {
		t.Fatalf("exit %d: %s", o.code, o.stderr)
	}
	alone := time.Since(began)
	want := tree(t)
	r := rand.New(rand.NewPCG(11, 11))
	ran, killed, reused := 0, 0, 0
	for killed < kills {
		for _, name := range must(os.ReadDir("out")) {
			if err := os.RemoveAll("out/" + name.Name()); err != nil {
				t.Fatal(err)
			}
		}
		for finished := false; !finished; {
			before := parts(t)
			p := command(t.Context(), "", resumeLine)
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(time.Duration(r.Float64()*1.2*float64(alone)), func() { _ = p.Process.Kill() })
			o := p.end()
			timer.Stop()
			ran++
			switch o.code {
			case exitOK:
				finished = true
			case -1:
				killed++
			default:
				t.Fatalf("run %d: exit %d: %s", ran, o.code, o.stderr)
			}
			after := parts(t)
			if _, err := os.Stat(partFolder + "/run.json"); err != nil {
				continue // done, and being removed
			}
			for path, was := range before {
				if now, ok := after[path]; !ok || now != was {
					t.Fatalf("run %d: %s was made again", ran, path)
				}
			}
			reused += len(before)
		}
		checkUnchanged(t, want)
	}
	t.Logf("%d runs, %d of them killed; %d finished parts were found again", ran, killed, reused)
	if reused == 0 {
		t.Error("no run found a finished part")
	}
}

// interruptedWithParts leaves a run that is cut short after some parts: the last document's vector is not there to read.
func interruptedWithParts(t *testing.T) (whole string) {
	t.Helper()
	workFolder(t, sample())
	const docs = "data/vectors/a/docs.npy"
	whole = string(must(os.ReadFile(docs)))
	mustRun(t, "fit data -o p.safetensors")
	spoilt := []byte(whole)
	copy(spoilt[len(spoilt)-4:], "\x00\x00\xc0\x7f") // NaN
	if err := os.WriteFile(docs, spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	o := quarry(t.Context(), resumeLine+" --projection p.safetensors --split train")
	if o.code != exitInput || len(parts(t)) == 0 || !strings.Contains(o.stderr, "kept in "+partFolder) {
		t.Fatalf("exit %d, %d parts: %s", o.code, len(parts(t)), o.stderr)
	}
	return whole
}

func TestResumeRefuses(t *testing.T) {
	line := resumeLine + " --projection p.safetensors"
	for _, row := range []struct {
		line   string
		change func(t *testing.T)
		code   int
		says   []string
	}{
		{line + " --top 3", nil, exitExists, []string{partFolder, "top is 3 and was 5", "--force"}},
		{line + " --rule topk", nil, exitExists, []string{"rule.name", "topk"}},
		{strings.ReplaceAll(line, " --resume", ""), nil, exitExists, []string{partFolder, "--resume", "--force"}},
		{line, func(t *testing.T) { edit(t, "data/qrels/train.tsv", "q1", "q3") }, exitExists, []string{"inputs.qrels/train"}},
		{line, func(t *testing.T) { edit(t, partFolder+"/run.json", `"quarry.run.v1"`, `"x"`) }, exitInput, []string{"run.json", "--force"}},
		{line, func(t *testing.T) {
			for path := range parts(t) {
				b := must(os.ReadFile(path))
				b[len(b)-1] ^= 1
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}, exitInput, []string{"part-", "remove it"}},
	} {
		t.Run(row.line, func(t *testing.T) {
			interruptedWithParts(t)
			if row.change != nil {
				row.change(t)
			}
			before := tree(t)
			o := quarry(t.Context(), row.line)
			if o.code != row.code {
				t.Errorf("exit %d, expected %d", o.code, row.code)
			}
			for _, says := range row.says {
				if !strings.Contains(o.stderr, says) {
					t.Errorf("the message lacks %q: %s", says, o.stderr)
				}
			}
			checkUnchanged(t, before)
		})
	}
}

func edit(t *testing.T, path, old, new string) {
	t.Helper()
	text := string(must(os.ReadFile(path)))
	if !strings.Contains(text, old) {
		t.Fatalf("%s has no %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(text, old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestResume(t *testing.T) {
	workFolder(t, sample())
	// There is nothing: it starts. All is done: it does nothing, and tells.
	first := mustRun(t, resumeLine)
	done := tree(t)
	if _, err := os.Stat(partFolder); err == nil {
		t.Error("the parts are left")
	}
	if o := quarry(t.Context(), resumeLine); o.code != exitOK || !strings.Contains(o.stdout, "finished already") || o.stdout == first {
		t.Errorf("run again: exit %d: %s%s", o.code, o.stdout, o.stderr)
	}
	checkUnchanged(t, done)
	// Other options, of mining and of fitting, are told; so is --force without --resume.
	for flags, says := range map[string]string{"--top 2": "top is 2 and was 5", "--components 2": `fit.PCA is "components=2" and was "variance=0.95"`, "--fit-on all": "fit.FitOn"} {
		if o := quarry(t.Context(), resumeLine+" "+flags); o.code != exitExists || !strings.Contains(o.stderr, says) {
			t.Errorf("%s: exit %d: %s", flags, o.code, o.stderr)
		}
		checkUnchanged(t, done)
	}
	// A run without --resume has several parts, and keeps them only until it is done.
	mustRun(t, strings.ReplaceAll(resumeLine, "--resume", "--force"))
	checkUnchanged(t, done)
}

func TestResumeGoesOn(t *testing.T) {
	whole := interruptedWithParts(t)
	kept := parts(t)
	if err := os.WriteFile("data/vectors/a/docs.npy", []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	// The inputs differ from those of the parts, which had one bad value: nothing of them may be used.
	if o := quarry(t.Context(), resumeLine+" --projection p.safetensors"); o.code != exitExists || !strings.Contains(o.stderr, "inputs.vectors/a/docs") {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
	if now := parts(t); len(now) != len(kept) {
		t.Errorf("%d parts, were %d", len(now), len(kept))
	}
	// --force starts anew.
	mustRun(t, strings.ReplaceAll(resumeLine, "--resume", "--projection p.safetensors --force"))
	err := filepath.WalkDir("out", func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, "part") {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
