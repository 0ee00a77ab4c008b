package kernel

import "math"

// The loops of Plain over single vectors. Those of kernel.wat are their twins, and call them for the values that are left
// over where a length is no multiple of the vector width.

func (plain) Dot(a, b []float32) float64 {
	var r [8]float64
	b = b[:len(a)]
	i := 0
	for ; i+8 <= len(a); i += 8 {
		x, y := (*[8]float32)(a[i:]), (*[8]float32)(b[i:])
		r[0] += float64(x[0]) * float64(y[0])
		r[1] += float64(x[1]) * float64(y[1])
		r[2] += float64(x[2]) * float64(y[2])
		r[3] += float64(x[3]) * float64(y[3])
		r[4] += float64(x[4]) * float64(y[4])
		r[5] += float64(x[5]) * float64(y[5])
		r[6] += float64(x[6]) * float64(y[6])
		r[7] += float64(x[7]) * float64(y[7])
	}
	for j := i; j < len(a); j++ {
		r[j-i] += float64(a[j]) * float64(b[j])
	}
	return ((r[0] + r[4]) + (r[2] + r[6])) + ((r[1] + r[5]) + (r[3] + r[7]))
}

func (plain) Scale(dst, x []float32, by float64) {
	for i, v := range x {
		dst[i] = float32(float64(v) * by)
	}
}

func (plain) Subtract(dst, x []float32) {
	for i, v := range x {
		dst[i] -= v
	}
}

func (plain) Widen(dst []float32, x []uint16) {
	for i, h := range x {
		dst[i] = half(h)
	}
}

// half is the value of a binary16 number. It shifts exponent and fraction into place and multiplies by 2^112, the
// difference of the biases, which is exact for denormals too. Infinities and NaNs keep the largest exponent.
func half(h uint16) float32 {
	bits := math.Float32bits(math.Float32frombits(uint32(h&0x7fff)<<13)*0x1p112) | uint32(h&0x8000)<<16
	if h&0x7c00 == 0x7c00 {
		bits |= 0x7f800000
	}
	return math.Float32frombits(bits)
}

func (plain) Quantize(dst []int32, x []float32) {
	for i := range dst {
		w := quantum(x[2*i])
		if 2*i+1 < len(x) {
			w |= quantum(x[2*i+1]) << 16
		}
		dst[i] = int32(w)
	}
}

// quantum rounds x * Unit by adding a number so large that the sum has no bits for a fraction. The sum's last bits are
// the result.
func quantum(x float32) uint32 {
	const magic = 3 << 22
	scaled := min(max(float32(x*Unit), -Unit), Unit)
	return math.Float32bits(scaled+magic) & 0xffff
}

func (plain) Above(dst, x []int32, floor, tails []float32, tail float32) (n int) {
	for i, v := range x {
		if float32(v) >= floor[i]-float32(tails[i]*tail) {
			dst[n] = int32(i)
			n++
		}
	}
	return n
}

func (plain) Extend(kept, sums, rows []int32, stride int, x []int32, floor, tails []float32, tail float32) (n int) {
	for _, i := range kept {
		s := sums[i]
		for c, w := range rows[int(i)*stride:][:len(x)] {
			s += int32(int16(w))*int32(int16(x[c])) + (w>>16)*(x[c]>>16)
		}
		sums[i] = s
		if float32(s) >= floor[i]-float32(tails[i]*tail) {
			kept[n] = i
			n++
		}
	}
	return n
}

func (plain) Finite(x []float32) bool {
	sum := float32(0)
	for _, v := range x {
		sum += v - v // 0, or NaN
	}
	return sum == sum
}
