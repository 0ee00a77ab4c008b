package lambda_test

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestZip looks at what is deployed: a program for arm64, and the plugin compiled for it; no more, and the same bytes each time.
func TestZip(t *testing.T) {
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
	var packed [2][]byte // by this test's own toolchain, whose compression may be another's
	for i := range packed {
		again := filepath.Join(t.TempDir(), "again.zip")
		if out, err := exec.Command("go", "run", "./internal/pack", filepath.Join("..", "bin", "lambda"), again).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		packed[i], err = os.ReadFile(again)
		must(t, err)
		// Another time of the files changes nothing.
		must(t, os.Chtimes(filepath.Join("..", "bin", "lambda", "bootstrap"), time.Time{}, time.Now().Add(time.Duration(-i)*time.Hour)))
	}
	if !bytes.Equal(packed[0], packed[1]) {
		t.Error("packed again, the same files give other bytes")
	}
}
