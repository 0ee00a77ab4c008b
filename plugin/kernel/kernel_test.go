package kernel

import (
	"math"
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

// shifted returns n values at an offset of offset values in a larger slice, and the slice, whose rest is NaN to guard
// it.
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

// TestProjectFollowsTheLoop runs the kernel over all lengths, alignments and tile remainders against the canonical
// loop.
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

// words makes pairs of 16-bit numbers from -Unit to Unit.
func words(r *rand.Rand, n int) []int32 {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(r.IntN(2*Unit+1)-Unit)&0xffff | int32(r.IntN(2*Unit+1)-Unit)<<16
		if r.IntN(8) == 0 {
			v[i] = Unit | -Unit<<16
		}
	}
	return v
}

// TestScreenIsExact checks every sum, in 64 bits as long as it fits 32.
func TestScreenIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, kernel := range []Kernel{Plain} {
		for k := 1; k <= 130; k++ {
			const n = 37
			m := 1 + k%5
			rows, vectors := words(r, n*k), words(r, m*k)
			packed := Pack(rows, n, k)
			for first := 0; first < n; first += PanelRows {
				count := min(PanelRows*(1+k%3), PackedRows(n)-first)
				columns := 1 + (k*first+count)%k
				dst := make([]int32, m*count+1)
				dst[m*count] = 77
				kernel.Screen(dst[:m*count], packed, first, count, vectors, columns)
				for i := range m {
					for j := range count {
						want := int32(0)
						if first+j < n {
							want = sum16(0, vectors[i*k:i*k+columns], rows[(first+j)*k:(first+j)*k+columns])
						}
						if got := dst[i*count+j]; got != want {
							t.Fatalf("%s, k %d, vector %d, row %d: got %d, expected %d", kernel.Name(), k, i, first+j, got, want)
						}
					}
				}
				if dst[m*count] != 77 {
					t.Fatalf("%s, k %d: something was written past the sums", kernel.Name(), k)
				}
			}
		}
	}
}

// sum16 goes on from s; it wraps around, as the kernels do.
func sum16(s int32, a, b []int32) int32 {
	for c := range a {
		s += int32(int16(a[c]))*int32(int16(b[c])) + (a[c]>>16)*(b[c]>>16)
	}
	return s
}

func TestQuantize(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for k := 1; k <= 66; k++ {
		x := make([]float32, k)
		for i := range x {
			x[i] = float32(2*r.Float64() - 1)
		}
		x[0] = []float32{1, -1, 1.0000002, -1.0000002, 0.5 / Unit, -0.5 / Unit, 0}[k%7]
		dst := make([]int32, Words(k))
		Quantize(dst, x)
		for i, v := range x {
			got := float64(int16(dst[i/2] >> (16 * (i % 2))))
			if off := math.Abs(got - float64(v)*Unit); off > 0.51 || math.Abs(got) > Unit {
				t.Fatalf("%v becomes %v, off by %v", v, got, off)
			}
		}
		if k%2 == 1 && dst[k/2]>>16 != 0 {
			t.Fatal("the last pair is not filled up with 0")
		}
	}
}
