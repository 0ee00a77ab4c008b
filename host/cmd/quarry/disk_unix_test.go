//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkUnwritten fails unless the command ended as one that could not write an output: its exit code says so, its
// message names the file and why, and it printed no summary. It returns the file.
func checkUnwritten(t *testing.T, o output, why string) (file string) {
	t.Helper()
	said, ok := strings.CutPrefix(o.stderr, "quarry: cannot write ")
	file, reason, _ := strings.Cut(said, ": ")
	if o.code != exitWrite || !ok || !strings.Contains(reason, why) || o.stdout != "" {
		t.Errorf("exit %d, expected %d; stdout %q, stderr %q, expected a file and %q", o.code, exitWrite, o.stdout, o.stderr, why)
	}
	return file
}

// TestFileSizeLimit runs commands under a limit on the size of files, which acts like a full disk. The limit is small at
// first, and grows until the command succeeds. The outputs exist already, and stay as they are while the command fails.
func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		blocks, times int // of 512 bytes, to begin with; and how many times as many the next time
		line          string
		fails         []string // the files that are at some size the first not to fit
	}{
		{1, 2, mineLine, []string{"out/projection.safetensors", "out/n.manifest.json"}},
		{1, 2, mineLine + " --projection ./p.safetensors --rule topk --top 3", []string{"out/n.jsonl", "out/n.manifest.json"}},
		{1, 2, "fit ./data -o ./out/p.safetensors", []string{"out/p.safetensors"}},
		{1, 2, "export ./n.jsonl ./data -o ./out/t.jsonl --separator " + strings.Repeat("x", 1000), []string{"out/t.jsonl"}},
		{64, 4, "transform ./demo/data --projection ./demo/projection.safetensors -o ./out --engine native", []string{"out/docs.npy"}},
		{64, 4, "demo -o ./out --engine native", []string{"out/data/corpus.jsonl", "out/data/vectors/minilm/docs.npy", "out/projection.safetensors"}},
	} {
		t.Run(row.line, func(t *testing.T) {
			t.Parallel()
			w := minedFolder(t)
			minedDemo(t).write(t, w.path("demo"))
			w.mustRun(t, row.line)
			for name := range w.tree(t) {
				if strings.HasPrefix(name, "out/") {
					w.write(t, files{name: "old"})
				}
			}
			before := w.tree(t)
			var fails []string
			for blocks := row.blocks; ; blocks *= row.times {
				o := w.process(t, fmt.Sprintf(`ulimit -f %d && exec "$@"`, blocks), row.line+" --force").finish(t)
				if o.code == exitOK || t.Failed() {
					break
				}
				if file := checkUnwritten(t, o, "file too large"); !slices.Contains(fails, file) {
					fails = append(fails, file)
				}
				w.checkUnchanged(t, before)
			}
			if !slices.Equal(fails, row.fails) {
				t.Errorf("%q did not fit, expected %q", fails, row.fails)
			}
			for name, content := range w.tree(t) {
				if content == "old" {
					t.Errorf("%s is the old one, and the command succeeded", name)
				}
			}
		})
	}
}

// TestFullDisk writes to a disk of its own, in a name space that nothing else sees. At first the disk is a page too small
// for the first file. Then it has room for just that file; then it is a page too small for the second, and so on until
// all files fit.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	isolate, err := exec.LookPath("unshare")
	if err == nil {
		err = exec.Command(isolate, "-rm", "mount", "-t", "tmpfs", "none", t.TempDir()).Run()
	}
	if err != nil {
		t.Skip("no file system can be mounted here: ", err)
	}
	const results = "n.jsonl n.manifest.json"
	for _, row := range []struct {
		line  string
		files []string // as they are written
		ends  string   // the file that does not fit, and what is there then; from the smallest disk to the largest
	}{
		// The statistics are written after the results, which stay where the statistics do not fit.
		{"mine ./demo/data -o ./out/n.jsonl --projection ./demo/projection.safetensors --engine native --stats ./out/s.json", []string{"n.jsonl", "n.manifest.json", "s.json"},
			"out/n.jsonl: , out/n.manifest.json: , out/s.json: " + results + ", success: " + results + " s.json"},
		{"transform ./demo/data --projection ./demo/projection.safetensors -o ./out --engine native", []string{"docs.npy", "queries.npy"},
			"out/docs.npy: , out/queries.npy: , success: docs.npy queries.npy"},
		{"export ./demo/negatives.jsonl ./demo/data -o ./out/t.jsonl", []string{"t.jsonl"}, "out/t.jsonl: , success: t.jsonl"},
	} {
		t.Run(row.line, func(t *testing.T) {
			t.Parallel()
			w := workFolder(t, sample())
			minedDemo(t).write(t, w.path("demo"))
			w.mustRun(t, row.line)
			var sizes []int // of the disk, in pages of 4 KiB
			pages := 0
			for _, name := range row.files {
				pages += (len(w.read(t, "out/"+name)) + 4095) / 4096
				sizes = append(sizes, pages-1, pages)
			}
			w.emptyOut(t)
			var ends []string
			for _, size := range sizes {
				script := fmt.Sprintf(`mount -t tmpfs -o size=%dk none out && "$@"; code=$?; ls -A out >left; exit $code`, max(4*size, 1))
				o := w.process(t, `exec unshare -rm sh -c '`+script+`' sh "$@"`, row.line).finish(t)
				file := "success"
				if o.code != exitOK {
					file = checkUnwritten(t, o, "no space left")
				}
				if end := file + ": " + strings.Join(strings.Fields(w.read(t, "left")), " "); !slices.Contains(ends, end) {
					ends = append(ends, end)
				}
				if t.Failed() {
					return
				}
			}
			if got := strings.Join(ends, ", "); got != row.ends {
				t.Errorf("what did not fit, and what was there: %s; expected %s", got, row.ends)
			}
		})
	}
}

