package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/negatives"
)

// TestJobOfPython runs the example of docs/JOBS.md, a job made without quarry job init, and gets the negatives of
// quarry mine.
func TestJobOfPython(t *testing.T) {
	t.Parallel()
	python := os.Getenv("QUARRY_PYTHON")
	if python == "" {
		python = must(filepath.Abs("../../../.venv/bin/python"))
	}
	if out, err := exec.Command(python, "-c", "import numpy, safetensors").CombinedOutput(); err != nil {
		t.Skipf("no Python with numpy and safetensors: run `make test`, which sets one up, or set QUARRY_PYTHON (%v %s)", err, out)
	}
	page := string(must(os.ReadFile("../../../docs/JOBS.md")))
	_, program, _ := strings.Cut(page, "```python\n")
	program, _, found := strings.Cut(program, "```")
	if !found {
		t.Fatal("docs/JOBS.md has no Python example")
	}
	w := demoFolder(t)
	w.rename(t, "data", "mydata")
	edit := func(name string, change func(string) string) {
		t.Helper()
		w.write(t, files{name: change(w.read(t, name))})
	}
	// An id with quotes, and a query of train whose nearest negative is a positive of test.
	w.mustRun(t, "mine ./mydata -o ./out/first.jsonl --engine native --projection ./p.safetensors")
	first := must(negatives.Load(w.path("out/first.jsonl")))
	with := first[slices.IndexFunc(first, func(p negatives.Pair) bool { return len(p.Negatives) > 0 })]
	edit("mydata/qrels/test.tsv", func(s string) string { return s + with.QueryID + "\t" + with.Negatives[0].ID + "\t1\n" })
	edit("mydata/qrels/train.tsv", func(s string) string { return strings.ReplaceAll(s, "\td001\t", "\t\"d001\"\t") })
	edit("mydata/corpus.jsonl", func(s string) string { return strings.ReplaceAll(s, `"_id": "d001"`, `"_id": "\"d001\""`) })
	w.rename(t, "p.safetensors", "projection.safetensors")
	w.mustRun(t, "transform ./mydata --projection ./projection.safetensors -o ./projected --engine native")
	w.mustRun(t, "mine ./mydata --projection ./projection.safetensors -o ./out/n.jsonl --engine native")
	script := exec.Command(python, "-c", program)
	script.Dir = string(w)
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.mustRun(t, "job run --engine native ./bucket/jobs/python")
	w.mustRun(t, "job fetch -o ./out/j.jsonl ./bucket/jobs/python")
	if all := w.tree(t); all["out/n.jsonl"] == "" || all["out/n.jsonl"] != all["out/j.jsonl"] {
		t.Error("the negatives differ from those of mine")
	}
}
