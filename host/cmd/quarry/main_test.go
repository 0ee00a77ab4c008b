package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// asCommand is the variable that makes the test binary the command.
const asCommand = "QUARRY_TEST_AS_COMMAND"

// TestMain keeps the compiled plugin of all tests in one folder of their own: it is compiled once, and nothing of the user's is touched.
// With asCommand set, the test binary is the command: that is how tests have a process to interrupt.
func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main() // exits
	}
	cache, err := os.MkdirTemp("", "quarry-test-cache")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		if err := os.Setenv(name, cache); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if err := os.RemoveAll(cache); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// output is what a command gave.
type output struct {
	code           int
	stdout, stderr string
}

// quarry runs a command line, split at spaces.
func quarry(ctx context.Context, line string) output {
	var stdout, stderr bytes.Buffer
	code := execute(ctx, strings.Fields(line), strings.NewReader(""), &stdout, &stderr)
	return output{code, stdout.String(), stderr.String()}
}

// mustRun runs a command that has to succeed and say nothing on stderr, which is no terminal here.
func mustRun(t *testing.T, line string) string {
	t.Helper()
	o := quarry(t.Context(), line)
	if o.code != exitOK || o.stderr != "" {
		t.Fatalf("quarry %s: exit %d, stderr:\n%s", line, o.code, o.stderr)
	}
	return o.stdout
}

// workFolder makes the data folder, and an empty folder out beside it, in a new folder that becomes the current one. Messages then
// name files by short paths that are the same everywhere.
func workFolder(t *testing.T, data files) {
	t.Helper()
	t.Chdir(t.TempDir())
	data.write(t, "data")
	if err := os.Mkdir("out", 0o755); err != nil {
		t.Fatal(err)
	}
}

// tree reads all files below the current folder, hidden and temporary ones too. Of links it has where they lead.
func tree(t *testing.T) files {
	t.Helper()
	all := files{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[filepath.ToSlash(path)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// checkUnchanged fails where a file came, went or changed.
func checkUnchanged(t *testing.T, before files) {
	t.Helper()
	after := tree(t)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if old, was := before[name]; !was {
			t.Errorf("%s was left behind", name)
		} else if old != after[name] {
			t.Errorf("%s was changed", name)
		}
	}
	for name := range before {
		if _, is := after[name]; !is {
			t.Errorf("%s was removed", name)
		}
	}
}

// failure is a command that has to fail, and what it has to say.
type failure struct {
	name   string
	change func(data files) // what is wrong with the folder; nil where nothing is
	line   string           // the command line; mineLine where it is empty
	code   int              // exitInput where it is 0
	says   []string         // of stderr
}

// mineLine mines the folder of workFolder.
const mineLine = "mine data -o out/n.jsonl --engine native"

// runFailures runs failures, each in a new folder: the exit code and the message are right, nothing goes to stdout, and no file comes,
// goes or changes. A problem with an input comes with a hint for mending it.
func runFailures(t *testing.T, rows []failure) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			data := sample()
			if row.change != nil {
				row.change(data)
			}
			workFolder(t, data)
			row.run(t)
		})
	}
}

// run runs the failure in the current folder.
func (row failure) run(t *testing.T) {
	t.Helper()
	if row.line == "" {
		row.line = mineLine
	}
	if row.code == exitOK {
		row.code = exitInput
	}
	before := tree(t)
	o := quarry(t.Context(), row.line)
	if o.code != row.code {
		t.Errorf("quarry %s: exit %d, expected %d", row.line, o.code, row.code)
	}
	message := strings.ReplaceAll(o.stderr, string(filepath.Separator), "/")
	for _, part := range row.says {
		if !strings.Contains(message, part) {
			t.Errorf("quarry %s: the message lacks %q", row.line, part)
		}
	}
	if row.code == exitInput && !strings.Contains(message, "\n  hint: ") {
		t.Errorf("quarry %s: the message has no hint", row.line)
	}
	if !strings.HasPrefix(message, "quarry: ") {
		t.Errorf("quarry %s: the message does not begin with the command's name", row.line)
	}
	if o.stdout != "" {
		t.Errorf("quarry %s: stdout is not empty:\n%s", row.line, o.stdout)
	}
	checkUnchanged(t, before)
	if t.Failed() {
		t.Logf("stderr was:\n%s", o.stderr)
	}
}

// TestSampleIsSound is what makes the failures mean something: the folder that they break works, for every command they use.
func TestSampleIsSound(t *testing.T) {
	workFolder(t, sample())
	mustRun(t, mineLine)
	for _, line := range []string{
		"fit data -o out/p.safetensors",
		"transform data --projection out/p.safetensors -o out --engine native",
		"export out/n.jsonl data -o out/t.jsonl",
		"inspect out/n.jsonl",
		"demo -o out/demo --engine native",
	} {
		mustRun(t, line)
	}
	made := tree(t)
	for _, name := range []string{"n.jsonl", "n.manifest.json", "projection.safetensors", "p.safetensors", "docs.npy", "queries.npy", "t.jsonl", "demo/negatives.jsonl"} {
		if made["out/"+name] == "" {
			t.Errorf("out/%s is empty or missing", name)
		}
	}
}

// TestFailureTableNotices is the table's own test: a command that leaves a file, or fails in another way than expected, is noticed.
func TestFailureTableNotices(t *testing.T) {
	workFolder(t, sample())
	before := tree(t)
	mustRun(t, "fit data -o out/p.safetensors")
	if after := tree(t); len(after) != len(before)+1 || after["out/p.safetensors"] == "" {
		t.Errorf("the tree has %d files, then %d", len(before), len(after))
	}
	if err := os.WriteFile(filepath.Join("out", ".hidden.tmp"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if tree(t)["out/.hidden.tmp"] != "x" {
		t.Error("the tree lacks a hidden file")
	}
}

// must is a value whose error is a bug of the test.
func must[T any](value T, err error) T {
	if err != nil {
		panic(fmt.Sprint("in the test itself: ", err))
	}
	return value
}
