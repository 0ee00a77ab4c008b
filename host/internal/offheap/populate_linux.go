package offheap

import (
	"os"
	"syscall"
	"unsafe"
)

// populate asks for all pages that the memory lies on. Kernels before 5.14 refuse, and nothing is lost.
func populate(memory []byte) {
	const populateWrite = 23 // MADV_POPULATE_WRITE
	before := uintptr(unsafe.Pointer(unsafe.SliceData(memory))) & uintptr(os.Getpagesize()-1)
	first := unsafe.Add(unsafe.Pointer(unsafe.SliceData(memory)), -int(before))
	_ = syscall.Madvise(unsafe.Slice((*byte)(first), uintptr(len(memory))+before), populateWrite)
}
