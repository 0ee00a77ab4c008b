//go:build !wasip1

package kernel

// Native is the instructions that a processor has, and the loops for them in assembly. It is safe for concurrent use.
type Native struct {
	name string
	// Tiles of one panel, and where there are such, of two.
	screen   []tileOf[int32, int32]
	multiply []tileOf[float32, float32]
	project  []tileOf[float64, float32]

	narrow   func(dst *float32, x *float64, n int)
	dot      func(a, b *float32, n int) float64
	scale    func(dst, x *float32, n int, by float64)
	subtract func(dst, x *float32, n int)
	widen    func(dst *float32, x *uint16, n int)
	quantize func(dst *int32, x *float32, n int)
	above    func(dst, x *int32, floor, tails *float32, n int, tail float32) int
	extend   func(kept, sums *int32, count int, rows *int32, stride uintptr, x *int32, words int, floor, tails *float32, tail float32) int
	finite   func(x *float32, n int) bool
}

// tileOf multiplies rows with panels. Strides are in bytes; see multiplyAVX2.
type tileOf[Sum float32 | float64 | int32, Value float32 | int32] func(dst *Sum, dstRow, dstPanel uintptr, panel *Value, panelStride uintptr,
	x *Value, xRow, xTerm uintptr, rows, terms int, add bool)

// Name says which instructions they are, for reports.
func (n *Native) Name() string { return n.name }

// New returns a kernel of these loops, for one goroutine at a time.
func (n *Native) New() Kernel { return &native{Native: n} }

// Fastest returns the fastest kernel that this process can run, for one goroutine at a time.
func Fastest() Kernel {
	if natives := Natives(); len(natives) > 0 {
		return natives[0].New()
	}
	return Plain
}

// Sizes of values, in bytes.
const (
	wordSize   = 4
	doubleSize = 8
)

// A pass of the projection takes so many vectors: their totals, and a block of columns of two panels, stay in the cache.
const nativeVectors = 64

// group is how many values the loops take at a time. What is left over is filled up to a group in scratch memory.
const group = 16

// native is a kernel with its scratch memory.
type native struct {
	*Native
	totals [nativeVectors * 2 * PanelRows]float64
	halves [group]uint16
	x, y   [group]float32
	words  [group / 2]int32
}

func (k *native) Screen(dst []int32, kept Packed[int32], first, n int, vectors []int32, words int) {
	stride := kept.Columns
	if m := len(vectors) / stride; m > 0 && n > 0 {
		_, _ = dst[m*n-1], kept.Data[(first+n)*stride-1]
		for c := 0; c < words; c += BlockColumns {
			eachPanels(k.screen, n/PanelRows, func(p int, tile tileOf[int32, int32]) {
				tile(&dst[p*PanelRows], uintptr(wordSize*n), wordSize*PanelRows, &kept.Data[(first+p*PanelRows)*stride+c*PanelRows], uintptr(wordSize*PanelRows*stride),
					&vectors[c], uintptr(wordSize*stride), wordSize, m, min(BlockColumns, words-c), c > 0)
			})
		}
	}
}

// eachPanels goes through n panels, as many at a time as there is a tile for.
func eachPanels[Sum float32 | float64 | int32, Value float32 | int32](tiles []tileOf[Sum, Value], n int, each func(first int, tile tileOf[Sum, Value])) {
	for p := 0; p < n; {
		m := min(len(tiles), n-p)
		each(p, tiles[m-1])
		p += m
	}
}

func (k *native) Project(dst []float32, kept Packed[float32], vectors []float32) {
	columns, n := kept.Columns, kept.Rows
	if n > 0 {
		_ = kept.Data[PackedLen(n, columns)-1]
	}
	for i := 0; i < len(vectors)/columns; i += nativeVectors {
		m := min(nativeVectors, len(vectors)/columns-i)
		eachPanels(k.project, PackedRows(n)/PanelRows, func(p int, tile tileOf[float64, float32]) {
			const row = 2 * PanelRows
			clear(k.totals[:m*row])
			for c := 0; c < columns; c += BlockColumns {
				tile(&k.totals[0], doubleSize*row, doubleSize*PanelRows, &kept.Data[p*PanelRows*columns+c*PanelRows], uintptr(wordSize*PanelRows*columns),
					&vectors[i*columns+c], uintptr(wordSize*columns), wordSize, m, min(BlockColumns, columns-c), true)
			}
			for v := range m {
				to := dst[(i+v)*n+p*PanelRows : (i+v)*n+min(n, (p+len(k.project))*PanelRows)]
				k.round(to, k.totals[v*row:])
			}
		})
	}
}

// round writes as many values of x as dst has room for, rounded to float32.
func (k *native) round(dst []float32, x []float64) {
	n := len(dst) &^ (group - 1)
	if n > 0 {
		k.narrow(&dst[0], &x[0], n)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = float32(x[i])
	}
}
