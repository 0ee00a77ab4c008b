package kernel

// The loops of kernel.wat and scalar.wat. They take whole groups of values; what is left over goes through Plain's loops.

// Dot fills the last group of eight up with zeros, which change no sum.
func (*linked) Dot(a, b []float32) float64 {
	n := len(a) &^ 7
	var x, y [8]float32
	copy(x[:], a[n:])
	copy(y[:], b[n:len(a)])
	if n == 0 {
		return kernelDot(&x[0], &y[0], &x[0], &y[0], 0)
	}
	return kernelDot(&a[0], &b[0], &x[0], &y[0], uint32(n))
}

func (*linked) Scale(dst, x []float32, by float64) {
	n := len(x) &^ 3
	if n > 0 {
		kernelScale(&dst[0], &x[0], uint32(n), by)
	}
	plain{}.Scale(dst[n:], x[n:], by)
}

func (*linked) Subtract(dst, x []float32) {
	n := len(x) &^ 3
	if n > 0 {
		kernelSubtract(&dst[0], &x[0], uint32(n))
	}
	plain{}.Subtract(dst[n:], x[n:])
}

func (*linked) Widen(dst []float32, x []uint16) {
	n := len(x) &^ 3
	if n > 0 {
		kernelWiden(&dst[0], &x[0], uint32(n))
	}
	plain{}.Widen(dst[n:], x[n:])
}

func (*linked) Quantize(dst []int32, x []float32) {
	n := len(x) &^ 7
	if n > 0 {
		kernelQuantize(&dst[0], &x[0], uint32(n))
	}
	plain{}.Quantize(dst[n/2:], x[n:])
}

func (*linked) Above(dst, x []int32, floor, tails []float32, tail float32) int {
	if len(x) == 0 {
		return 0
	}
	return int(kernelAbove(&dst[0], &x[0], &floor[0], &tails[0], uint32(len(x)), tail))
}

func (*linked) Extend(kept, sums, rows []int32, stride int, x []int32, floor, tails []float32, tail float32) int {
	if len(kept) == 0 || len(x) == 0 {
		return plain{}.Extend(kept, sums, rows, stride, x, floor, tails, tail)
	}
	return int(kernelExtend(&kept[0], uint32(len(kept)), &sums[0], &rows[0], uint32(4*stride), &x[0], uint32(4*len(x)), &floor[0], &tails[0], tail))
}

func (*linked) Finite(x []float32) bool {
	n := len(x) &^ 3
	return (n == 0 || kernelFinite(&x[0], uint32(n)) != 0) && plain{}.Finite(x[n:])
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

//go:wasmimport kernel kernel_extend
//go:noescape
func kernelExtend(kept *int32, count uint32, sums, rows *int32, stride uint32, x *int32, bytes uint32, floor, tails *float32, tail float32) uint32

//go:wasmimport kernel kernel_finite
//go:noescape
func kernelFinite(x *float32, n uint32) uint32
