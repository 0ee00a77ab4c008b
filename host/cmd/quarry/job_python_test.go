package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestJobOfPython runs the example of docs/JOBS.md, a job made without quarry job init, and gets the negatives of quarry mine.
func TestJobOfPython(t *testing.T) {
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
	demoFolder(t)
	if err := os.Rename("data", "mydata"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "fit mydata -o projection.safetensors")
	mustRun(t, "transform mydata --projection projection.safetensors -o projected --engine native")
	mustRun(t, "mine mydata --projection projection.safetensors -o out/n.jsonl --engine native")
	if out, err := exec.Command(python, "-c", program).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mustRun(t, "job run --engine native bucket/jobs/python")
	mustRun(t, "job fetch -o out/j.jsonl bucket/jobs/python")
	if all := tree(t); all["out/n.jsonl"] == "" || all["out/n.jsonl"] != all["out/j.jsonl"] {
		t.Error("the negatives differ from those of mine")
	}
}
