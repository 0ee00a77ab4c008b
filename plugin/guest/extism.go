//go:build wasip1

package main

import (
	"errors"

	"github.com/extism/go-pdk"

	"github.com/quarry-hn/quarry/plugin/abi"
)

// extism runs an operation on Extism's input and sets its output or its error.
func extism(op abi.Op) int32 {
	out, err := call(op, pdk.Input())
	if err != nil {
		e := abi.AsError(err)
		pdk.SetError(errors.New(string(e.JSON())))
		return int32(e.Code)
	}
	pdk.Output(out)
	return 0
}

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
