package compiler

import (
	"context"
	"io/fs"
	"os"
	"testing"

	"github.com/tetratelabs/wazero"
)

// smallest is a module of one function that does nothing.
const smallest = "\x00asm\x01\x00\x00\x00" + // magic number and version
	"\x01\x04\x01\x60\x00\x00" + // a type: no parameters, no results
	"\x03\x02\x01\x00" + // a function of that type
	"\x0a\x04\x01\x02\x00\x0b" // its code: no locals, end

// TestHere looks whether wazero puts compiled code into its cache.
func TestHere(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close(ctx)
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(cache))
	defer runtime.Close(ctx)
	if _, err := runtime.CompileModule(ctx, []byte(smallest)); err != nil {
		t.Fatal(err)
	}
	compiled := false
	if err := fs.WalkDir(os.DirFS(dir), ".", func(_ string, d fs.DirEntry, err error) error {
		compiled = compiled || !d.IsDir()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if Here() != compiled {
		t.Errorf("wazero compiles: %v, and is said to compile: %v", compiled, Here())
	}
}
