package kernel

// Plain is the kernel in plain Go. Its products go in tiles of two vectors by four kept rows, eight sums at a time,
// each in ascending order of columns and never fused. It gives the same bits on every architecture. It keeps no scratch
// memory, so that any number of goroutines may use it.
var Plain Kernel = plain{}

// tileRows is how many of a panel's rows a tile takes.
const tileRows = 4

type plain struct{}

func (plain) Name() string { return "go" }

func (plain) Screen(dst []int32, kept Packed[int32], first, n int, vectors []int32, words int) {
	eachTile(kept, first, n, vectors, func(i, j, rows int, x0, x1, panel []int32) {
		a, b := tile16(x0[:words], x1[:words], panel)
		copy(dst[i*n+j:], a[:])
		if rows == 2 {
			copy(dst[(i+1)*n+j:], b[:])
		}
	})
}

func (plain) Project(dst []float32, kept Packed[float32], vectors []float32) {
	k, n := kept.Columns, kept.Rows
	eachTile(kept, 0, n, vectors, func(i, j, rows int, x0, x1, panel []float32) {
		var a, b [tileRows]float64
		for c := 0; c < k; c += BlockColumns {
			end := min(c+BlockColumns, k)
			s, t := tile(x0[c:end], x1[c:end], panel[c*PanelRows:])
			for r := range tileRows {
				a[r] += float64(s[r])
				b[r] += float64(t[r])
			}
		}
		for r := range min(tileRows, n-j) {
			dst[i*n+j+r] = float32(a[r])
			if rows == 2 {
				dst[(i+1)*n+j+r] = float32(b[r])
			}
		}
	})
}

// eachTile visits the tiles of kept rows [first, first+n) against all vectors. f gets the number of the tile's first
// vector, of its first kept row less first, how many vectors it has, the vectors, and the panel from the tile's first row
// on. Where the tile has one vector, x1 repeats x0. A panel stays in the cache while all the vectors pass.
func eachTile[T float32 | int32](kept Packed[T], first, n int, vectors []T, f func(i, j, rows int, x0, x1, panel []T)) {
	k := kept.Columns
	m := len(vectors) / k
	for j := 0; j < n; j += tileRows {
		row := first + j
		panel := kept.Data[row/PanelRows*PanelRows*k+row%PanelRows:]
		for i := 0; i < m; i += 2 {
			x0, rows := vectors[i*k:][:k], min(2, m-i)
			x1 := x0
			if rows == 2 {
				x1 = vectors[(i+1)*k:][:k]
			}
			f(i, j, rows, x0, x1, panel)
		}
	}
}

// tile multiplies two vectors with the first four rows of a panel:
//
//	for c := range x0 {
//		for r := range 4 {
//			a[r] += float32(x0[c] * panel[PanelRows*c+r])
//			b[r] += float32(x1[c] * panel[PanelRows*c+r])
//		}
//	}
func tile(x0, x1, panel []float32) (a, b [tileRows]float32) {
	x1 = x1[:len(x0)]
	var a0, a1, a2, a3, b0, b1, b2, b3 float32
	for c, x := range x0 {
		y := x1[c]
		p := (*[tileRows]float32)(panel[c*PanelRows:])
		a0 += float32(x * p[0])
		a1 += float32(x * p[1])
		a2 += float32(x * p[2])
		a3 += float32(x * p[3])
		b0 += float32(y * p[0])
		b1 += float32(y * p[1])
		b2 += float32(y * p[2])
		b3 += float32(y * p[3])
	}
	return [tileRows]float32{a0, a1, a2, a3}, [tileRows]float32{b0, b1, b2, b3}
}

// tile16 is tile for pairs of 16-bit numbers:
//
//	a[r] += int32(low(x0[c]))*int32(low(panel[PanelRows*c+r])) + int32(high(x0[c]))*int32(high(panel[PanelRows*c+r]))
func tile16(x0, x1, panel []int32) (a, b [tileRows]int32) {
	x1 = x1[:len(x0)]
	for c, x := range x0 {
		xl, xh := int32(int16(x)), x>>16
		yl, yh := int32(int16(x1[c])), x1[c]>>16
		p := (*[tileRows]int32)(panel[c*PanelRows:])
		for r, w := range p {
			l, h := int32(int16(w)), w>>16
			a[r] += xl*l + xh*h
			b[r] += yl*l + yh*h
		}
	}
	return a, b
}
