package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/internal/offheap"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin"
	"github.com/quarry-hn/quarry/plugin/abi"
)

// WasmOptions configure the engine on wazero. The zero value runs the embedded module, compiled, with a cache in the user's
// cache directory.
type WasmOptions struct {
	Options

	// Interpreter runs the module without compiling it: for architectures that wazero has no compiler for. It is some
	// hundred times slower.
	Interpreter bool

	// CacheDir keeps the compiled module from one process to the next; compiling takes seconds, loading a tenth of one. Empty
	// means quarry/wazero in the user's cache directory. A file there that is damaged is written anew. Where the folder
	// cannot be written, and does not hold what this process needs, the module is compiled each time.
	CacheDir string

	// Warn is told where CacheDir, if it is not empty, could not be used or was mended: what was wrong, and what to do. Nil
	// means that nobody is told.
	Warn func(problem string)

	// Compiling is called before the module is compiled, where no cache holds it: that takes a second or more. Nil means
	// that nobody is told.
	Compiling func()

	// Threads is how many cores compile. 0 means all. What is compiled does not depend on it.
	Threads int

	// Module is another module to run; nil means plugin.Wasm.
	Module []byte
}

// InterpreterName is the name of the engine that interprets the module.
const InterpreterName = "wasm-interpreter"

const pageSize = 65536

var _ Engine = (*wasm)(nil)

type wasm struct {
	options  WasmOptions
	runtime  wazero.Runtime
	cache    wazero.CompilationCache
	compiled wazero.CompiledModule
	unkept   error // why the cache does not hold what was compiled, or nil
	speed    speed
	spare    atomic.Pointer[wasmInstance] // the one that the speed was measured on, until it is opened
}

// Wasm returns the engine that runs the module on wazero.
func Wasm(ctx context.Context, o WasmOptions) (Engine, error) {
	e, err := o.load(ctx)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (o WasmOptions) load(ctx context.Context) (*wasm, error) {
	if o.Module == nil {
		o.Module = plugin.Wasm
	}
	if o.Interpreter {
		return loadWasm(ctx, o, wazero.NewRuntimeConfigInterpreter(), nil)
	}
	if o.CacheDir != "" {
		warn := o.Warn
		if warn == nil {
			warn = func(string) {}
		}
		return loadCached(ctx, o, cacheFileOf(o.CacheDir, o.Module), warn)
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return compileWasm(ctx, o, wazero.NewRuntimeConfig(), nil)
	}
	return loadCached(ctx, o, cacheFileOf(filepath.Join(user, "quarry", "wazero"), o.Module), func(string) {})
}

// compileWasm is loadWasm where no cache holds the compiled module.
func compileWasm(ctx context.Context, o WasmOptions, config wazero.RuntimeConfig, cache wazero.CompilationCache) (*wasm, error) {
	if o.Compiling != nil {
		o.Compiling()
	}
	return loadWasm(ctx, o, config, cache)
}

func loadWasm(ctx context.Context, o WasmOptions, config wazero.RuntimeConfig, cache wazero.CompilationCache) (*wasm, error) {
	pages := (o.memoryLimit() + pageSize - 1) / pageSize
	config = config.WithMemoryLimitPages(uint32(min(pages, 65536)))
	e := &wasm{options: o, cache: cache}
	starting.Lock()
	e.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	starting.Unlock()
	if err := e.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("load the plugin: %w", err), e.Close(ctx))
	}
	return e, nil
}

// withWorkers says on how many cores wazero compiles. It is a variable so that tests can count compilations.
var withWorkers = experimental.WithCompilationWorkers

func (e *wasm) load(ctx context.Context) (err error) {
	ctx = withWorkers(ctx, option.Threads(e.options.Threads))
	e.compiled, err = e.runtime.CompileModule(ctx, e.options.Module)
	if err != nil && e.cache != nil {
		// Where the compiled module could not be written to the cache, it is there in memory, and is not compiled again.
		e.unkept = err
		e.compiled, err = e.runtime.CompileModule(ctx, e.options.Module)
	}
	if err != nil {
		return err
	}
	// The module imports Extism's host functions for Extism's hosts. On this path it calls none of them.
	const extism = "extism:host/env"
	host := e.runtime.NewHostModuleBuilder(extism)
	for _, f := range e.compiled.ImportedFunctions() {
		if module, name, _ := f.Import(); module == extism {
			refuse := api.GoFunc(func(context.Context, []uint64) { panic("extism's " + name + " was called outside Extism") })
			host.NewFunctionBuilder().WithGoFunction(refuse, f.ParamTypes(), f.ResultTypes()).Export(name)
		}
	}
	_, err = host.Instantiate(ctx)
	return err
}

func (e *wasm) Name() string {
	if e.options.Interpreter {
		return InterpreterName
	}
	return "wasm"
}

func (e *wasm) MemoryLimit() int64 { return e.options.memoryLimit() }

// Speed measures on an instance that the next Open returns.
func (e *wasm) Speed(ctx context.Context) (float64, error) { return e.speed.measured(ctx, sparing{e}) }

