package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// fullest finds the largest n below most, to a twentieth, or to a fifth with -short, whose calls go through. More ends in abi.Memory, and in no
// other error.
func fullest(t *testing.T, what string, most int, try func(n int) error) {
	t.Helper()
	share := 20
	if testing.Short() {
		share = 5
	}
	fits := 0
	for over := most; over-fits > 1+fits/share; {
		n := fits + (over-fits+1)/2
		err := try(n)
		switch {
		case err == nil:
			fits = n
		case errors.Is(err, &abi.Error{Code: abi.Memory}):
			over = n
		default:
			t.Fatalf("%s of %d: %v; expected success or %v", what, n, err, abi.Memory)
		}
	}
	if fits == 0 || fits > most-most/10 {
		t.Fatalf("%s: %d of %d fit; that tells nothing about the limit", what, fits, most)
	}
}

// TestEachOperationFilled takes every operation as far as its budget lets it: past that is an error, and before it no guest runs
// out of memory.
func TestEachOperationFilled(t *testing.T) {
	const limit = 32 << 20
	e, err := Wasm(t.Context(), WasmOptions{Options: Options{MemoryLimit: limit}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	r := rand.New(rand.NewPCG(8, 8))
	floats := random(r, 4<<20)
	rows := func(name string, n, k int) safetensors.Tensor { return safetensors.OfFloat32(name, floats[:n*k], n, k) }
	zeros := make([]int64, 1<<20)
	index := func(name string, n int) safetensors.Tensor { return safetensors.OfInt64(name, zeros[:n], n) }
	projection := func(d, k int) []byte {
		variances := make([]float64, k)
		p := &pca.Projection{Models: []pca.Model{{Name: "a", Width: d, Weight: 1}}, PCA: fmt.Sprintf("components=%d", k), FitOn: "docs",
			Mean: make([]float32, d), Components: floats[:k*d], Variances: variances}
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	begin := func(i Instance, queries, positives, k, pairs, top int) error {
		_, err := call(t, i, abi.OpBegin, marshal(t, map[string]string{"rule": "topk", "top": fmt.Sprint(top)}, rows("queries", queries, k), rows("positives", positives, k),
			index("pair_query", pairs), index("pair_positive", pairs)))
		return err
	}
	push := func(i Instance, first, n, k int) error {
		_, err := call(t, i, abi.OpPush, marshal(t, map[string]string{"first": fmt.Sprint(first)}, rows("documents", n, k)))
		return err
	}
	// rest is what follows a begin.
	rest := func(i Instance, err error, blocks, k int) error {
		for b := 0; b < blocks && err == nil; b++ {
			err = push(i, 500*b, 500, k)
		}
		if err == nil {
			_, err = call(t, i, abi.OpFinish, nil)
		}
		return err
	}
	for what, row := range map[string]struct {
		most int
		try  func(i Instance, n int) error
	}{
		"queries":   {1 << 16, func(i Instance, n int) error { return rest(i, begin(i, n, 1, 64, 1, 5), 2, 64) }},
		"positives": {1 << 16, func(i Instance, n int) error { return rest(i, begin(i, 1, n, 64, 1, 5), 2, 64) }},
		"queries, group after group": {1 << 16, func(i Instance, n int) (err error) {
			for range 3 {
				if err = rest(i, begin(i, n, 1, 64, n, 5), 2, 64); err != nil {
					break
				}
			}
			return err
		}},
		"pairs":          {1 << 20, func(i Instance, n int) error { return rest(i, begin(i, 1, 1, 2, n, 1), 1, 2) }},
		"negatives":      {1 << 10, func(i Instance, n int) error { return rest(i, begin(i, 1, 1, 2, n, 4096), 9, 2) }},
		"some negatives": {1 << 14, func(i Instance, n int) error { return rest(i, begin(i, 1, 1, 2, n, 100), 2, 2) }},
		"documents": {1 << 20, func(i Instance, n int) error {
			return rest(i, errors.Join(begin(i, 1, 1, 4, 1, 5), push(i, 5000, n, 4)), 2, 4)
		}},
		"wide documents": {1 << 12, func(i Instance, n int) error {
			return rest(i, errors.Join(begin(i, 1, 1, 1000, 1, 5), push(i, 5000, n, 1000)), 1, 1000)
		}},
		"a projection": {1 << 12, func(i Instance, n int) error {
			_, err := call(t, i, abi.OpLoadProjection, projection(n, min(n, 999)))
			return err
		}},
		"transform": {1 << 15, func(i Instance, n int) error {
			must(t, i, abi.OpLoadProjection, projection(100, 50))
			_, err := call(t, i, abi.OpTransform, marshal(t, nil, rows("documents/a", n, 100)))
			return err
		}},
		"queries, after transform": {1 << 16, func(i Instance, n int) error {
			must(t, i, abi.OpLoadProjection, projection(16, 16))
			must(t, i, abi.OpTransform, marshal(t, nil, rows("documents/a", 40000, 16)))
			return rest(i, begin(i, n, 1, 16, 1, 5), 1, 16)
		}},
		"raw documents": {1 << 15, func(i Instance, n int) error {
			must(t, i, abi.OpLoadProjection, projection(100, 50))
			if err := begin(i, 1, 1, 50, 1, 5); err != nil {
				return err
			}
			_, err := call(t, i, abi.OpPush, marshal(t, nil, rows("documents/a", n, 100)))
			return err
		}},
		"parts": {1 << 16, func(i Instance, n int) error { return mergeParts(t, i, n) }},
	} {
		t.Run(what, func(t *testing.T) {
			if what == "negatives" && testing.Short() {
				t.Skip("a scan of seconds; some negatives has the same, of less")
			}
			fullest(t, what, row.most, func(n int) error {
				i, err := e.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer i.Close(context.Background())
				return row.try(i, n)
			})
		})
	}
}

// mergeParts merges three parts of n pairs with three negatives each.
func mergeParts(t *testing.T, i Instance, n int) error {
	var tensors []safetensors.Tensor
	for at := range int64(3) {
		p := &mine.Part{Options: mine.Options{Rule: mine.Rule{Name: "topk"}, Top: 9}, Ranges: []mine.Range{{First: 10 * at, End: 10*at + 9}},
			SQPD: make([]float64, n), Window: make([]bool, n), Found: make([][]mine.Negative, n)}
		for j := range n {
			p.Window[j] = true
			for c := range int64(3) {
				p.Found[j] = append(p.Found[j], mine.Negative{Position: 10*at + c, SQD: 1 - float64(c), SPDD: 0})
			}
		}
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, safetensors.Tensor{Name: fmt.Sprint(at), DType: safetensors.U8, Shape: []int{len(b)}, Data: b})
	}
	_, err := call(t, i, abi.OpMerge, marshal(t, nil, tensors...))
	return err
}

// TestHeadersFilled sends headers of the largest size, which take many times that once they are read, to instances of little
// memory: an error, of whichever kind, and the instance lives.
func TestHeadersFilled(t *testing.T) {
	size := abi.MaxHeader - 100
	fill := func(start, end string, item func(i int) string) []byte {
		b := append(make([]byte, 8, size+200), start...)
		for i := 0; len(b) < size; i++ {
			b = append(b, item(i)...)
		}
		b = append(b, end...)
		binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
		return b
	}
	messages := map[string][]byte{
		"shape":   fill(`{"x":{"dtype":"U8","data_offsets":[0,0],"shape":[0`, "]}}", func(int) string { return ",0" }),
		"options": fill(`{"__metadata__":{"":""`, "}}", func(i int) string { return `,"` + strconv.FormatInt(int64(i), 36) + `":""` }),
		"tensors": fill(`{"__metadata__":{"":""}`, "}", func(i int) string {
			return `,"` + strconv.FormatInt(int64(i), 36) + `":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`
		}),
	}
	limits := []int64{32 << 20, 256 << 20}
	if testing.Short() {
		limits = limits[:1]
	}
	for _, limit := range limits {
		e, err := Wasm(t.Context(), WasmOptions{Options: Options{MemoryLimit: limit}})
		if err != nil {
			t.Fatal(err)
		}
		for what, message := range messages {
			i := open(t, e)
			part := marshal(t, nil, safetensors.Tensor{Name: "x", DType: safetensors.U8, Shape: []int{len(message)}, Data: message})
			for _, row := range []struct {
				op      abi.Op
				message []byte
			}{{abi.OpTransform, message}, {abi.OpLoadProjection, message}, {abi.OpMerge, part}, {abi.OpSelect, message}} {
				_, err := call(t, i, row.op, row.message)
				if errors.Is(err, ErrLost) || err == nil || limit < 128<<20 && !errors.Is(err, &abi.Error{Code: abi.Memory}) {
					t.Fatalf("%d MiB, a header full of %s, %s: %v", limit>>20, what, row.op, err)
				}
			}
		}
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
