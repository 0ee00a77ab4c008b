package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"
	"golang.org/x/sys/cpu"

	"github.com/quarry-hn/quarry/plugin"
)

// A cache is a folder in which wazero keeps a file for each module, processor, system and version of wazero. To each of
// these files this package adds an end, which holds the checksum of what comes before it: wazero's own checksum leaves
// out the places of functions, so that a damaged file could make the plugin run wrong code. wazero reads a file from its
// beginning and ignores the end.

const (
	endMark = "\nquarry\n" // begins the end of a file; the checksum follows
	endSize = int64(len(endMark)) + crc32.Size
)

var checksum = crc32.MakeTable(crc32.Castagnoli) // of the file's name, and of what comes before its end

const (
	stagePattern = ".compiling-*" // a folder for the file of a module that is being compiled
	stageAge     = 24 * time.Hour // the process that made such a folder so long ago has died
)

var errDamaged = errors.New("it is damaged")

// cacheFile is the file of a module in a cache, whether it is there or not.
type cacheFile struct {
	dir  string // the cache
	name string // below dir
}

// cacheFileOf names a module's file as wazero names it on this processor and system.
func cacheFileOf(dir string, module []byte) cacheFile {
	id := sha256.New()
	id.Write(module)
	id.Write([]byte{0}) // without what wazero calls ensureTermination
	key := sha256.New()
	key.Write(id.Sum(nil))
	key.Write([]byte("WAZEVO"))
	key.Write(binary.LittleEndian.AppendUint64(nil, processorFeatures()))
	folder := fmt.Sprintf("wazero-%s-%s-%s", wazeroVersion(), runtime.GOARCH, runtime.GOOS)
	return cacheFile{dir, filepath.Join(folder, hex.EncodeToString(key.Sum(nil)))}
}

// processorFeatures are those that wazero makes use of, as it numbers them.
func processorFeatures() (features uint64) {
	has := []bool{}
	switch runtime.GOARCH {
	case "amd64":
		has = []bool{cpu.X86.HasSSE41, cpu.X86.HasBMI1, cpu.X86.HasBMI1 && cpu.X86.HasBMI2 && cpu.X86.HasPOPCNT}
	case "arm64":
		has = []bool{cpu.ARM64.HasATOMICS}
	}
	for bit, yes := range has {
		if yes {
			features |= 1 << bit
		}
	}
	return features
}

// wazeroVersion is what wazero calls itself in this program. A test's binary does not say its dependencies.
func wazeroVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/tetratelabs/wazero" {
				return d.Version
			}
		}
	}
	return "dev"
}

// HasCache reports whether a cache holds the compiled plugin, whole, as this processor, this system and this program's
// version of wazero take it. Such a folder need not be writable.
func HasCache(dir string) bool { return cacheFileOf(dir, plugin.Wasm).check() == nil }

func (c cacheFile) path() string { return filepath.Join(c.dir, c.name) }

// isAbsent tells whether an error of check says that the file is not there.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// check fails where the file is not there, cannot be read, or is not whole, which is errDamaged.
func (c cacheFile) check() error {
	f, err := os.Open(c.path())
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() < endSize {
		return errDamaged
	}
	want, err := c.end(io.LimitReader(f, info.Size()-endSize))
	if err != nil {
		return err
	}
	end, err := io.ReadAll(f)
	if err == nil && string(end) != string(want) {
		err = errDamaged
	}
	return err
}

// end makes the end of a file from what comes before it.
func (c cacheFile) end(before io.Reader) ([]byte, error) {
	sum := crc32.New(checksum)
	_, _ = io.WriteString(sum, filepath.ToSlash(c.name))
	if _, err := io.Copy(sum, before); err != nil {
		return nil, err
	}
	return sum.Sum([]byte(endMark)), nil
}

// loadCached loads the module from a cache, or compiles it and keeps it there. Where the cache cannot be used, warn is
// told, and the module is compiled without it.
func loadCached(ctx context.Context, o WasmOptions, c cacheFile, warn func(problem string)) (*wasm, error) {
	found := c.check()
	if found == nil {
		cache, err := openCache(c.dir)
		if err == nil {
			e, err := loadWasm(ctx, o, wazero.NewRuntimeConfig().WithCompilationCache(cache), cache)
			if err == nil {
				return e, nil
			}
		}
		found = err
	}
	stage, cache, err := c.makeStage()
	if err != nil {
		warn(c.unusable(found, err))
		return compileWasm(ctx, o, wazero.NewRuntimeConfig(), nil)
	}
	defer os.RemoveAll(stage)
	e, err := compileWasm(ctx, o, wazero.NewRuntimeConfig().WithCompilationCache(cache), cache)
	if err != nil {
		return nil, err
	}
	kept := e.unkept
	if kept == nil {
		kept = c.keep(stage)
	}
	switch {
	case kept != nil:
		warn(c.unusable(found, kept))
	case !isAbsent(found):
		warn(fmt.Sprintf("the compiled plugin %s could not be used: %v; it was compiled and written anew", c.path(), cause(found)))
	}
	return e, nil
}

// starting is held where wazero looks up its version, which it keeps in a variable without a lock.
var starting sync.Mutex

func openCache(dir string) (wazero.CompilationCache, error) {
	starting.Lock()
	defer starting.Unlock()
	return wazero.NewCompilationCacheWithDir(dir)
}

// makeStage makes a folder in the cache, in which wazero makes the file. It removes those that processes left which
// died.
func (c cacheFile) makeStage() (string, wazero.CompilationCache, error) {
	if err := os.MkdirAll(filepath.Dir(c.path()), 0o700); err != nil {
		return "", nil, err
	}
	old, _ := filepath.Glob(filepath.Join(c.dir, stagePattern))
	for _, folder := range old {
		if info, err := os.Lstat(folder); err == nil && time.Since(info.ModTime()) > stageAge {
			_ = os.RemoveAll(folder) // the next process tries again
		}
	}
	stage, err := os.MkdirTemp(c.dir, stagePattern)
	if err != nil {
		return "", nil, err
	}
	cache, err := openCache(stage)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(stage))
	}
	return stage, cache, nil
}

// keep gives the file that wazero made in a folder its end, and puts it in its place at once. Of several processes that
// do it, the last one's file stays; all are the same.
func (c cacheFile) keep(stage string) error {
	made := filepath.Join(stage, c.name)
	f, err := os.OpenFile(made, os.O_RDWR|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // wazero has no compiler for this processor, and interprets the module
	}
	if err != nil {
		return err
	}
	end, err := c.end(f)
	if err == nil {
		_, err = f.Write(end)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(made, c.path())
}

// unusable says why a cache is of no use, and what to do.
func (c cacheFile) unusable(found, kept error) string {
	holds := "holds no plugin compiled for this processor, system and version: no " + c.name
	if !isAbsent(found) {
		holds = fmt.Sprintf("holds a compiled plugin that cannot be used: %s: %v", c.name, cause(found))
	}
	return fmt.Sprintf("the folder %s %s, and it was not written: %v; so the plugin is compiled at each start, which takes seconds\n"+
		"  hint: name a folder that can be written, with room for 16 MiB, or one that this program filled on such a processor", c.dir, holds, cause(kept))
}

// cause is an error without the path, which the caller names.
func cause(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}
