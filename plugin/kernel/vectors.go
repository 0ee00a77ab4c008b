//go:build !wasip1

package kernel

// Dot is the canonical dot product of a and b, which have equal lengths: a float64 sum of float32
// products (exact in float64) in eight interleaved partial sums, element i into sum i mod 8, folded as
// ((0+4)+(2+6))+((1+5)+(3+7)). It is what every decision rests on; see docs/ABI.md, Score.
func Dot(a, b []float32) float64 { return dot(a, b) }

// Scale writes float32(float64(x[i]) * by) to dst, which may be x.
func Scale(dst, x []float32, by float64) { scale(dst, x, by) }

// Subtract subtracts x from dst.
func Subtract(dst, x []float32) { subtract(dst, x) }

// Widen writes the values of IEEE 754 binary16 numbers to dst, exactly.
func Widen(dst []float32, x []uint16) { widen(dst, x) }

// Quantize writes x * Unit, rounded to the nearest, as pairs of 16-bit numbers; the last is filled up with 0. Values go
// from -1 to 1, and what rounding has put beyond that is taken back.
func Quantize(dst []int32, x []float32) { quantize(dst, x) }

// Above writes those i to dst, ascending, for which float32(x[i]) >= floor[i] - tails[i]*tail, in float32, and returns
// how many they are. The slices have one length, a multiple of 4.
func Above(dst, x []int32, floor, tails []float32, tail float32) int {
	return above(dst, x, floor, tails, tail)
}

// Refine leaves those i in kept, in order, for which float32(sums[i]) + by times the sum over c of rows[i*stride+c] *
// x[c] >= floor[i], in float32 and in any order, and returns how many they are. The last row may end with x.
func Refine(kept, sums []int32, rows []float32, stride int, x, floor []float32, by float32) int {
	return refine(kept, sums, rows, stride, x, floor, by)
}

// Finite reports whether no value is NaN or infinite.
func Finite(x []float32) bool { return finite(x) }