// sparing is an engine of which an instance is kept when it is closed.
type sparing struct{ *wasm }

func (s sparing) Open(ctx context.Context) (Instance, error) {
	i, err := s.start(ctx)
	if err != nil {
		return nil, err
	}
	return &sparedInstance{i, s.wasm}, nil
}

type sparedInstance struct {
	*wasmInstance
	of *wasm
}

// Close has the instance forget what it held, and keeps it, or closes it where it is lost or another one is kept.
func (i *sparedInstance) Close(ctx context.Context) error {
	if err := (Client{i.wasmInstance}).Reset(ctx, i.of.MemoryLimit()); err == nil && i.of.spare.CompareAndSwap(nil, i.wasmInstance) {
		return nil
	}
	return i.wasmInstance.Close(ctx)
}

func (e *wasm) Close(ctx context.Context) error {
	err := e.runtime.Close(ctx)
	if e.cache != nil {
		err = errors.Join(err, e.cache.Close(ctx))
	}
	return err
}

func (e *wasm) Open(ctx context.Context) (Instance, error) {
	if i := e.spare.Swap(nil); i != nil {
		return i, nil
	}
	i, err := e.start(ctx)
	if err != nil {
		return nil, err
	}
	return i, nil
}

// start starts an instance.
func (e *wasm) start(ctx context.Context) (*wasmInstance, error) {
	i := &wasmInstance{}
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions() // the module starts by itself
	var err error
	if i.module, err = e.runtime.InstantiateModule(offheap.WithAllocator(ctx), e.compiled, config); err != nil {
		return nil, fmt.Errorf("start a plugin instance (a memory limit of %d MiB may be too small for it): %w", e.options.memoryLimit()>>20, err)
	}
	for _, f := range []struct {
		name string
		to   *api.Function
	}{{"quarry_buffer", &i.buffer}, {"quarry_call", &i.call}, {"quarry_output", &i.output}, {"quarry_fault", &i.fault}} {
		if *f.to = i.module.ExportedFunction(f.name); *f.to == nil {
			return nil, errors.Join(fmt.Errorf("the module lacks %s: not quarry's plugin, or another version of it", f.name), i.module.Close(ctx))
		}
	}
	if err := (Client{i}).Reset(ctx, e.options.memoryLimit()); err != nil {
		return nil, errors.Join(err, i.Close(ctx))
	}
	return i, nil
}

// wasmInstance is one instance of the module. A call is not interrupted: it is short, and the context is looked at between calls.
type wasmInstance struct {
	module                      api.Module
	buffer, call, output, fault api.Function
	address                     uint32 // of the buffer
	lost                        error
}

// invoke calls an export. Where the guest traps, the instance is lost.
func (i *wasmInstance) invoke(ctx context.Context, f api.Function, args ...uint64) (uint64, error) {
	if i.lost != nil {
		return 0, i.lost
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	results, err := f.Call(context.WithoutCancel(ctx), args...)
	if err == nil {
		return results[0], nil
	}
	why := firstLine(err.Error())
	if place, err := i.fault.Call(context.WithoutCancel(ctx)); err == nil && place[0] != 0 {
		if said, err := i.read(place[0]); err == nil {
			why = abi.ParseError(abi.Internal, said).Message
		}
	}
	i.lost = fmt.Errorf("%w: %s", ErrLost, excerpt.Text(why))
	return 0, errors.Join(i.lost, i.module.Close(ctx))
}

// read returns the guest's bytes at a place, which is an address * 2^32 + a length.
func (i *wasmInstance) read(place uint64) ([]byte, error) {
	b, ok := i.module.Memory().Read(uint32(place>>32), uint32(place))
	if !ok {
		return nil, fmt.Errorf("plugin: the answer of %d bytes at %d is outside its memory", uint32(place), place>>32)
	}
	return b, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func (i *wasmInstance) Buffer(ctx context.Context, n int) ([]byte, error) {
	if n > abi.MaxMessage {
		return nil, messageTooLarge(n)
	}
	address, err := i.invoke(ctx, i.buffer, uint64(n))
	if err != nil {
		return nil, err
	}
	i.address = uint32(address)
	b, ok := i.module.Memory().Read(i.address, uint32(n))
	if !ok || i.address == 0 {
		return nil, fmt.Errorf("plugin: the buffer of %d bytes at %d is outside its memory", n, i.address)
	}
	return b, nil
}

func (i *wasmInstance) Call(ctx context.Context, op abi.Op, n int) ([]byte, error) {
	status, err := i.invoke(ctx, i.call, uint64(op), uint64(n))
	if err != nil {
		return nil, err
	}
	place, err := i.invoke(ctx, i.output)
	if err != nil {
		return nil, err
	}
	out, err := i.read(place)
	if err != nil {
		return nil, err
	}
	if status != 0 {
		return nil, shortened(abi.ParseError(abi.Code(status), out))
	}
	return out, nil
}

func (i *wasmInstance) Close(ctx context.Context) error { return i.module.Close(ctx) }
