package engine

import (
	"context"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

// TestNativeKernel: the native engine runs the fastest kernel in assembly, and the module where there is none.
func TestNativeKernel(t *testing.T) {
	e, err := LoadNative(t.Context(), WasmOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	name, runs := "native (wasm)", "wasm simd128"
	if natives := kernel.Natives(); len(natives) > 0 {
		name, runs = "native", natives[0].Name()
	}
	if about := string(must(t, open(t, e), abi.OpInfo, nil)); e.Name() != name || !strings.Contains(about, `"`+runs+`"`) {
		t.Errorf("%s says of itself %s; expected %s on the kernel %s", e.Name(), about, name, runs)
	}
}

// TestSandboxed: it can be opened again after it was closed, and keeps its options.
func TestSandboxed(t *testing.T) {
	s := &sandboxed{options: WasmOptions{Options: Options{MemoryLimit: 48 << 20}}}
	for range 2 {
		i, err := s.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if about := must(t, i, abi.OpInfo, nil); len(about) == 0 || s.MemoryLimit() != 48<<20 {
			t.Errorf("the memory is %d: %s", s.MemoryLimit(), about)
		}
		if err := i.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.options.Module = []byte("no module")
	if _, err := s.Open(t.Context()); err == nil {
		t.Error("it opened what is no module")
	}
	if _, err := s.Speed(t.Context()); err == nil {
		t.Error("it measured what is no module")
	}
}
