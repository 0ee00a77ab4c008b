// Package offheap gives Wasm instances, and matrices, their memory straight from the operating system.
//
// Input: the largest size that a memory may reach. Output: memory that grows in place, takes up only the pages that
// are touched, and goes back to the system when its instance is closed. On Go's heap a memory would be copied whenever
// it grows, and the garbage collector would count all of it. Packages engine and matrix use it.
package offheap

import (
	"context"
	"unsafe"

	"github.com/tetratelabs/wazero/experimental"
)

// WithAllocator returns a context. Modules that are instantiated in it get such memories.
func WithAllocator(ctx context.Context) context.Context {
	return experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(func(_, max uint64) experimental.LinearMemory { return newMemory(max) }))
}

// Allocate returns memory of that size, zeros at first, and what gives it back. Until it is touched it takes no room.
func Allocate(bytes int) (memory []byte, free func()) {
	m := newMemory(uint64(bytes))
	return m.Reallocate(uint64(bytes)), m.Free
}

// Populate gives memory that is about to be written its pages, all at once. It is an advice: what it does not do happens page
// by page later, where a page that is read before it is written is mapped twice, and the second time interrupts all cores.
func Populate[T any](memory []T) {
	if len(memory) > 0 {
		populate(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(memory))), uintptr(len(memory))*unsafe.Sizeof(memory[0])))
	}
}
