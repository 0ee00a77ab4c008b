package mining

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/dataset/npy"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// deaf is an instance that takes messages and does nothing with them.
type deaf struct {
	engine.Instance
	buffer []byte
}

func (d *deaf) Buffer(_ context.Context, n int) ([]byte, error) {
	if d.Instance != nil {
		return d.Instance.Buffer(context.Background(), n)
	}
	if n > len(d.buffer) {
		d.buffer = make([]byte, n)
	}
	return d.buffer[:n], nil
}

func (d *deaf) Call(context.Context, abi.Op, int) ([]byte, error) { return nil, nil }

// feeding is what pushes rows of two models' files to an instance.
func feeding(t testing.TB, to engine.Instance, rows, width int) (*instances, []dataset.Matrix) {
	t.Helper()
	folder := t.TempDir()
	s := &instances{projection: &projection.Projection{Projection: &pca.Projection{PCA: "none"}}, all: []engine.Client{{Instance: to}}}
	var xs []dataset.Matrix
	for _, model := range []string{"a", "b"} {
		file := append(npy.Header(rows, width), make([]byte, 4*rows*width)...)
		if err := os.WriteFile(filepath.Join(folder, model+".npy"), file, 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := npy.Open(os.DirFS(folder), model+".npy", model, dataset.Watch{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = x.Close() })
		xs = append(xs, x)
		s.projection.Models = append(s.projection.Models, pca.Model{Name: model, Width: width, Weight: 1})
	}
	return s, xs
}

// blockAllocations is how many allocations a block of documents may take in the host: those of its message's header, of
// two models. They do not grow with the rows.
const blockAllocations = 24

func TestAllocationsOfABlock(t *testing.T) {
	s, xs := feeding(t, &deaf{}, 256, 8)
	for _, n := range []int{64, 256} {
		allocations := testing.AllocsPerRun(20, func() {
			if err := s.push(t.Context(), 0, xs, 0, n, 0); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%v allocations for %d rows", allocations, n)
		if allocations > blockAllocations {
			t.Errorf("%v allocations for a block of %d rows; at most %d were expected", allocations, n, blockAllocations)
		}
	}
}

// BenchmarkFeed reads vectors into the memory of an instance, as mining does, without mining them. The files are in the
// system's cache.
func BenchmarkFeed(b *testing.B) {
	e, err := engine.Wasm(b.Context(), engine.WasmOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close(context.Background())
	i, err := e.Open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer i.Close(context.Background())
	const rows, width, block = 1 << 14, 768, 256
	s, xs := feeding(b, &deaf{Instance: i}, rows, width)
	b.SetBytes(2 * rows * width * 4)
	for b.Loop() {
		for first := 0; first < rows; first += block {
			if err := s.push(b.Context(), 0, xs, first, block, int64(first)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkStart is all that comes before the first block, and that block: the engine from the compilation cache, texts
// and judgements of the demo, a plan, a group of pairs.
func BenchmarkStart(b *testing.B) {
	p, err := demoProjection()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		e, err := engine.Wasm(b.Context(), engine.WasmOptions{})
		if err != nil {
			b.Fatal(err)
		}
		data, err := demo.Open()
		if err != nil {
			b.Fatal(err)
		}
		plan, err := NewPlan(b.Context(), data, p, Options{Compute: Compute{Engine: e}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := plan.MinePiece(b.Context(), Piece{0, 0, 64}); err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(plan.Close(b.Context()), data.Close(), e.Close(b.Context())); err != nil {
			b.Fatal(err)
		}
	}
}
