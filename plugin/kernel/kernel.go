// Package kernel holds the inner loops: those over single vectors, the canonical dot product among them, and the two
// matrix products that the projection and the screening pass spend their time in, behind one interface.
//
// In go float32 rows. Out come float32 (or, for Dot, float64) sums. Packages pca and mine call it; they
// are handed a Kernel, so that a faster one replaces the plain Go one without touching them.
package kernel

import "math"

// BlockColumns is how many columns the projection sums in float32 before it goes on in float64.
const BlockColumns = 256

// Kernel multiplies a kept matrix, packed once, with vectors that stream past it. A Kernel may keep scratch memory, of
// a fixed size: it is for one goroutine at a time.
//
// The slices' lengths are the caller's to get right: vectors holds whole rows of kept.Columns values,
// and dst one value for each of those rows and each kept row asked for.
type Kernel interface {
	// Name says which kernel this is, for reports.
	Name() string

	// Screen writes dst[i*n+j] = the sum over the first words of vectors[i] * kept[first+j], word by word, for j < n,
	// exactly: a word is a pair of 16-bit numbers, low half first, and their products are added. Sums have to fit 32
	// bits. first and n are multiples of PanelRows; kept rows past the last are zero.
	Screen(dst []int32, kept Packed[int32], first, n int, vectors []int32, words int)

	// Project writes dst[i*kept.Rows+j] = sum over c of vectors[i][c] * kept[j][c] in canonical order: float32 sums, in
	// ascending order and never fused, over blocks of BlockColumns columns; the blocks' sums added in
	// float64, rounded to float32 once. See docs/ABI.md, Project.
	Project(dst []float32, kept Packed[float32], vectors []float32)
}

// Unit is what 1 becomes in 16 bits. Of vectors of norm 1 every sum of products then fits 32 bits.
const Unit = 1<<15 - 1

// Words is how many pairs of 16-bit numbers k columns take.
func Words(k int) int { return (k + 1) / 2 }

// PanelRows is how many kept rows lie interleaved in a panel.
const PanelRows = 16

// Packed is a matrix in panels of PanelRows rows: column c of row p*PanelRows+r is Data[(p*Columns+c)*PanelRows+r].
// Past the last row, the last panel is zero.
type Packed[T float32 | int32] struct {
	Rows, Columns int
	Data          []T
}

// Pack lays out n rows of k values in panels.
func Pack[T float32 | int32](rows []T, n, k int) Packed[T] {
	data := make([]T, PackedLen(n, k))
	for j := range n {
		panel := data[j/PanelRows*PanelRows*k:]
		for c, v := range rows[j*k : (j+1)*k] {
			panel[c*PanelRows+j%PanelRows] = v
		}
	}
	return Packed[T]{Rows: n, Columns: k, Data: data}
}

// PackedRows is the number of rows of an n-row matrix once packed.
func PackedRows(n int) int { return (n + PanelRows - 1) / PanelRows * PanelRows }

// PackedLen is the number of values in Packed.Data for an n x k matrix.
func PackedLen(n, k int) int { return PackedRows(n) * k }

// Norm is the canonical Euclidean norm: the square root of Dot(a, a).
func Norm(a []float32) float64 { return math.Sqrt(Dot(a, a)) }
