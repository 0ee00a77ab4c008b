//go:build wasip1

// Package main is the Wasm module: the exports of docs/ABI.md, both for Extism hosts and for hosts that write into the module's memory,
// around one session. plugin/build.sh builds it and links what surrounds it: extism.wat, which copies for Extism's hosts; system.wat, which
// answers what Go's runtime asks of WASI; and the kernels. Package plugin embeds the result.
package main

import (
	"runtime"
	"runtime/debug"
	"unsafe"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/session"
)

func main() {}

var (
	instance = session.New(kernel.NewLinked())
	input    []uint64 // the raw path's buffer: 8-aligned, and kept from one call to the next
	output   []byte   // what the last raw call gave
)

// quarryBuffer returns the address of an input buffer of at least size bytes, or 0 where that is over the limit.
//
//go:wasmexport quarry_buffer
func quarryBuffer(size uint32) uint32 {
	if size > abi.MaxMessage {
		return 0
	}
	if words := int(size+7)/8 + 1; words > len(input) {
		input = nil
		runtime.GC() // frees the old buffer before the new one is taken
		input = make([]uint64, words)
	}
	return address(unsafe.Pointer(&input[0]))
}

// quarryCall runs an operation on the first size bytes of the buffer; 0, or an error's number.
//
//go:wasmexport quarry_call
func quarryCall(op int32, size uint32) int32 {
	var in []byte
	if size > 0 && int(size) <= 8*len(input) {
		in = unsafe.Slice((*byte)(unsafe.Pointer(&input[0])), size)
	} else if size > 0 {
		err := abi.Errorf(abi.BadMessage, "message of %d bytes; the buffer has %d", size, 8*len(input))
		output = err.JSON()
		return int32(err.Code)
	}
	out, err := call(abi.Op(op), in)
	if err != nil {
		e := abi.AsError(err)
		output = e.JSON()
		return int32(e.Code)
	}
	output = out
	return 0
}

// call runs an operation. The module's memory is short and never given back, and the collector would need time between
// calls to work by itself, which the module does not have. So call frees what earlier calls left behind: before an
// operation that will hold much, and after some calls that hold little. The collector is told the limit all the same.
func call(op abi.Op, in []byte) ([]byte, error) {
	const much, some, perCall = 1 << 20, 32 << 20, 16 << 10
	output = nil
	sinceCollection += len(in) + perCall
	if sinceCollection > some || len(in) > much && op != abi.OpPush && op != abi.OpTransform {
		runtime.GC()
		sinceCollection = 0
	}
	out, err := instance.Call(op, in)
	if limit := instance.MemoryLimit(); limit != collectorLimit {
		collectorLimit = limit
		debug.SetMemoryLimit(limit / 4 * 3)
	}
	return out, err
}

var (
	collectorLimit  int64 // the instance's limit that the collector knows of
	sinceCollection int   // bytes of messages, and an allowance for what calls leave behind
)

// quarryOutput returns address * 2^32 + length of what the last call gave.
//
//go:wasmexport quarry_output
func quarryOutput() int64 {
	if len(output) == 0 {
		return 0
	}
	return int64(address(unsafe.Pointer(&output[0])))<<32 | int64(len(output))
}

// address is a pointer as the host sees it. Go's collector does not move what it points to.
func address(p unsafe.Pointer) uint32 { return uint32(uintptr(p)) }
