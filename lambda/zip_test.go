package lambda_test

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/account"
)

// TestZip checks what is deployed: a program for arm64, the plugin compiled for it, and nothing else; and that packing
// again gives the same bytes.
func TestZip(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "bin", "lambda.zip")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("%s is not built: run `make lambda`", path)
	}
	const most = 16 << 20 // of 50 MiB that Lambda takes in an upload
	if len(file) > most {
		t.Errorf("%d bytes; expected at most %d", len(file), most)
	}
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	must(t, err)
	cached := false
	for _, f := range z.File {
		switch {
		case f.Name == "bootstrap":
			if f.Mode().Perm() != 0o755 {
				t.Errorf("bootstrap has mode %v", f.Mode())
			}
			r, err := f.Open()
			must(t, err)
			b, err := io.ReadAll(r)
			must(t, err)
			program, err := elf.NewFile(bytes.NewReader(b))
			must(t, err)
			if program.Machine != elf.EM_AARCH64 || program.Section(".interp") != nil {
				t.Errorf("bootstrap is for %v, or linked dynamically", program.Machine)
			}
		case strings.HasPrefix(f.Name, "cache/wazero-") && strings.Contains(f.Name, "-arm64-linux/"):
			cached = true
		default:
			t.Errorf("%s does not belong", f.Name)
		}
		if f.Modified.Year() > 1980 {
			t.Errorf("%s has the time %v", f.Name, f.Modified)
		}
	}
	if !cached {
		t.Log("the zip holds no compiled plugin: qemu-aarch64 was not there when it was made")
	}
	pack := filepath.Join(t.TempDir(), "pack")
	if out, err := exec.Command("go", "build", "-o", pack, "./internal/pack").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var packed [2][]byte // the zip itself may come from another toolchain, with another compression
	for i := range packed {
		again := filepath.Join(t.TempDir(), "again.zip")
		if out, err := exec.Command(pack, filepath.Join("..", "bin", "lambda"), again).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		packed[i], err = os.ReadFile(again)
		must(t, err)
		// The time of a file must not change the zip.
		must(t, os.Chtimes(filepath.Join("..", "bin", "lambda", "bootstrap"), time.Time{}, time.Now().Add(time.Duration(-i)*time.Hour)))
	}
	if !bytes.Equal(packed[0], packed[1]) {
		t.Error("packed again, the same files give other bytes")
	}
}

// TestZipRuns runs a job with the zip's own program for arm64, under QEMU. The program takes the plugin from the zip's
// cache, and the result has the bytes of this machine.
func TestZipRuns(t *testing.T) {
	emulator, err := exec.LookPath("qemu-aarch64")
	if err != nil {
		t.Skip("qemu-aarch64 is not here; on Debian: apt-get install qemu-user")
	}
	packed, err := filepath.Abs(filepath.Join("..", "bin", "lambda"))
	must(t, err)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(packed)); err != nil {
		t.Skipf("%s is not built: run `make lambda`", packed)
	}
	cached := func() (names []string) {
		must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && strings.HasPrefix(path, filepath.Join(dir, "cache")+"/") {
				names = append(names, path)
			}
			return err
		}))
		return names
	}
	before := cached()
	if len(before) == 0 {
		t.Skip("the zip was made with NOCACHE=1: run `make lambda`")
	}
	program := filepath.Join(dir, "run")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\nexec "+emulator+" "+filepath.Join(dir, "bootstrap")+"\n"), 0o700))
	a := newAccount(t, account.Options{Function: program, Cache: true, Concurrency: 1, Timeout: patience})
	folder := openDemo(t)
	p := fit(t, folder)
	negatives, manifest := oneMachine(t, folder, p, mining.Options{})
	at := a.Place("arm64")
	_, err = job.Init(t.Context(), at, folder, p, job.InitOptions{Mine: mining.Options{Compute: mining.Compute{Memory: option.ProcessBudget(1 << 30)}}, Shards: 3})
	must(t, err)
	a.drain(t)
	checkResult(t, at, negatives, manifest)
	if after := cached(); len(before) != 1 || !slices.Equal(before, after) {
		t.Errorf("the compiled plugin was not what the program looked for: %v, then %v", before, after)
	}
	t.Logf("the first process took %v to start, under the emulator", a.Function.Invocations()[0].Init)
}
