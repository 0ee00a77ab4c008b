package mine

import "math"

// screenSlack bounds the screening error: how far the float32 dot product of two unit vectors of k values, as
// Kernel.Screen gives it, can lie from the canonical s of the vectors that they were made of.
//
// Let u = 2^-24, a and b be the exact unit vectors, and A and B what kernel.Scale makes of them, with the reciprocal of the norm. A value of A is off by a factor of
// at most 1+v, where v = u + 2^-39: one rounding to float32, and before it, in float64, a reciprocal, a product, and the
// canonical norm, whose error is at most (k/8+4) * 2^-53 <= 2^-39.9 for k <= 2^16; where it is denormal, by 2^-150. Then
//
//   - |A.B - a.b| <= (2v + v^2) * sum|a_i b_i| + k * 2^-149 <= 2.001u, since sum|a_i b_i| <= 1 (Cauchy-Schwarz);
//   - the kernel's sum of k products, in any order, fused or not, is off by at most g * sum|A_i B_i| + k * 2^-149, where
//     g = k*u/(1-k*u) (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 3.1): <= g * (1 + 3u) + u/1000;
//   - the canonical s, with its three sums and two roundings, is within 2^-38 < u/1000 of a.b.
//
// Together less than g + 2.1u + 3gu, and k <= 2^16 gives g < 1/250; so g + 4u is enough.
func screenSlack(k int) float64 {
	const u = 0x1p-24
	ku := float64(k) * u
	return ku/(1-ku) + 4*u
}

// roundDown returns the largest float32 that is at most x, roundUp the least that is at least x.
func roundDown(x float64) float32 {
	f := float32(x)
	if float64(f) > x {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

func roundUp(x float64) float32 { return -roundDown(-x) }
