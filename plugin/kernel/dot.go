package kernel

import "math"

// Dot is the canonical dot product of a and b, which have equal lengths: a float64 sum of float32
// products (exact in float64) in eight interleaved partial sums, element i into sum i mod 8, folded as
// ((0+4)+(2+6))+((1+5)+(3+7)). It is what every decision rests on; see docs/ABI.md, Score.
func Dot(a, b []float32) float64 {
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

// Norm is the canonical Euclidean norm: the square root of Dot(a, a).
func Norm(a []float32) float64 { return math.Sqrt(Dot(a, a)) }
