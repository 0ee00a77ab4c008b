// Package nolinks runs parts of tests as on a file system without hard links.
//
// Input: a function. It runs on a thread on which the kernel refuses to make any hard link, with an error of the
// caller's choice; output: its result. Tests of atomicfile, of objstore and of the commands call it. It needs no
// special rights, and no file system of its own.
package nolinks

import (
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

// The kernel's constants, from linux/prctl.h, linux/seccomp.h and linux/filter.h.
const (
	prSetSeccomp    = 22
	prSetNoNewPrivs = 38
	modeFilter      = 2
	loadNumber      = 0x20 // of the system call: the first word of what a filter sees
	jumpIfEqual     = 0x15
	answer          = 0x06
	allow           = 0x7fff0000
	fail            = 0x00050000 // the lower half is the error's number
)

// Run runs f, and the processes that f starts, without hard links: to make one fails with that error. Goroutines that f
// starts can make links. Where the kernel does not filter system calls, the test is skipped.
func Run(t testing.TB, with syscall.Errno, f func() error) error {
	t.Helper()
	filter := []syscall.SockFilter{
		{Code: loadNumber},
		{Code: jumpIfEqual, Jf: 1, K: syscall.SYS_LINKAT},
		{Code: answer, K: fail | uint32(with)},
		{Code: answer, K: allow},
	}
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	filtered, done := make(chan syscall.Errno, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // it is never unlocked, so that the thread ends with the goroutine
		_, _, no := syscall.Syscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0)
		if no == 0 {
			_, _, no = syscall.Syscall(syscall.SYS_PRCTL, prSetSeccomp, modeFilter, uintptr(unsafe.Pointer(&program)))
		}
		if filtered <- no; no == 0 {
			done <- f()
		}
	}()
	if no := <-filtered; no == syscall.EINVAL || no == syscall.ENOSYS {
		t.Skipf("seccomp: %v", no)
	} else if no != 0 {
		t.Fatalf("seccomp: %v", no)
	}
	return <-done
}
