// Package kernel holds the inner loops: the canonical dot product, and the two matrix products that the
// projection and the screening pass spend their time in, behind one interface.
//
// In go: float32 rows. Out come float32 (or, for Dot, float64) sums. Packages pca and mine call it; they
// are handed a Kernel, so that a faster one replaces the plain Go one without touching them.
package kernel

// BlockColumns is how many columns the projection sums in float32 before it goes on in float64.
const BlockColumns = 256

// Kernel multiplies a kept matrix, packed once, with vectors that stream past it.
//
// The slices' lengths are the caller's to get right: vectors holds whole rows of kept.Columns values,
// and dst one value for each of those rows and each kept row asked for.
type Kernel interface {
	// Name says which kernel this is, for reports.
	Name() string

	// Pack lays out n rows of k values in the kernel's own way.
	Pack(rows []float32, n, k int) Packed

	// Screen writes dst[i*n+j] = sum over c of vectors[i][c] * kept[first+j][c], for j < n, in float32: in any
	// order and fused or not, so that its error is bounded by the sum of the products' magnitudes
	// times g = k*u/(1-k*u), where u = 2^-24. first is a multiple of PanelRows.
	Screen(dst []float32, kept Packed, first, n int, vectors []float32)

	// Project writes dst[i*kept.Rows+j] = sum over c of vectors[i][c] * kept[j][c] in canonical order: float32 sums, in
	// ascending order and never fused, over blocks of BlockColumns columns; the blocks' sums added in
	// float64, rounded to float32 once. See docs/ABI.md, Project.
	Project(dst []float32, kept Packed, vectors []float32)
}

// PanelRows divides the first kept row of every Screen call, for every kernel.
const PanelRows = 16

// Packed is a matrix in some kernel's layout. Only the kernel that packed it can read Data.
type Packed struct {
	Rows, Columns int
	Data          []float32
}

// PackedLen is an upper bound, over all kernels, of the values in Packed.Data for an n x k matrix.
func PackedLen(n, k int) int {
	return (n + PanelRows - 1) / PanelRows * PanelRows * k
}
