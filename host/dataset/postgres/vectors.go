package postgres

import (
	"encoding/binary"
	"fmt"

	"github.com/quarry-hn/quarry/host/dataset/npy"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// vectors are a column of vectors, which becomes a .npy file.
type vectors struct {
	name   string // of the model
	column column
	width  int // values of a vector; 0 before the first

	file *atomicfile.File
	row  []byte // as .npy has it; reused
}

// dtype is the type of the values.
func (v *vectors) dtype() safetensors.DType {
	if v.column.kind == halfKind {
		return safetensors.F16
	}
	return safetensors.F32
}

// write appends a vector as pgvector sends it. rows is how many there will be. A problem that is not empty says what is
// wrong with the vector.
func (v *vectors) write(sent []byte, rows int) (problem string, err error) {
	row, problem := appendVector(v.row[:0], sent, v.dtype())
	if problem != "" {
		return problem, nil
	}
	v.row = row
	width := len(row) / v.dtype().Size()
	if v.width == 0 {
		v.width = width
		if _, err := v.file.Write(npy.HeaderOf(v.dtype(), rows, width)); err != nil {
			return "", err
		}
	}
	if width != v.width {
		return fmt.Sprintf("the vector has %d values, and those before it have %d", width, v.width), nil
	}
	_, err = v.file.Write(row)
	return "", err
}

// appendVector appends to dst the values of a vector as pgvector sends it: how many values there are and a number without
// a meaning, of 16 bits each, and then the values, all big endian. What is appended is little endian.
func appendVector(dst, sent []byte, t safetensors.DType) (_ []byte, problem string) {
	const header = 4
	if sent == nil {
		return nil, "the vector is null"
	}
	if len(sent) < header {
		return nil, fmt.Sprintf("the server sent %d bytes, which is no vector", len(sent))
	}
	size, n := t.Size(), int(binary.BigEndian.Uint16(sent))
	values := sent[header:]
	if n == 0 || len(values) != n*size {
		return nil, fmt.Sprintf("the server sent %d bytes, which is no vector of %d values of %s", len(sent), n, t)
	}
	for i := range n {
		finite := false
		if t == safetensors.F16 {
			bits := binary.BigEndian.Uint16(values[i*size:])
			finite = bits&0x7c00 != 0x7c00
			dst = binary.LittleEndian.AppendUint16(dst, bits)
		} else {
			bits := binary.BigEndian.Uint32(values[i*size:])
			finite = bits&0x7f800000 != 0x7f800000
			dst = binary.LittleEndian.AppendUint32(dst, bits)
		}
		if !finite {
			return nil, fmt.Sprintf("value %d of the vector (the first is 0) is not a finite number", i)
		}
	}
	return dst, ""
}
