package engine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/quarry-hn/quarry/plugin"
	"github.com/quarry-hn/quarry/plugin/abi"
)

// tiny is a module with one function: (module (func (export "f") (result i32) i32.const 42)). It compiles at once.
var tiny = []byte("\x00asm\x01\x00\x00\x00\x01\x05\x01\x60\x00\x01\x7f\x03\x02\x01\x00\x07\x05\x01\x01f\x00\x00\x0a\x06\x01\x04\x00\x41\x2a\x0b")

// compilations is a context that counts how often wazero compiles: each time it asks once by how many workers. A test that
// expects one compilation fails where wazero asks no more.
type compilations struct {
	context.Context
	n *atomic.Int32
}

func (c compilations) Value(key any) any {
	if fmt.Sprintf("%T", key) == "expctxkeys.CompilationWorkers" {
		c.n.Add(1)
	}
	return c.Context.Value(key)
}

func init() {
	withWorkers = func(ctx context.Context, n int) context.Context {
		c, counts := ctx.(compilations)
		if ctx = experimental.WithCompilationWorkers(ctx, n); counts {
			return compilations{ctx, c.n}
		}
		return ctx
	}
}

// loads loads a module with a cache, and runs its function. It returns how often the module was compiled, and what Warn
// was told.
func loads(t *testing.T, dir string, module []byte) (compiled int, warned []string) {
	t.Helper()
	var n atomic.Int32
	ctx := compilations{t.Context(), &n}
	told := 0
	e, err := Wasm(ctx, WasmOptions{CacheDir: dir, Module: module, Warn: func(problem string) { warned = append(warned, problem) }, Compiling: func() { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	if told != int(n.Load()) {
		t.Errorf("compiled %d times, and Compiling was called %d times", n.Load(), told)
	}
	if bytes.Equal(module, plugin.Wasm) {
		must(t, open(t, e), abi.OpInfo, nil)
		return int(n.Load()), warned
	}
	w := e.(*wasm)
	i, err := w.runtime.InstantiateModule(t.Context(), w.compiled, wazero.NewModuleConfig())
	if err != nil {
		t.Fatal(err)
	}
	if results, err := i.ExportedFunction("f").Call(t.Context()); err != nil || results[0] != 42 {
		t.Errorf("the function gives %v, %v", results, err)
	}
	return int(n.Load()), warned
}

// expect loads a module and checks what came of it. says is empty where nobody is to be told anything.
func expect(t *testing.T, what, dir string, module []byte, compiled int, says string) {
	t.Helper()
	n, warned := loads(t, dir, module)
	if n != compiled || (says == "") != (len(warned) == 0) || len(warned) > 1 || !strings.Contains(strings.Join(warned, ""), says) {
		t.Errorf("%s: compiled %d times, told %q; expected %d and %q", what, n, warned, compiled, says)
	}
}

// TestCacheOfThePlugin has the plugin's own module: it is compiled once, and kept where HasCache looks.
func TestCacheOfThePlugin(t *testing.T) {
	dir := t.TempDir()
	if HasCache(dir) {
		t.Error("an empty folder holds the plugin")
	}
	expect(t, "first", dir, plugin.Wasm, 1, "")
	if !HasCache(dir) {
		t.Errorf("the plugin was kept elsewhere than at %s", cacheFileOf(dir, plugin.Wasm).path())
	}
	expect(t, "second", dir, plugin.Wasm, 0, "")
	if !testing.Short() { // compiling takes two seconds
		sameBytesOfOneWorker(t, dir)
	}
	// Function 1 begins elsewhere. wazero does not notice that.
	damage(t, cacheFileOf(dir, plugin.Wasm), func(b []byte) []byte { b[40] ^= 0x10; return b })
	if HasCache(dir) {
		t.Error("HasCache is true of a damaged file")
	}
	if !testing.Short() { // compiling takes two seconds
		expect(t, "damaged", dir, plugin.Wasm, 1, "damaged; it was compiled and written anew")
		expect(t, "after that", dir, plugin.Wasm, 0, "")
	}
}

// sameBytesOfOneWorker checks that a cache, which all cores filled, holds what one core compiles.
func sameBytesOfOneWorker(t *testing.T, dir string) {
	t.Helper()
	one := t.TempDir()
	e, err := Wasm(t.Context(), WasmOptions{CacheDir: one, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	var files [2][]byte
	for i, dir := range []string{dir, one} {
		if files[i], err = os.ReadFile(cacheFileOf(dir, plugin.Wasm).path()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Errorf("%d bytes compiled on %d cores, and %d on one, differ", len(files[0]), runtime.GOMAXPROCS(0), len(files[1]))
	}
}

func damage(t *testing.T, c cacheFile, by func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(c.path())
	if err == nil {
		err = os.WriteFile(c.path(), by(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// holdsNothingElse checks that a cache holds the good files of modules, and no other.
func holdsNothingElse(t *testing.T, dir string, modules ...[]byte) {
	t.Helper()
	want := map[string]bool{}
	for _, module := range modules {
		c := cacheFileOf(dir, module)
		want[c.path()] = true
		if err := c.check(); err != nil {
			t.Errorf("%s: %v", c.path(), err)
		}
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !want[path] || err == nil && strings.HasPrefix(d.Name(), ".") {
			t.Errorf("left is %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCacheMended damages the file in several ways. The module is loaded each time, and the file is good after that.
func TestCacheMended(t *testing.T) {
	dir := t.TempDir()
	other := bytes.ReplaceAll(tiny, []byte("\x41\x2a"), []byte("\x41\x2b")) // gives 43
	c := cacheFileOf(dir, tiny)
	expect(t, "first", dir, tiny, 1, "")
	e, err := Wasm(t.Context(), WasmOptions{CacheDir: dir, Module: other})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	good, err := os.ReadFile(c.path())
	if err != nil {
		t.Fatal(err)
	}
	ways := map[string]func([]byte) []byte{
		"the file of another module": func([]byte) []byte {
			b, err := os.ReadFile(cacheFileOf(dir, other).path())
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		"a byte more":      func(b []byte) []byte { return append(b, 0) },
		"all zeros":        func(b []byte) []byte { return make([]byte, len(b)) },
		"wazero's alone":   func(b []byte) []byte { return b[:int64(len(b))-endSize] },
		"some other bytes": func([]byte) []byte { return bytes.Repeat([]byte("x"), 100_000) },
	}
	for i := range good {
		if testing.Short() && i%7 != 0 && i != len(good)-1 {
			continue
		}
		ways[fmt.Sprint("bytes ", i)] = func(b []byte) []byte { return b[:i] }
		ways[fmt.Sprint("flipped ", i)] = func(b []byte) []byte { b[i] ^= 1 << (i % 8); return b }
	}
	for what, way := range ways {
		damage(t, c, way)
		expect(t, what, dir, tiny, 1, "damaged; it was compiled and written anew")
		if now, err := os.ReadFile(c.path()); err != nil || !bytes.Equal(now, good) {
			t.Fatalf("%s: the file was not mended: %v", what, err)
		}
	}
	expect(t, "at last", dir, tiny, 0, "")
	holdsNothingElse(t, dir, tiny, other)
}

// childVariable has the test binary load the tiny module with the cache that it names, several times at once.
const childVariable = "QUARRY_ENGINE_CACHE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		os.Exit(loadMany(dir))
	}
	os.Exit(m.Run())
}

func loadMany(dir string) int {
	var failed atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			e, err := Wasm(context.Background(), WasmOptions{CacheDir: dir, Module: tiny})
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				failed.Store(1)
				return
			}
			_ = e.Close(context.Background())
		})
	}
	all.Wait()
	return int(failed.Load())
}

// TestCacheMendedByMany has several processes find the damaged file, and several goroutines of each.
func TestCacheMendedByMany(t *testing.T) {
	dir := t.TempDir()
	expect(t, "first", dir, tiny, 1, "")
	damage(t, cacheFileOf(dir, tiny), func(b []byte) []byte { return b[:len(b)/2] })
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			c := exec.CommandContext(t.Context(), os.Args[0])
			c.Env = append(os.Environ(), childVariable+"="+dir)
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	all.Wait()
	expect(t, "after that", dir, tiny, 0, "")
	holdsNothingElse(t, dir, tiny)
}

// TestCacheOfAnother has folders that hold what another processor, system, version of wazero or plugin needs. HasCache
// says no. The module is compiled once, and kept beside that.
func TestCacheOfAnother(t *testing.T) {
	own := cacheFileOf("", tiny).name
	folder, key := filepath.Split(own)
	for what, name := range map[string]string{
		"another processor":         strings.Replace(own, "-"+runtime.GOARCH+"-", "-s390x-", 1),
		"another system":            strings.Replace(own, "-"+runtime.GOOS, "-plan9", 1),
		"another version":           strings.Replace(own, "wazero-"+wazeroVersion(), "wazero-v0.1.0", 1),
		"other features, or plugin": filepath.Join(folder, strings.Repeat("0", len(key))),
	} {
		if name == own {
			t.Fatalf("%s has the same file", what)
		}
		dir := t.TempDir()
		there := cacheFile{dir, name}
		if err := os.MkdirAll(filepath.Dir(there.path()), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(there.path(), []byte("another's"), 0o600); err != nil {
			t.Fatal(err)
		}
		if HasCache(dir) {
			t.Errorf("%s: HasCache is true", what)
		}
		expect(t, what, dir, tiny, 1, "")
		expect(t, what+", then", dir, tiny, 0, "")
		if b, err := os.ReadFile(there.path()); err != nil || string(b) != "another's" {
			t.Errorf("%s: the other's file is now %q, %v", what, b, err)
		}
	}
}

// TestCacheUnwritable has folders that cannot be written. The module is compiled once, and Warn is told.
func TestCacheUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, "below a file", filepath.Join(file, "cache"), tiny, 1, "file/cache holds no plugin compiled for this processor")
	blocked := t.TempDir()
	if err := os.MkdirAll(filepath.Join(cacheFileOf(blocked, tiny).path(), "a folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	expect(t, "a folder where the file has to be", blocked, tiny, 1, "damaged")
	if os.Getuid() <= 0 {
		t.Skip("root, and Windows, are not stopped by a folder's mode")
	}
	good, empty := t.TempDir(), t.TempDir()
	expect(t, "first", good, tiny, 1, "")
	if err := os.Mkdir(filepath.Join(empty, filepath.Dir(cacheFileOf("", tiny).name)), 0o500); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{good, empty} {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	}
	expect(t, "good", good, tiny, 0, "")
	expect(t, "empty", empty, tiny, 1, "permission denied")
}

// TestCacheLeftovers has folders that died processes left in the cache. Those of days ago go.
func TestCacheLeftovers(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{".compiling-old": 25 * time.Hour, ".compiling-new": time.Hour} {
		folder := filepath.Join(dir, name, "wazero")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Dir(folder), at, at); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "compiled", dir, tiny, 1, "")
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) != 1 || filepath.Base(left[0]) != ".compiling-new" {
		t.Errorf("left are %q, %v", left, err)
	}
}

// TestCacheSilent: without Warn, and with the user's own cache, nobody is told anything, and nothing fails.
func TestCacheSilent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	told := func(problem string) { t.Errorf("told of the user's own cache: %s", problem) }
	for _, o := range []WasmOptions{{CacheDir: filepath.Join(file, "cache"), Module: tiny}, {Module: tiny, Warn: told}} {
		t.Setenv("XDG_CACHE_HOME", file)
		e, err := Wasm(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
