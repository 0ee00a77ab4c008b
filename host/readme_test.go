package host_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset/demo"
)

// TestReadme compiles and runs the Go example of README.md, on the demo as the folder mydata. It prints a triplet for each negative.
func TestReadme(t *testing.T) {
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, body, found := strings.Cut(string(page), "```go\n")
	body, _, ended := strings.Cut(body, "```")
	if !found || !ended {
		t.Fatal("README.md has no Go example")
	}
	dir := t.TempDir()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "readme")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	text := `package main

import (
	"context"
	"log"
	"os"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset/beir"
)

func main() {
	if err := example(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func example(ctx context.Context) error {
` + body + "}\n"
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "mydata"), demo.FS); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", program, source).CombinedOutput(); err != nil { // in this folder, so in this module
		t.Fatalf("README.md's example does not compile: %v\n%s", err, out)
	}
	run := exec.Command(program)
	run.Dir = dir
	var problems strings.Builder
	run.Stderr = &problems
	out, err := run.Output()
	if err != nil {
		t.Fatalf("README.md's example fails: %v\n%s", err, problems.String())
	}
	const negatives = 139 // of quarry demo
	if n := strings.Count(string(out), `"negative":"`); n != negatives {
		t.Errorf("README.md's example writes %d triplets; expected %d", n, negatives)
	}
}
