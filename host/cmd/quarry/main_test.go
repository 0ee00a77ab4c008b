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
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/host/engine"
)

// TestMain keeps the compiled plugin of all tests in one folder of their own: it is compiled once, and nothing of the
// user's is touched. With asCommand set, the test binary is the command: that is how tests have a process to interrupt. With asTrainer set it
// is what trains.
func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		runAsCommand() // exits
	}
	if os.Getenv(asTrainer) != "" {
		if err := runAsTrainer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
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

// workspace is a folder that a test's commands work in. It is not the current folder, of which there is one for all
// tests of the process, and tests run in parallel. In a command line a word that begins with ./ names a file of the
// workspace: "mine ./data -o ./out/n.jsonl".
type workspace string

// newWorkspace makes an empty workspace.
func newWorkspace(t *testing.T) workspace {
	t.Helper()
	return workspace(t.TempDir())
}

// workFolder makes a workspace with the data folder, and an empty folder out beside it.
func workFolder(t *testing.T, data files) workspace {
	t.Helper()
	w := newWorkspace(t)
	data.write(t, w.path("data"))
	w.mkdir(t, "out")
	return w
}

// here is the current folder as a workspace, for tests of paths that are relative, which cannot run in parallel.
const here = workspace(".")

// path is where a file of the workspace is.
func (w workspace) path(name string) string {
	return filepath.Join(string(w), filepath.FromSlash(name))
}

func (w workspace) mkdir(t *testing.T, name string) {
	t.Helper()
	if err := os.Mkdir(w.path(name), 0o755); err != nil {
		t.Fatal(err)
	}
}

// remove removes files.
func (w workspace) remove(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(w.path(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// rename gives a file another name.
func (w workspace) rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(w.path(from), w.path(to)); err != nil {
		t.Fatal(err)
	}
}

// write writes files.
func (w workspace) write(t *testing.T, f files) {
	t.Helper()
	f.write(t, string(w))
}

// args are the words of a command line, which is split at spaces.
func (w workspace) args(line string) []string {
	words := strings.Fields(line)
	for i, word := range words {
		if name, own := strings.CutPrefix(word, "./"); own {
			words[i] = w.path(name)
		}
	}
	return words
}

// output is what a command gave.
type output struct {
	code           int
	stdout, stderr string
}

// quarry runs a command line in this process. In what the command said, the files of the workspace have their names
// within it, as if it were the current folder.
func (w workspace) quarry(ctx context.Context, line string) output {
	var stdout, stderr bytes.Buffer
	code := execute(ctx, w.args(line), strings.NewReader(""), &stdout, &stderr)
	return output{code, w.within(stdout.String()), w.within(stderr.String())}
}

// within is a text in which the workspace's own name is left out.
func (w workspace) within(text string) string {
	if w == here {
		return text
	}
	text = strings.ReplaceAll(text, string(w)+string(filepath.Separator), "")
	return strings.ReplaceAll(text, string(w), ".")
}

// mustRun runs a command that has to succeed and say nothing on stderr, which is no terminal here.
func (w workspace) mustRun(t *testing.T, line string) string {
	t.Helper()
	o := w.quarry(t.Context(), line)
	if o.code != exitOK || o.stderr != "" {
		t.Fatalf("quarry %s: exit %d, stderr:\n%s", line, o.code, o.stderr)
	}
	return o.stdout
}

// read returns the content of a file.
func (w workspace) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(w.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tree reads all files of the workspace, hidden and temporary ones too. For a link it has the content of its target.
func (w workspace) tree(t *testing.T) files {
	t.Helper()
	all := files{}
	err := filepath.WalkDir(string(w), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(string(w), path)
		all[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// checkUnchanged fails where a file came, went or changed.
func (w workspace) checkUnchanged(t *testing.T, before files) {
	t.Helper()
	after := w.tree(t)
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

// compilePlugin compiles the plugin into the folder that TestMain has for that, once for all tests, so that tests which
// run beside one another do not all compile it.
func compilePlugin(t *testing.T) {
	t.Helper()
	pluginOnce.Do(func() {
		e, err := engine.Wasm(t.Context(), engine.WasmOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

var pluginOnce sync.Once

// failure is a command that must fail, and what its message must say.
type failure struct {
	name   string
	change func(data files) // what is wrong with the folder; nil where nothing is
	line   string           // the command line; mineLine where it is empty
	code   int              // exitInput where it is 0
	says   []string         // of stderr
}

// mineLine mines the folder of workFolder.
const mineLine = "mine ./data -o ./out/n.jsonl --engine native"

// runFailures runs failures, each in a new workspace. The exit code and the message must be right, nothing may go to
// stdout, and no file may come, go or change. The message of a problem with an input must have a hint.
func runFailures(t *testing.T, rows []failure) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			data := sample()
			if row.change != nil {
				row.change(data)
			}
			row.run(t, workFolder(t, data))
		})
	}
}

// run runs the failure in a workspace.
func (row failure) run(t *testing.T, w workspace) {
	t.Helper()
	if row.line == "" {
		row.line = mineLine
	}
	if row.code == exitOK {
		row.code = exitInput
	}
	before := w.tree(t)
	o := w.quarry(t.Context(), row.line)
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
	w.checkUnchanged(t, before)
	if t.Failed() {
		t.Logf("stderr was:\n%s", o.stderr)
	}
}

// TestSampleIsSound: the folder that the failures break is sound, for every command that they use. Otherwise they would
// prove nothing.
func TestSampleIsSound(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	w.mustRun(t, mineLine)
	for _, line := range []string{
		"fit ./data -o ./out/p.safetensors",
		"transform ./data --projection ./out/p.safetensors -o ./out --engine native",
		"export ./out/n.jsonl ./data -o ./out/t.jsonl",
		"inspect ./out/n.jsonl",
		"demo -o ./out/demo --engine native",
	} {
		w.mustRun(t, line)
	}
	all := w.tree(t)
	for _, name := range []string{"n.jsonl", "n.manifest.json", "projection.safetensors", "p.safetensors", "docs.npy", "queries.npy", "t.jsonl", "demo/negatives.jsonl"} {
		if all["out/"+name] == "" {
			t.Errorf("out/%s is empty or missing", name)
		}
	}
}

// TestFailureTableNotices is the table's own test: tree sees a file that a command leaves, a hidden one too.
func TestFailureTableNotices(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	before := w.tree(t)
	w.mustRun(t, "fit ./data -o ./out/p.safetensors")
	if after := w.tree(t); len(after) != len(before)+1 || after["out/p.safetensors"] == "" {
		t.Errorf("the tree has %d files, then %d", len(before), len(after))
	}
	w.write(t, files{"out/.hidden.tmp": "x"})
	if w.tree(t)["out/.hidden.tmp"] != "x" {
		t.Error("the tree lacks a hidden file")
	}
}

// must returns the value of a call that does not fail, unless the test itself is wrong.
func must[T any](value T, err error) T {
	if err != nil {
		panic(fmt.Sprint("in the test itself: ", err))
	}
	return value
}
