//go:build unix

package offheap

import (
	"syscall"

	"github.com/tetratelabs/wazero/experimental"
)

// mapped is memory whose addresses are reserved up to the largest size it may reach. Only pages that are touched take
// memory, and those by which it has grown since it was made.
type mapped struct {
	reserved []byte
	size     uint64
}

func newMemory(max uint64) experimental.LinearMemory {
	m, err := syscall.Mmap(-1, 0, int(max), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return &onHeap{} // there may be too few addresses for the largest size
	}
	return &mapped{reserved: m}
}

func (m *mapped) Reallocate(size uint64) []byte {
	if size > uint64(len(m.reserved)) {
		return nil
	}
	if m.size > 0 && size > m.size {
		Populate(m.reserved[m.size:size])
	}
	m.size = size
	return m.reserved[:size:size]
}

func (m *mapped) Free() {
	_ = syscall.Munmap(m.reserved) // it cannot fail for what was mapped
}
