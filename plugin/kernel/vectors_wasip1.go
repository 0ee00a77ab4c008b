package kernel

// Dot is the canonical dot product, by kernel.wat; the last group of eight is filled up with zeros, which change no
// sum.
func Dot(a, b []float32) float64 {
	n := len(a) &^ 7
	var x, y [8]float32
	copy(x[:], a[n:])
	copy(y[:], b[n:len(a)])
	if n == 0 {
		return kernelDot(&x[0], &y[0], &x[0], &y[0], 0)
	}
	return kernelDot(&a[0], &b[0], &x[0], &y[0], uint32(n))
}

// Scale writes float32(float64(x[i]) * by) to dst, which may be x.
func Scale(dst, x []float32, by float64) {
	n := len(x) &^ 3
	if n > 0 {
		kernelScale(&dst[0], &x[0], uint32(n), by)
	}
	scale(dst[n:], x[n:], by)
}

// Subtract subtracts x from dst.
func Subtract(dst, x []float32) {
	n := len(x) &^ 3
	if n > 0 {
		kernelSubtract(&dst[0], &x[0], uint32(n))
	}
	subtract(dst[n:], x[n:])
}

// Widen writes the values of IEEE 754 binary16 numbers to dst, exactly.
func Widen(dst []float32, x []uint16) {
	n := len(x) &^ 3
	if n > 0 {
		kernelWiden(&dst[0], &x[0], uint32(n))
	}
	widen(dst[n:], x[n:])
}

// Quantize writes x * Unit, rounded to the nearest, as pairs of 16-bit numbers; the last is filled up with 0. Values go
// from -1 to 1, and what rounding has put beyond that is taken back.
func Quantize(dst []int32, x []float32) {
	n := len(x) &^ 7
	if n > 0 {
		kernelQuantize(&dst[0], &x[0], uint32(n))
	}
	quantize(dst[n/2:], x[n:])
}

// Above writes those i to dst, ascending, for which float32(x[i]) >= floor[i] - tails[i]*tail, and returns how many
// they are.
func Above(dst, x []int32, floor, tails []float32, tail float32) int {
	return int(kernelAbove(&dst[0], &x[0], &floor[0], &tails[0], uint32(len(x)), tail))
}

// Refine leaves those i in kept, in order, for which float32(sums[i]) + by times the sum over c of rows[i*stride+c] *
// x[c] >= floor[i], and returns how many they are.
func Refine(kept, sums []int32, rows []float32, stride int, x, floor []float32, by float32) int {
	if len(kept) == 0 || len(x) == 0 {
		return refine(kept, sums, rows, stride, x, floor, by)
	}
	return int(kernelRefine(&kept[0], uint32(len(kept)), &sums[0], &rows[0], uint32(4*stride), &x[0], uint32(len(x)), &floor[0], by))
}

// Finite reports whether no value is NaN or infinite.
func Finite(x []float32) bool {
	n := len(x) &^ 3
	return (n == 0 || kernelFinite(&x[0], uint32(n)) != 0) && finite(x[n:])
}

//go:wasmimport kernel kernel_dot
//go:noescape
func kernelDot(a, b, lastA, lastB *float32, n uint32) float64

//go:wasmimport kernel kernel_scale
//go:noescape
func kernelScale(dst, x *float32, n uint32, by float64)

//go:wasmimport kernel kernel_subtract
//go:noescape
func kernelSubtract(dst, x *float32, n uint32)

//go:wasmimport kernel kernel_widen
//go:noescape
func kernelWiden(dst *float32, x *uint16, n uint32)

//go:wasmimport kernel kernel_quantize
//go:noescape
func kernelQuantize(dst *int32, x *float32, n uint32)

//go:wasmimport kernel kernel_above
//go:noescape
func kernelAbove(dst, x *int32, floor, tails *float32, n uint32, tail float32) uint32

//go:wasmimport kernel kernel_refine
//go:noescape
func kernelRefine(kept *int32, count uint32, sums *int32, rows *float32, stride uint32, x *float32, columns uint32, floor *float32, by float32) uint32

//go:wasmimport kernel kernel_finite
//go:noescape
func kernelFinite(x *float32, n uint32) uint32
