// Package offheap gives Wasm instances their memory straight from the operating system.
//
// In goes the size a memory may reach; out comes memory that grows in place, of which only what is touched is resident, and which is given back
// when its instance is closed. On Go's heap a memory is copied to grow, and counts for the collector as far as it may reach. Packages engine and
// tiles use it.
package offheap

import (
	"context"

	"github.com/tetratelabs/wazero/experimental"
)

// WithAllocator returns a context in which modules get such memories when they are instantiated.
func WithAllocator(ctx context.Context) context.Context {
	return experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(func(_, max uint64) experimental.LinearMemory { return newMemory(max) }))
}
