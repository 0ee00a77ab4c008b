package flat

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Type is the type of the values in a file, by safetensors' names.
type Type string

// The types that are read. The last four are converted: bfloat16, int8 and uint8 to float32, int32 to float64. Of bfloat16
// and int32 that is exact.
const (
	F16  Type = "F16"
	F32  Type = "F32"
	F64  Type = "F64"
	BF16 Type = "BF16"
	I8   Type = "I8"
	U8   Type = "U8"
	I32  Type = "I32"
)

var types = map[Type]struct {
	size int
	as   safetensors.DType // what its values are given as
}{
	F16: {2, safetensors.F16}, F32: {4, safetensors.F32}, F64: {8, safetensors.F64},
	BF16: {2, safetensors.F32}, I8: {1, safetensors.F32}, U8: {1, safetensors.F32}, I32: {4, safetensors.F64},
}

// Known tells whether values of a type are read.
func (t Type) Known() bool { return t.size() > 0 }

// Scaled tells whether values of a type mean something only with a scale.
func (t Type) Scaled() bool { return t == I8 || t == U8 }

func (t Type) size() int                { return types[t].size }
func (t Type) dtype() safetensors.DType { return types[t].as }

// Values are what the values of a file are.
type Values struct {
	Type      Type
	BigEndian bool
	Scale     *Scale // of int8 and uint8; nil means 1
}

// Scale is what integers stand for: Offset + (value - Zero) * Factor, computed in float64 and rounded once to float32.
type Scale struct {
	Zero           float64
	Factor, Offset []float64 // one for all values, or one for each column; no Offset is 0
	Rows           []float64 // a factor for each row instead; nil otherwise
}

// plain tells whether values are given as they lie in the file.
func (v Values) plain() bool {
	return !v.BigEndian && v.Type != BF16 && v.Type != I32 && !v.Type.Scaled()
}

// DType is the type that values are given as.
func (v Values) DType() safetensors.DType { return v.Type.dtype() }

// ValueBytes is the size of a value in the file.
func (v Values) ValueBytes() int { return v.Type.size() }

// Convert writes the values of a row of the file to dst, little endian, as DType has them. row is the row's number.
func (v Values) Convert(dst, src []byte, row int) {
	order := binary.ByteOrder(binary.LittleEndian)
	if v.BigEndian {
		order = binary.BigEndian
	}
	little := binary.LittleEndian
	switch v.Type {
	case BF16: // the upper half of a float32
		for i := 0; i < len(src); i += 2 {
			little.PutUint32(dst[2*i:], uint32(order.Uint16(src[i:]))<<16)
		}
	case I32:
		for i := 0; i < len(src); i += 4 {
			little.PutUint64(dst[2*i:], math.Float64bits(float64(int32(order.Uint32(src[i:])))))
		}
	case I8, U8:
		for i, b := range src {
			q := float64(b)
			if v.Type == I8 {
				q = float64(int8(b))
			}
			little.PutUint32(dst[4*i:], math.Float32bits(v.Scale.value(q, row, i)))
		}
	default:
		copy(dst, src)
		if v.BigEndian {
			for size := v.Type.size(); len(dst) > 0; dst = dst[size:] {
				slices.Reverse(dst[:size])
			}
		}
	}
}

// value is what an integer stands for.
func (s *Scale) value(q float64, row, column int) float32 {
	if s == nil {
		return float32(q)
	}
	if s.Rows != nil {
		return float32((q - s.Zero) * s.Rows[row])
	}
	product := float64((q - s.Zero) * of(s.Factor, column)) // the conversion keeps the product from being fused with the sum
	if s.Offset == nil {
		return float32(product)
	}
	return float32(of(s.Offset, column) + product)
}

func of(values []float64, column int) float64 {
	if len(values) == 1 {
		return values[0]
	}
	return values[column]
}
