// Package plugin holds the Wasm module that mines hard negatives, ready to load.
//
// Any Extism host, or any Wasm host that writes into guest memory, runs these bytes. docs/ABI.md describes the module.
// It is made of the packages below this one, which run natively as well.
package plugin

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"sync"
)

// Wasm is the module, as build.sh made it.
//
//go:embed plugin.wasm
var Wasm []byte

// SHA256 returns the module's fingerprint, in hexadecimal.
func SHA256() string { return fingerprint() }

var fingerprint = sync.OnceValue(func() string {
	sum := sha256.Sum256(Wasm)
	return hex.EncodeToString(sum[:])
})
