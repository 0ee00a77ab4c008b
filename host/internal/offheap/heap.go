package offheap

// onHeap is memory on Go's heap: where there is nothing better.
type onHeap []byte

// Reallocate grows the memory, copying it.
func (m *onHeap) Reallocate(size uint64) []byte {
	if size > uint64(len(*m)) {
		*m = append(*m, make([]byte, size-uint64(len(*m)))...)
	}
	return (*m)[:size]
}

// Free leaves the memory to the collector.
func (m *onHeap) Free() { *m = nil }
