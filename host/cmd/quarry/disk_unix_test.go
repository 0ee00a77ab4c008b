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

// checkUnwritten fails where the command did not end as one whose output could not be written: it names the file, and prints no summary.
func checkUnwritten(t *testing.T, o output, why string) (file string) {
	t.Helper()
	said, ok := strings.CutPrefix(o.stderr, "quarry: cannot write ")
	file, reason, _ := strings.Cut(said, ": ")
	if o.code != exitWrite || !ok || !strings.Contains(reason, why) || o.stdout != "" {
		t.Errorf("exit %d, expected %d; stdout %q, stderr %q, expected a file and %q", o.code, exitWrite, o.stdout, o.stderr, why)
	}
	return file
}

// TestFileSizeLimit lets files grow to some size and no further, which is as a disk that is full: first to hardly any, then more, until
// the command succeeds. The outputs are there already, and stay as they are for as long as it fails.
func TestFileSizeLimit(t *testing.T) {
	for _, row := range []struct {
		blocks int // of 512 bytes, to begin with; each time they double
		line   string
		fails  []string // the files that are at some size the first not to fit
	}{
		{1, mineLine, []string{"out/projection.safetensors", "out/n.manifest.json"}},
		{1, mineLine + " --projection p.safetensors --rule topk --top 3", []string{"out/n.jsonl", "out/n.manifest.json"}},
		{1, "fit data -o out/p.safetensors", []string{"out/p.safetensors"}},
		{1, "export n.jsonl data -o out/t.jsonl --separator " + strings.Repeat("x", 1000), []string{"out/t.jsonl"}},
		{64, "transform demo/data --projection demo/projection.safetensors -o out --engine native", []string{"out/docs.npy"}},
		{64, "demo -o out --engine native", []string{"out/data/corpus.jsonl", "out/data/vectors/minilm/docs.npy", "out/projection.safetensors"}},
	} {
		t.Run(row.line, func(t *testing.T) {
			made(t)
			mustRun(t, "demo -o demo --engine native")
			mustRun(t, row.line)
			for name := range tree(t) {
				if strings.HasPrefix(name, "out/") {
					files{name: "old"}.write(t, ".")
				}
			}
			before := tree(t)
			var fails []string
			for blocks := row.blocks; ; blocks *= 2 {
				o := command(t.Context(), fmt.Sprintf(`ulimit -f %d && exec "$@"`, blocks), row.line+" --force").finish(t)
				if o.code == exitOK || t.Failed() {
					break
				}
				if file := checkUnwritten(t, o, "file too large"); !slices.Contains(fails, file) {
					fails = append(fails, file)
				}
				checkUnchanged(t, before)
			}
			if !slices.Equal(fails, row.fails) {
				t.Errorf("%q did not fit, expected %q", fails, row.fails)
			}
			for name, content := range tree(t) {
				if content == "old" {
					t.Errorf("%s is the old one, and the command succeeded", name)
				}
			}
		})
	}
}

// TestFullDisk writes to a disk of its own, which is small, in a name space that nothing else sees; then to larger ones, until all fits.
func TestFullDisk(t *testing.T) {
	isolate, err := exec.LookPath("unshare")
	if err == nil {
		err = exec.Command(isolate, "-rm", "mount", "-t", "tmpfs", "none", t.TempDir()).Run()
	}
	if err != nil {
		t.Skip("no file system can be mounted here: ", err)
	}
	const results = "n.jsonl n.manifest.json"
	for _, row := range []struct{ line, fails string }{
		// The statistics are written when the results are complete, and leave them there.
		{"mine demo/data -o out/n.jsonl --projection demo/projection.safetensors --engine native --stats out/s.json",
			"out/n.jsonl: , out/n.manifest.json: , out/s.json: " + results + ", success: " + results + " s.json"},
		{"transform demo/data --projection demo/projection.safetensors -o out --engine native", "out/docs.npy: , out/queries.npy: , success: docs.npy queries.npy"},
		{"export demo/negatives.jsonl demo/data -o out/t.jsonl", "out/t.jsonl: , success: t.jsonl"},
	} {
		t.Run(row.line, func(t *testing.T) {
			workFolder(t, sample())
			mustRun(t, "demo -o demo --engine native")
			var fails []string
			for pages := 1; fails == nil || !strings.HasPrefix(fails[len(fails)-1], "success"); pages += 1 + pages/16 {
				script := fmt.Sprintf(`mount -t tmpfs -o size=%dk none out && "$@"; code=$?; ls -A out >left; exit $code`, 4*pages)
				o := command(t.Context(), `exec unshare -rm sh -c '`+script+`' sh "$@"`, row.line).finish(t)
				file := "success"
				if o.code != exitOK {
					file = checkUnwritten(t, o, "no space left")
				}
				if state := file + ": " + strings.Join(strings.Fields(tree(t)["left"]), " "); !slices.Contains(fails, state) {
					fails = append(fails, state)
				}
				if t.Failed() {
					return
				}
			}
			if got := strings.Join(fails, ", "); got != row.fails {
				t.Errorf("what did not fit, and what was there: %s; expected %s", got, row.fails)
			}
		})
	}
}

// TestCacheThatFails: where the compiled plugin cannot be kept, or what was kept is damaged, the plugin is compiled for this run alone.
func TestCacheThatFails(t *testing.T) {
	made(t)
	mustRun(t, "mine data -o out/native.jsonl --engine native --projection p.safetensors")
	cache := must(filepath.Abs("cache"))
	for i, row := range []struct {
		name, shell string
		change      func(file string) error
	}{
		{"no room", `ulimit -f 8 && exec "$@"`, nil},
		{"room", `exec "$@"`, nil},
		{"cut off", `exec "$@"`, func(file string) error { return os.Truncate(file, 3) }},
		{"empty", `exec "$@"`, func(file string) error { return os.Truncate(file, 0) }},
		{"another file", `exec "$@"`, func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte("x"), 1000), 0o644) }},
		{"a folder", `exec "$@"`, func(file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o755)) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.change != nil {
				kept := must(filepath.Glob(filepath.Join(cache, "quarry", "wazero", "*", "*")))
				if len(kept) != 1 {
					t.Fatalf("the cache has %q, expected one file", kept)
				}
				if err := row.change(kept[0]); err != nil {
					t.Fatal(err)
				}
			}
			name := fmt.Sprintf("out/n%d.jsonl", i)
			p := command(t.Context(), row.shell, "mine data --engine wasm --projection p.safetensors -o "+name)
			p.Env = append(p.Env, "XDG_CACHE_HOME="+cache, "HOME="+cache)
			if o := p.finish(t); o.code != exitOK || o.stderr != "" {
				t.Fatalf("exit %d, stderr:\n%s", o.code, o.stderr)
			}
			if made := tree(t); made[name] != made["out/native.jsonl"] {
				t.Error("the negatives differ from those of the native engine")
			}
		})
	}
}

// TestDevices: what is no file is not replaced by one, whatever --force says.
func TestDevices(t *testing.T) {
	made(t)
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
		for _, line := range []string{"mine data --engine native -o " + name, statsLine + " --stats " + name, "fit data -o " + name, "export n.jsonl data -o " + name} {
			for _, force := range []string{"", " --force"} {
				checkUnwritten(t, quarry(t.Context(), line+force), "device")
			}
		}
		if got := must(os.Lstat(name)).Mode(); got != mode {
			t.Errorf("%s is %v now; it was %v", name, got, mode)
		}
	}
}
