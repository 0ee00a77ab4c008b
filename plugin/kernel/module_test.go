//go:build !wasip1

package kernel_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// TestLinkedOnWazero builds TestLinked for the module's platform and runs it with kernel.wasm, and with scalar.wasm, in its
// memory, as build.sh links them: the suite for the kernels of the modules, their Go side included.
func TestLinkedOnWazero(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles the standard library for wasip1; the loops of kernel.wat have tests of their own here")
	}
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "kernel.test.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOWASM=", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	code, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for name, module := range watModules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runLinked(t, code, module)
		})
	}
}

// runLinked runs a test's binary with a module of kernels.
func runLinked(t *testing.T, code, module []byte) {
	t.Helper()
	ctx := context.Background()
	runtime := wazero.NewRuntime(ctx)
	defer runtime.Close(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, runtime)
	guest, err := runtime.CompileModule(ctx, code)
	if err != nil {
		t.Fatal(err)
	}
	// The two modules need each other: the guest calls the kernels, which work in its memory. So the guest gets functions
	// that look the kernels up when they are called.
	var kernels api.Module
	calls := runtime.NewHostModuleBuilder("kernel")
	for _, f := range guest.ImportedFunctions() {
		if module, name, _ := f.Import(); module == "kernel" {
			forward := api.GoFunc(func(ctx context.Context, stack []uint64) {
				if err := kernels.ExportedFunction(name).CallWithStack(ctx, stack); err != nil {
					panic(err)
				}
			})
			calls.NewFunctionBuilder().WithGoFunction(forward, f.ParamTypes(), f.ResultTypes()).Export(name)
		}
	}
	if _, err := calls.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	config := wazero.NewModuleConfig().WithName("guest").WithStartFunctions().WithStdout(&out).WithStderr(&out).WithSysNanotime().WithSysWalltime().
		WithArgs("kernel.test", "-test.run=^TestLinked$", "-test.v")
	program, err := runtime.InstantiateModule(ctx, guest, config)
	if err != nil {
		t.Fatal(err)
	}
	if kernels, err = runtime.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithName("")); err != nil {
		t.Fatal(err)
	}
	_, err = program.ExportedFunction("_start").Call(ctx)
	if exit := (*sys.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 0 || !bytes.Contains(out.Bytes(), []byte("--- PASS: TestLinked/Project")) {
		t.Fatalf("%v\n%s", err, out.Bytes()[max(0, out.Len()-4000):])
	}
}
