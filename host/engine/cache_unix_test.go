//go:build unix

package engine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// fullVariable has the test binary load the tiny module as on a disk that is full, with the cache that it names.
const fullVariable = "QUARRY_ENGINE_FULL"

// TestCacheFullDisk has a disk that has a few bytes left. The module is compiled once, and Warn is told. A process
// of its own has that disk: the limit on a file's size, which stands for it, is a process's.
func TestCacheFullDisk(t *testing.T) {
	if dir := os.Getenv(fullVariable); dir != "" {
		loadOnFullDisk(t, dir)
		return
	}
	for _, damaged := range []bool{false, true} {
		dir := t.TempDir()
		if damaged {
			expect(t, "first", dir, tiny, 1, "")
			damage(t, cacheFileOf(dir, tiny), func(b []byte) []byte { return b[1:] })
		}
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCacheFullDisk$")
		c.Env = append(os.Environ(), fullVariable+"="+dir)
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("damaged is %v: %v\n%s", damaged, err, out)
		}
		says := ""
		if damaged {
			says = "written anew"
		}
		expect(t, "with room again", dir, tiny, 1, says)
		holdsNothingElse(t, dir, tiny)
	}
}

func loadOnFullDisk(t *testing.T, dir string) {
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 16, Max: 16}); err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	told := ""
	e, err := Wasm(compilations{t.Context(), &n}, WasmOptions{CacheDir: dir, Module: tiny, Warn: func(problem string) { told += problem }})
	// What is printed would go past the limit too, where it goes to a file.
	if err != nil || n.Load() != 1 || !strings.Contains(told, "file too large") || !strings.Contains(told, "hint: name a folder") {
		panic(fmt.Sprint(err, n.Load(), told))
	}
	_ = e.Close(context.Background())
}
