package fit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/host/matrix"
)

// randomSymmetric is the upper triangle of a random symmetric matrix, with NaN below it, which nothing may read.
func randomSymmetric(n, stride int) []float64 {
	r := rand.New(rand.NewPCG(uint64(n), 9))
	a := make([]float64, n*stride)
	for i := range a {
		a[i] = math.NaN()
	}
	for i := range n {
		for j := i; j < n; j++ {
			a[i*stride+j] = r.NormFloat64()
		}
	}
	return a
}

// TestTridiagonal multiplies Q T Q^T, with Q from its reflections one by one, and compares it with the matrix: as well as
// rounding allows. Q as updates of the unit matrix is the same, but for float32.
func TestTridiagonal(t *testing.T) {
	for _, n := range []int{1, 2, 3, 31, 32, 33, 34, 65, 130} {
		stride := n + 3
		a := randomSymmetric(n, stride)
		tri, err := tridiagonalize(t.Context(), 2, n, slices.Clone(a), stride)
		if err != nil {
			t.Fatal(err)
		}
		q := make([][]float64, n) // columns of Q
		for c := range q {
			q[c] = make([]float64, n)
			q[c][c] = 1
			for j := n - 2; j >= 0; j-- {
				v := tri.row(j, j+1)
				axpy(-tri.tau[j]*dot(v, q[c][j+1:]), v, q[c][j+1:])
			}
		}
		for i := range n {
			for j := i; j < n; j++ {
				sum := 0.0
				for c := range n {
					tq := tri.diagonal[c] * q[c][j]
					if c > 0 {
						tq += tri.beside[c-1] * q[c-1][j]
					}
					if c < n-1 {
						tq += tri.beside[c] * q[c+1][j]
					}
					sum += q[c][i] * tq
				}
				if math.Abs(sum-a[i*stride+j]) > 1e-14*float64(n+10) {
					t.Fatalf("n = %d: Q T Q^T is %v at (%d, %d); the matrix is %v", n, sum, i, j, a[i*stride+j])
				}
			}
		}
		machine, err := matrix.Plain(t.Context(), eigenBytes(n, Options{})+matrix.PanelBytes(n, n)+64, 1)
		if err != nil {
			t.Fatal(err)
		}
		unit := machine.Panels(n, n)
		for i := range n {
			unit.Data[unit.Index(i, i)] = 1
		}
		updates, err := tri.updates(t.Context(), newEigenRoom(machine, n, Options{}))
		if err != nil {
			t.Fatal(err)
		}
		if err := machine.Update(t.Context(), unit, updates); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			for j := range n {
				if got, want := float64(unit.Data[unit.Index(i, j)]), q[j][i]; math.Abs(got-want) > 1e-6 {
					t.Fatalf("n = %d: Q is %v at (%d, %d); its reflections give %v", n, got, i, j, want)
				}
			}
		}
	}
}

// TestEigenDoesNotDependOnThreads compares the bits of values and vectors of a matrix that is cut into several chunks.
func TestEigenDoesNotDependOnThreads(t *testing.T) {
	const n, m = 420, 150
	if n*n/2/chunkElements < 2 {
		t.Fatal("one chunk")
	}
	want := ""
	for _, threads := range []int{1, 2, 7} {
		o := Options{Threads: threads}
		machine, err := matrix.Plain(t.Context(), eigenBytes(n, o)+matrix.PanelBytes(n, m)+64, threads)
		if err != nil {
			t.Fatal(err)
		}
		s, err := newEigenRoom(machine, n, o).newEigen(t.Context(), n, randomSymmetric(n, n), n)
		if err != nil {
			t.Fatal(err)
		}
		v := machine.Panels(n, m)
		if err := s.vectors(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x %x", s.values, v.Data); want == "" {
			want = got
		} else if got != want {
			t.Errorf("other bits with %d threads", threads)
		}
	}
}

// TestChunks checks that chunks of a triangle cover it, and have about as many elements each.
func TestChunks(t *testing.T) {
	for _, m := range []int{1, 5, 300, 1000, 2048} {
		for chunks := 1; chunks <= min(m, mostChunks); chunks++ {
			if chunkStart(m, 0, chunks) != 0 || chunkStart(m, chunks, chunks) != m {
				t.Errorf("%d rows in %d chunks: they go from %d to %d", m, chunks, chunkStart(m, 0, chunks), chunkStart(m, chunks, chunks))
			}
			for c := range chunks {
				from, end := chunkStart(m, c, chunks), chunkStart(m, c+1, chunks)
				elements, mean := (m-from)*(m-from+1)/2-(m-end)*(m-end+1)/2, m*(m+1)/2/chunks
				if from > end || math.Abs(float64(elements-mean)) > float64(2*m) {
					t.Errorf("%d rows: chunk %d of %d has %d elements of %d", m, c, chunks, elements, mean)
				}
			}
		}
	}
}
