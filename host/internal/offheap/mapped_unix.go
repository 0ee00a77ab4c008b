//go:build unix

package offheap

import (
	"syscall"

	"github.com/tetratelabs/wazero/experimental"
)

// mapped is memory that is reserved in full.
type mapped []byte

func newMemory(max uint64) experimental.LinearMemory {
	m, err := syscall.Mmap(-1, 0, int(max), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return &onHeap{} // there may be too little address space for as much as it may become
	}
	return mapped(m)
}

func (m mapped) Reallocate(size uint64) []byte {
	if size > uint64(len(m)) {
		return nil
	}
	return m[:size:size]
}

func (m mapped) Free() {
	_ = syscall.Munmap(m) // it was mapped
}
