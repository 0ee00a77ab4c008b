package kernel

import "unsafe"

// NewLinked returns the kernel that is linked into the module: that of kernel.wat, or of scalar.wat. It is for one
// goroutine at a time.
func NewLinked() Kernel { return &linked{} }

var _ Kernel = (*linked)(nil)

// A pass of the products takes so many vectors and kept rows at a time. Their splats, their totals and a panel's block of
// columns stay in a core's cache.
const (
	passVectors = 64
	passRows    = 512
)

// linked is the scratch memory of the products.
type linked struct {
	splats [passVectors * BlockColumns * 4]float32
	totals [passVectors * passRows]float64
	sums   [2 * PanelRows]float32
}

func (*linked) Name() string {
	if kernelLanes() == 1 {
		return "wasm scalar"
	}
	return "wasm simd128"
}

func (s *linked) Screen(dst []int32, kept Packed[int32], first, n int, vectors []int32, words int) {
	eachPass(s, kept, first, n, vectors, words, func(i, j, rows, m, c, words int, q *int32) {
		kernelScreen16(&dst[i*n+j], uint32(4*n), 4*PanelRows, q, uint32(4*PanelRows*kept.Columns), uint32(rows/PanelRows),
			&s.splats[0], uint32(m), uint32(words), min(uint32(c), 1))
	})
}

func (s *linked) Project(dst []float32, kept Packed[float32], vectors []float32) {
	n := kept.Rows
	eachPass(s, kept, 0, PackedRows(n), vectors, kept.Columns, func(i, j, rows, m, c, columns int, q *float32) {
		totals := s.totals[:m*rows]
		if c == 0 {
			clear(totals)
		}
		kernelProject(&totals[0], uint32(8*rows), q, uint32(4*PanelRows*kept.Columns), uint32(rows/PanelRows),
			&s.splats[0], uint32(m), uint32(columns), &s.sums[0])
		if c+columns < kept.Columns {
			return
		}
		for v := range m {
			to := dst[(i+v)*n+j : (i+v)*n+min(n, j+rows)]
			for r, total := range totals[v*rows : v*rows+len(to)] {
				to[r] = float32(total)
			}
		}
	})
}

// eachPass visits kept rows [first, first+n) against all vectors, in their first end columns. It splats the vectors'
// columns and calls f with the number of the pass's first vector, of its first kept row less first, how many kept rows
// and vectors it has, its first column and how many, ascending, and the panel at its first kept row and column.
func eachPass[T float32 | int32](s *linked, kept Packed[T], first, n int, vectors []T, end int, f func(i, j, rows, m, c, columns int, q *T)) {
	k := kept.Columns
	for i := 0; i < len(vectors)/k; i += passVectors {
		m := min(passVectors, len(vectors)/k-i)
		for j := 0; j < n; j += passRows {
			for c := 0; c < end; c += BlockColumns {
				columns := min(BlockColumns, end-c)
				kernelSplat(&s.splats[0], unsafe.Pointer(&vectors[i*k+c]), uint32(4*k), 4, uint32(m), uint32(columns))
				f(i, j, min(passRows, n-j), m, c, columns, &kept.Data[(first+j)*k+c*PanelRows])
			}
		}
	}
}

//go:wasmimport kernel kernel_lanes
//go:noescape
func kernelLanes() uint32

//go:wasmimport kernel kernel_splat
//go:noescape
func kernelSplat(dst *float32, x unsafe.Pointer, row, column, rows, columns uint32)

//go:wasmimport kernel kernel_screen16
//go:noescape
func kernelScreen16(sums *int32, sumsRow, sumsPanel uint32, q *int32, stride, panels uint32, splats *float32, rows, columns, more uint32)

//go:wasmimport kernel kernel_project
//go:noescape
func kernelProject(totals *float64, totalsRow uint32, q *float32, stride, panels uint32, splats *float32, rows, columns uint32, sums *float32)
