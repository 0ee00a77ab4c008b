package projection

import (
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/plugin/abi"
)

// VectorError places an error of the arithmetic in the file that the vectors came from.
func VectorError(x dataset.Matrix, row int, e *abi.Error) error {
	hint := "make the vectors again"
	if e.Code == abi.ZeroVector {
		hint = "make the vectors again, or leave such rows out with --zero skip"
	}
	path, row := dataset.Place(x, row)
	return &dataset.Error{Path: path, Row: row, Problem: e.Message, Hint: hint, Err: e}
}
