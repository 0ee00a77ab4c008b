package safetensors

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// littleEndian is true where numbers lie in this machine's memory as they do in a file.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// number is an element type that memory and file may share.
type number interface {
	~uint16 | ~float32 | ~float64 | ~int64
}

// view returns b as numbers. They share b's memory where it is aligned and the machine is little endian; elsewhere they
// are a copy.
func view[T number](b []byte, decode func([]byte) T) []T {
	size := int(unsafe.Sizeof(*new(T)))
	n := len(b) / size
	if n == 0 {
		return nil
	}
	if littleEndian && uintptr(unsafe.Pointer(&b[0]))%uintptr(size) == 0 {
		return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n)
	}
	v := make([]T, n)
	for i := range v {
		v[i] = decode(b[i*size:])
	}
	return v
}

// bytesOf is view's inverse.
func bytesOf[T number](v []T, encode func([]byte, T)) []byte {
	size := int(unsafe.Sizeof(*new(T)))
	if len(v) == 0 {
		return nil
	}
	if littleEndian {
		return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*size)
	}
	b := make([]byte, len(v)*size)
	for i, x := range v {
		encode(b[i*size:], x)
	}
	return b
}

// Uint16s returns little-endian bytes as uint16, without a copy where that can be.
func Uint16s(b []byte) []uint16 { return view(b, binary.LittleEndian.Uint16) }

// Float32s returns little-endian bytes as float32, without a copy where that can be.
func Float32s(b []byte) []float32 {
	return view(b, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) })
}

// Float64s returns little-endian bytes as float64, without a copy where that can be.
func Float64s(b []byte) []float64 {
	return view(b, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) })
}

// Int64s returns little-endian bytes as int64, without a copy where that can be.
func Int64s(b []byte) []int64 {
	return view(b, func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) })
}

// OfFloat32 returns a tensor of those values; it shares their memory where that can be.
func OfFloat32(name string, v []float32, shape ...int) Tensor {
	return Tensor{name, F32, shape, bytesOf(v, func(b []byte, x float32) { binary.LittleEndian.PutUint32(b, math.Float32bits(x)) })}
}

// OfFloat64 returns a tensor of those values; it shares their memory where that can be.
func OfFloat64(name string, v []float64, shape ...int) Tensor {
	return Tensor{name, F64, shape, bytesOf(v, func(b []byte, x float64) { binary.LittleEndian.PutUint64(b, math.Float64bits(x)) })}
}

// OfInt64 returns a tensor of those values; it shares their memory where that can be.
func OfInt64(name string, v []int64, shape ...int) Tensor {
	return Tensor{name, I64, shape, bytesOf(v, func(b []byte, x int64) { binary.LittleEndian.PutUint64(b, uint64(x)) })}
}

// Bytes returns the memory of words as bytes, so that the bytes are 8-aligned.
func Bytes(words []uint64) []byte {
	if len(words) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
}
