//go:build wasip1

package main

import (
	"errors"
	"math"
	"unsafe"

	"github.com/extism/go-pdk"

	"github.com/quarry-hn/quarry/plugin/abi"
)

// extism runs an operation on Extism's input and sets its output or its error. Input that is too long for the buffer is not read: the
// operation refuses it by its length.
func extism(op abi.Op) int32 {
	size := uint32(min(extismBegin(), math.MaxUint32))
	extismRead(quarryBuffer(size), size)
	status := quarryCall(int32(op), size)
	given := pdk.Allocate(len(output))
	extismWrite(unsafe.Pointer(unsafe.SliceData(output)), uint32(len(output)), given.Offset())
	if status != 0 {
		pdk.SetError(errors.New(string(output)))
	} else {
		pdk.OutputMemory(given)
	}
	return status
}

// What extism.wat has. The PDK's own copies make the same calls, for eight bytes each, by a loop in Go.

//go:wasmimport extism extism_begin
func extismBegin() uint64

//go:wasmimport extism extism_read
func extismRead(to, size uint32)

//go:wasmimport extism extism_write
func extismWrite(from unsafe.Pointer, size uint32, to uint64)

//go:wasmexport info
func info() int32 { return extism(abi.OpInfo) }

//go:wasmexport load_projection
func loadProjection() int32 { return extism(abi.OpLoadProjection) }

//go:wasmexport transform
func transform() int32 { return extism(abi.OpTransform) }

//go:wasmexport begin
func begin() int32 { return extism(abi.OpBegin) }

//go:wasmexport push
func push() int32 { return extism(abi.OpPush) }

//go:wasmexport finish
func finish() int32 { return extism(abi.OpFinish) }

//go:wasmexport select
func selectOnce() int32 { return extism(abi.OpSelect) }

//go:wasmexport merge
func merge() int32 { return extism(abi.OpMerge) }

//go:wasmexport reset
func reset() int32 { return extism(abi.OpReset) }
