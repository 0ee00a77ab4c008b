package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkStart mines the demo with its projection, in a process of its own, from the process's start to its end: a millisecond of mining, and
// what comes before the first block. The compiled plugin is in the cache, or has to be compiled, or is not used.
func BenchmarkStart(b *testing.B) {
	for _, c := range []struct {
		name, engine string
		compiled     bool
	}{{"wasm, cached", "wasm", false}, {"wasm, compiled", "wasm", true}, {"native", "native", false}} {
		b.Run(c.name, func(b *testing.B) {
			folder := b.TempDir()
			quarry := func(args ...string) {
				p := exec.Command(must(os.Executable()), args...)
				p.Dir = folder
				p.Env = append(os.Environ(), asCommand+"=1", "XDG_CACHE_HOME="+folder, "HOME="+folder, "LocalAppData="+folder)
				if out, err := p.CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
			}
			quarry("demo", "-o", "demo", "-q")
			for b.Loop() {
				if c.compiled {
					b.StopTimer()
					if err := os.RemoveAll(filepath.Join(folder, "quarry")); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				quarry("mine", filepath.Join("demo", "data"), "--projection", filepath.Join("demo", "projection.safetensors"), "--engine", c.engine, "--force", "-q")
			}
		})
	}
}
