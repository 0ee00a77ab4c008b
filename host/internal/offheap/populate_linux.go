package offheap

import "syscall"

// populate gives memory that is about to be written its pages, all at once. Otherwise each page that a program reads before
// it writes is mapped twice, and the second time interrupts all cores. Kernels before 5.14 cannot do it, and lose nothing else.
func populate(memory []byte) {
	const populateWrite = 23 // MADV_POPULATE_WRITE
	_ = syscall.Madvise(memory, populateWrite)
}