// compiled are the compiled modules in a cache: the plugin, and what else was compiled.
func compiled(cache string) []string {
	return must(filepath.Glob(filepath.Join(cache, "quarry", "wazero", "*", "*")))
}

// TestCacheThatFails: where the compiled plugin cannot be kept, or what was kept is damaged, the plugin is compiled for
// this run alone. That takes a second or two each time, so -short tries two of the ways.
func TestCacheThatFails(t *testing.T) {
	t.Parallel()
	compilePlugin(t)
	for _, row := range []struct {
		name, shell string
		change      func(file string) error // of the cache that the command finds; nil for a command that finds none
		short       bool
	}{
		{"no room", `ulimit -f 8 && exec "$@"`, nil, true},
		{"cut off", `exec "$@"`, func(file string) error { return os.Truncate(file, 3) }, true},
		{"room", `exec "$@"`, nil, false},
		{"empty", `exec "$@"`, func(file string) error { return os.Truncate(file, 0) }, false},
		{"another file", `exec "$@"`, func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte("x"), 1000), 0o644) }, false},
		{"a folder", `exec "$@"`, func(file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o755)) }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && !row.short {
				t.Skip("the other rows are a sample")
			}
			w := minedFolder(t)
			cache := w.path("cache")
			if row.change != nil {
				if err := os.CopyFS(cache, os.DirFS(os.Getenv("XDG_CACHE_HOME"))); err != nil {
					t.Fatal(err)
				}
				for _, file := range compiled(cache) {
					if err := row.change(file); err != nil {
						t.Fatal(err)
					}
				}
			}
			w.mustRun(t, "mine ./data -o ./out/native.jsonl --engine native --projection ./p.safetensors")
			p := w.process(t, row.shell, "mine ./data --engine wasm --projection ./p.safetensors -o ./out/wasm.jsonl")
			p.Env = append(p.Env, "XDG_CACHE_HOME="+cache, "HOME="+cache)
			if o := p.finish(t); o.code != exitOK || o.stderr != "" {
				t.Fatalf("exit %d, stderr:\n%s", o.code, o.stderr)
			}
			if w.read(t, "out/wasm.jsonl") != w.read(t, "out/native.jsonl") {
				t.Error("the negatives differ from those of the native engine")
			}
			if n := len(compiled(cache)); row.name == "room" && n != 1 {
				t.Errorf("the cache has %d files, expected the plugin", n)
			}
		})
	}
}

// TestDevices: a device or a socket is not replaced by a file, with --force and without. A socket's name may not be as
// long as a workspace's, so paths are relative here.
func TestDevices(t *testing.T) {
	t.Chdir(string(minedFolder(t)))
	w := here
	l, err := net.Listen("unix", "out/socket")
	if err != nil {
		t.Skip("no sockets here: ", err)
	}
	defer l.Close()
	if err := os.Symlink(os.DevNull, "out/null"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"out/socket", "out/null"} {
		mode := must(os.Lstat(name)).Mode()
		for _, line := range []string{"mine ./data --engine native -o ./" + name, statsLine + " --stats ./" + name, "fit ./data -o ./" + name, "export ./n.jsonl ./data -o ./" + name} {
			for _, force := range []string{"", " --force"} {
				checkUnwritten(t, w.quarry(t.Context(), line+force), "device")
			}
		}
		if got := must(os.Lstat(name)).Mode(); got != mode {
			t.Errorf("%s is %v now; it was %v", name, got, mode)
		}
	}
}
