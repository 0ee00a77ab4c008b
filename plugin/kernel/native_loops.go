//go:build !wasip1

package kernel

// The loops over single vectors. Those in assembly take whole groups of values; what is left over goes through scratch
// memory.

func (k *native) Dot(a, b []float32) float64 {
	if len(a) == 0 {
		return 0
	}
	_ = b[len(a)-1]
	return k.dot(&a[0], &b[0], len(a))
}

func (k *native) Scale(dst, x []float32, by float64) {
	n := len(x) &^ (group - 1)
	if n > 0 {
		_ = dst[n-1]
		k.scale(&dst[0], &x[0], n, by)
	}
	if n < len(x) {
		copy(k.x[:], x[n:])
		k.scale(&k.x[0], &k.x[0], group, by)
		copy(dst[n:len(x)], k.x[:])
	}
}

func (k *native) Subtract(dst, x []float32) {
	n := len(x) &^ (group - 1)
	if n > 0 {
		_ = dst[n-1]
		k.subtract(&dst[0], &x[0], n)
	}
	if n < len(x) {
		copy(k.x[:], x[n:])
		copy(k.y[:], dst[n:len(x)])
		k.subtract(&k.y[0], &k.x[0], group)
		copy(dst[n:len(x)], k.y[:])
	}
}

func (k *native) Widen(dst []float32, x []uint16) {
	n := len(x) &^ (group - 1)
	if n > 0 {
		_ = dst[n-1]
		k.widen(&dst[0], &x[0], n)
	}
	if n < len(x) {
		copy(k.halves[:], x[n:])
		k.widen(&k.x[0], &k.halves[0], group)
		copy(dst[n:len(x)], k.x[:])
	}
}

func (k *native) Quantize(dst []int32, x []float32) {
	n := len(x) &^ (group - 1)
	if n > 0 {
		_ = dst[n/2-1]
		k.quantize(&dst[0], &x[0], n)
	}
	if n < len(x) {
		k.fill(x[n:])
		k.quantize(&k.words[0], &k.x[0], group)
		copy(dst[n/2:Words(len(x))], k.words[:])
	}
}

// fill has scratch memory begin with x, and go on with 0.
func (k *native) fill(x []float32) {
	clear(k.x[copy(k.x[:], x):])
}

func (k *native) Above(dst, x []int32, floor, tails []float32, tail float32) int {
	n := len(x)
	if n == 0 {
		return 0
	}
	_, _, _ = dst[n-1], floor[n-1], tails[n-1]
	return k.above(&dst[0], &x[0], &floor[0], &tails[0], n, tail)
}

func (k *native) Extend(kept, sums, rows []int32, stride int, x []int32, floor, tails []float32, tail float32) int {
	n, words := len(kept), len(x)
	if n == 0 {
		return 0
	}
	if words == 0 { // there may be no rows
		return plain{}.Extend(kept, sums, rows, stride, x, floor, tails, tail)
	}
	return k.extend(&kept[0], &sums[0], n, &rows[0], uintptr(wordSize*stride), &x[0], words, &floor[0], &tails[0], tail)
}

func (k *native) Finite(x []float32) bool {
	n := len(x) &^ (group - 1)
	if n > 0 && !k.finite(&x[0], n) {
		return false
	}
	k.fill(x[n:])
	return k.finite(&k.x[0], group)
}
