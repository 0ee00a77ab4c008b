package kernel

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// dotLoop is Dot as docs/ABI.md has it.
func dotLoop(a, b []float32) float64 {
	var r [8]float64
	for i := range a {
		r[i%8] += float64(a[i]) * float64(b[i])
	}
	return ((r[0] + r[4]) + (r[2] + r[6])) + ((r[1] + r[5]) + (r[3] + r[7]))
}

// projectLoop is one output of Project as docs/ABI.md has it.
func projectLoop(x, p []float32) float32 {
	total := 0.0
	for block := 0; block < len(x); block += BlockColumns {
		s := float32(0)
		for i := block; i < min(block+BlockColumns, len(x)); i++ {
			product := float32(x[i] * p[i])
			s += product
		}
		total += float64(s)
	}
	return float32(total)
}

// fill makes values of many magnitudes; special ones among them where asked.
func fill(r *rand.Rand, v []float32, special bool) {
	odd := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0, float32(math.Copysign(0, -1)),
		math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 0x1p-127, math.MaxFloat32}
	for i := range v {
		v[i] = float32(r.NormFloat64() * math.Exp2(float64(r.IntN(20)-10)))
		if special && r.IntN(8) == 0 {
			v[i] = odd[r.IntN(len(odd))]
		}
	}
}

// shifted returns n values at an offset of offset values in a larger slice, and the slice, whose rest is NaN to guard it.
func shifted(n, offset int) (values, whole []float32) {
	whole = make([]float32, n+offset+8)
	for i := range whole {
		whole[i] = float32(math.NaN())
	}
	return whole[offset : offset+n : offset+n], whole
}

func sameBits(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}

func TestDotFollowsTheLoop(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 131 {
		for offset := range 4 {
			a, _ := shifted(n, offset)
			b, _ := shifted(n, 3-offset)
			for _, special := range []bool{false, true} {
				fill(r, a, special)
				fill(r, b, special)
				got, want := Dot(a, b), dotLoop(a, b)
				if math.Float64bits(got) != math.Float64bits(want) && (got == got || want == want) {
					t.Fatalf("n %d, offset %d: Dot gave %v, the loop %v", n, offset, got, want)
				}
			}
		}
	}
}

func TestNormIsCorrectlyRoundedForOneValue(t *testing.T) {
	for _, x := range []float32{0, 1, -3, math.SmallestNonzeroFloat32, math.MaxFloat32} {
		if got := Norm([]float32{x}); got != math.Abs(float64(x)) {
			t.Errorf("Norm of %v is %v", x, got)
		}
	}
}

// TestProjectFollowsTheLoop runs the kernel over all lengths, alignments and tile remainders against the canonical loop.
func TestProjectFollowsTheLoop(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	lengths := []int{255, 256, 257, 511, 512, 513, 700}
	for k := 1; k <= 130; k++ {
		lengths = append(lengths, k)
	}
	for _, kernel := range []Kernel{Plain} {
		for i, k := range lengths {
			n, m, offset := 1+i%9, 1+i%5, i%4
			for _, special := range []bool{false, true} {
				rows, _ := shifted(n*k, offset)
				vectors, _ := shifted(m*k, 3-offset)
				fill(r, rows, special)
				fill(r, vectors, special)
				dst, whole := shifted(m*n, offset)
				kernel.Project(dst, Pack(rows, n, k), vectors)
				for v := range m {
					for j := range n {
						if want := projectLoop(vectors[v*k:(v+1)*k], rows[j*k:(j+1)*k]); !sameBits(dst[v*n+j], want) {
							t.Fatalf("%s, k %d: vector %d, row %d: got %v, the loop gives %v", kernel.Name(), k, v, j, dst[v*n+j], want)
						}
					}
				}
				guarded(t, whole, offset, m*n)
			}
		}
	}
}

// guarded fails where something outside n values at offset was written.
func guarded(t *testing.T, whole []float32, offset, n int) {
	t.Helper()
	for i, v := range whole {
		if (i < offset || i >= offset+n) && v == v {
			t.Fatalf("a value was written at %d, outside %d values at %d", i, n, offset)
		}
	}
}

// TestScreenIsWithinItsBound checks every product against its exact value, computed in big.Float, and the promised error.
func TestScreenIsWithinItsBound(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, kernel := range []Kernel{Plain} {
		for k := 1; k <= 130; k++ {
			const n = 37
			m := 1 + k%5
			rows, vectors := make([]float32, n*k), make([]float32, m*k)
			fill(r, rows, false)
			fill(r, vectors, false)
			packed := Pack(rows, n, k)
			for first := 0; first < n; first += PanelRows {
				count := min(PanelRows*(1+k%3), PackedRows(n)-first)
				dst, whole := shifted(m*count, k%4)
				columns := 1 + (k*first+count)%k
				kernel.Screen(dst, packed, first, count, vectors, columns)
				guarded(t, whole, k%4, m*count)
				for i := range m {
					for j := range count {
						if first+j >= n {
							if got := dst[i*count+j]; got != 0 {
								t.Fatalf("%s, k %d: past the last row: %v", kernel.Name(), k, got)
							}
							continue
						}
						checkBound(t, fmt.Sprintf("%s, k %d, vector %d, row %d", kernel.Name(), k, i, first+j), dst[i*count+j],
							vectors[i*k:i*k+columns], rows[(first+j)*k:(first+j)*k+columns])
					}
				}
			}
		}
	}
}

func checkBound(t *testing.T, what string, got float32, a, b []float32) {
	t.Helper()
	exact, magnitude := new(big.Float).SetPrec(500), 0.0
	for i := range a {
		p := new(big.Float).SetPrec(500).SetFloat64(float64(a[i]) * float64(b[i])) // exact in float64
		exact.Add(exact, p)
		magnitude += math.Abs(float64(a[i]) * float64(b[i]))
	}
	want, _ := exact.Float64()
	ku := float64(len(a)) * 0x1p-24
	if bound := ku / (1 - ku) * magnitude; math.Abs(float64(got)-want) > bound {
		t.Fatalf("%s: got %v, exactly %v: off by more than %v", what, got, want, bound)
	}
}
