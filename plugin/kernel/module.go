//go:build !wasip1

package kernel

import _ "embed"

// Module is kernel.wat, assembled: for hosts that want the products themselves. It imports its memory, and trusts the
// addresses it is given.
//
//go:embed kernel.wasm
var Module []byte
