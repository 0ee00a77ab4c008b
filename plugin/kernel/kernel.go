// Package kernel holds the inner loops behind one interface: loops over single vectors, the canonical dot product among
// them, and the two matrix products in which projecting and screening spend their time.
//
// Input: float32 rows. Output: float32 or float64 sums. Packages pca and mine are handed a Kernel, so that a faster one
// replaces the plain Go one without touching them. There are Plain, in Go; that of kernel.wat, in the module; and Natives,
// in assembly, which the generator in folder asm writes. Each must pass the suite of package kerneltest.
package kernel

import "math"

// BlockColumns is how many columns the projection sums in float32 before it goes on in float64.
const BlockColumns = 256

// Kernel is the inner loops. A Kernel may keep scratch memory of a fixed size, and is then for one goroutine at a time.
//
// The lengths of slices are the caller's to get right. A kernel writes nothing outside dst, and every kernel gives the
// same bits.
type Kernel interface {
	// Name says which kernel this is, for reports.
	Name() string

	// Dot is the canonical dot product of a and b, which have equal lengths: a float64 sum of float32 products, each of
	// which is exact in float64. Element i goes to partial sum i mod 8, and the partial sums are folded as
	// ((0+4)+(2+6))+((1+5)+(3+7)). Every decision rests on it; see docs/ABI.md, Score.
	Dot(a, b []float32) float64

	// Scale writes float32(float64(x[i]) * by) to dst[i]. dst may be x.
	Scale(dst, x []float32, by float64)

	// Subtract subtracts x from dst, which is as long.
	Subtract(dst, x []float32)

	// Widen writes the values of IEEE 754 binary16 numbers to dst, exactly.
	Widen(dst []float32, x []uint16)

	// Quantize writes float32(x[i] * Unit), rounded to the nearest whole number and ties to even, as pairs of 16-bit
	// numbers, low half first. dst has Words(len(x)) values; where len(x) is odd, the last pair is filled up with 0.
	// Values go from -1 to 1; what lies beyond, for rounding, becomes Unit or -Unit.
	Quantize(dst []int32, x []float32)

	// Above writes those i to dst, ascending, for which float32(x[i]) >= floor[i] - tails[i]*tail, in float32 and never
	// fused, and returns how many they are. The slices have one length, a multiple of 4.
	Above(dst, x []int32, floor, tails []float32, tail float32) int

	// Extend adds to sums[i], for each i in kept, the product of row i with x, word by word as Screen has it: row i is
	// rows[i*stride:][:len(x)], and len(x) is a multiple of 4. It leaves those i in kept, in order, for which
	// float32(sums[i]) >= floor[i] - tails[i]*tail, as in Above, and returns how many they are. The last row may end with
	// x.
	Extend(kept, sums, rows []int32, stride int, x []int32, floor, tails []float32, tail float32) int

	// Finite reports whether no value is NaN or infinite.
	Finite(x []float32) bool

	// Screen multiplies a kept matrix, packed once, with vectors that stream past it. It writes dst[i*n+j] = the sum over
	// the first words of vectors[i] * kept[first+j], word by word, for j < n, exactly: a word is a pair of 16-bit numbers,
	// low half first, and their products are added. Sums have to fit 32 bits. vectors holds whole rows of kept.Columns
	// words. first and n are multiples of PanelRows. Kept rows past the last are zero.
	Screen(dst []int32, kept Packed[int32], first, n int, vectors []int32, words int)

	// Project writes dst[i*kept.Rows+j] = the sum over c of vectors[i][c] * kept[j][c] in canonical order: float32 sums,
	// in ascending order and never fused, over blocks of BlockColumns columns; the sums of the blocks added in float64 and
	// rounded to float32 once. vectors holds whole rows of kept.Columns values. See docs/ABI.md, Project.
	Project(dst []float32, kept Packed[float32], vectors []float32)
}

// Norm is the canonical Euclidean norm: the square root of the dot product of a with itself.
func Norm(k Kernel, a []float32) float64 { return math.Sqrt(k.Dot(a, a)) }

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
