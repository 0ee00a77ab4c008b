package kerneltest

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
)

// Dot is the dot product as docs/ABI.md has it.
func Dot(a, b []float32) float64 {
	var r [8]float64
	for i := range a {
		r[i%8] += float64(a[i]) * float64(b[i])
	}
	return ((r[0] + r[4]) + (r[2] + r[6])) + ((r[1] + r[5]) + (r[3] + r[7]))
}

// Project is one output of the projection as docs/ABI.md has it.
func Project(x, p []float32) float32 {
	total := 0.0
	for block := 0; block < len(x); block += kernel.BlockColumns {
		s := float32(0)
		for i := block; i < min(block+kernel.BlockColumns, len(x)); i++ {
			product := float32(x[i] * p[i])
			s += product
		}
		total += float64(s)
	}
	return float32(total)
}

// Sum16 goes on from s with the products of pairs of 16-bit numbers. It wraps around, as the kernels do.
func Sum16(s int32, a, b []int32) int32 {
	for c := range a {
		s += int32(int16(a[c]))*int32(int16(b[c])) + (a[c]>>16)*(b[c]>>16)
	}
	return s
}

// Quantize is the pairs of 16-bit numbers that values become.
func Quantize(x []float32) []int32 {
	words := make([]int32, kernel.Words(len(x)))
	for i, v := range x {
		whole := math.RoundToEven(float64(float32(v * kernel.Unit)))
		whole = math.Min(math.Max(whole, -kernel.Unit), kernel.Unit)
		words[i/2] |= int32(uint32(uint16(int16(whole))) << (16 * (i % 2)))
	}
	return words
}

// Widen is the values of binary16 numbers, by their definition.
func Widen(h []uint16) []float32 {
	values := make([]float32, len(h))
	for i, bits := range h {
		exponent, fraction := int(bits>>10&0x1f), float64(bits&0x3ff)
		x := math.Ldexp(1+float64(fraction/1024), exponent-15)
		switch {
		case exponent == 0:
			x = math.Ldexp(fraction/1024, -14)
		case exponent == 0x1f && fraction == 0:
			x = math.Inf(1)
		case exponent == 0x1f:
			x = math.NaN()
		}
		if bits>>15 == 1 {
			x = -x
		}
		values[i] = float32(x)
	}
	return values
}

// Fill makes values of many magnitudes; with special, NaN, infinities, zeros of both signs, denormals and the largest
// are among them.
func Fill(r *rand.Rand, v []float32, special bool) {
	odd := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0, float32(math.Copysign(0, -1)),
		math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 0x1p-127, math.MaxFloat32}
	for i := range v {
		v[i] = float32(r.NormFloat64() * math.Exp2(float64(r.IntN(20)-10)))
		if special && r.IntN(8) == 0 {
			v[i] = odd[r.IntN(len(odd))]
		}
	}
}

// Floats is Fill in a new slice of n values.
func Floats(r *rand.Rand, n int, special bool) []float32 {
	v := make([]float32, n)
	Fill(r, v, special)
	return v
}

// Words makes n pairs of 16-bit numbers from -Unit to Unit, some of them the largest.
func Words(r *rand.Rand, n int) []int32 {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(r.IntN(2*kernel.Unit+1)-kernel.Unit)&0xffff | int32(r.IntN(2*kernel.Unit+1)-kernel.Unit)<<16
		if r.IntN(8) == 0 {
			v[i] = kernel.Unit | -kernel.Unit<<16
		}
	}
	return v
}

// The guard values. nan32 has bits that no computation gives.
var nan32 = math.Float32frombits(0x7fc0bad1)

const guard32 = int32(0x5ca1ab1e)

// margin is how many guard values lie on each side.
const margin = 8

// fenced is values at some offset in a larger slice, with guard values on both sides.
type fenced[T float32 | int32 | uint16] struct {
	values []T
	whole  []T
	first  int // of values in whole
	guard  T
}

// guarded returns n guard values at an offset of offset values, between guard values.
func guarded[T float32 | int32 | uint16](n, offset int, guard T) fenced[T] {
	f := fenced[T]{whole: make([]T, margin+offset+n+margin), first: margin + offset, guard: guard}
	for i := range f.whole {
		f.whole[i] = guard
	}
	f.values = f.whole[f.first : f.first+n : f.first+n]
	return f
}

// floats is n values of Fill between guard values.
func floats(r *rand.Rand, n, offset int, special bool) fenced[float32] {
	f := guarded(n, offset, nan32)
	Fill(r, f.values, special)
	return f
}

// words is n values of Words between guard values.
func words(r *rand.Rand, n, offset int) fenced[int32] {
	f := guarded(n, offset, guard32)
	copy(f.values, Words(r, n))
	return f
}

// check fails where the values are not those wanted, to the bit, or where a guard value was written. A NaN's bits are
// the machine's.
func (f fenced[T]) check(t *testing.T, what string, want []T, args ...any) {
	t.Helper()
	for i, v := range f.values {
		if !sameBits(v, want[i]) {
			t.Fatalf(what+": value %d is %v, the loop gives %v", append(args, i, v, want[i])...)
		}
	}
	f.guards(t, what, args...)
}

func (f fenced[T]) guards(t *testing.T, what string, args ...any) {
	t.Helper()
	for i, v := range f.whole {
		if (i < f.first || i >= f.first+len(f.values)) && bits(v) != bits(f.guard) {
			t.Fatalf(what+": %v was written at %d, outside the %d values", append(args, v, i-f.first, len(f.values))...)
		}
	}
}

func bits[T float32 | int32 | uint16](v T) uint32 {
	switch v := any(v).(type) {
	case float32:
		return math.Float32bits(v)
	case int32:
		return uint32(v)
	case uint16:
		return uint32(v)
	}
	return 0
}

func sameBits[T float32 | int32 | uint16](a, b T) bool { return bits(a) == bits(b) || a != a && b != b }

func sameBits64(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b
}
