//go:build !unix

package offheap

import "github.com/tetratelabs/wazero/experimental"

func newMemory(uint64) experimental.LinearMemory { return &onHeap{} }
