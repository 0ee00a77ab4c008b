package offheap

// onHeap is memory on Go's heap, for systems that do not map memory, and for sizes that they refuse to map.
type onHeap []byte

// Reallocate grows the memory, copying it.
func (m *onHeap) Reallocate(size uint64) []byte {
	if size > uint64(len(*m)) {
		*m = append(*m, make([]byte, size-uint64(len(*m)))...)
	}
	return (*m)[:size]
}

// Free leaves the memory to the garbage collector.
func (m *onHeap) Free() { *m = nil }
