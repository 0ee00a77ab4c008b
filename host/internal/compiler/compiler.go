// Package compiler says whether wazero compiles Wasm for this machine. Where it does not, it interprets Wasm, which is
// some hundred times slower: loops in Go are faster then. Packages engine and matrix ask.
package compiler

import "runtime"

// Here reports whether wazero has a compiler for this machine. wazero knows, and tells nobody (CompilerSupported in its
// internal/platform).
func Here() bool {
	switch runtime.GOOS {
	case "linux", "darwin", "freebsd", "netbsd", "windows":
		return runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"
	case "dragonfly", "solaris", "illumos":
		return runtime.GOARCH == "amd64"
	}
	return false
}
