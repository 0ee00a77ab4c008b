package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// engines returns every engine: plain Go, which is the reference, Wasm, Wasm interpreted, and native on every other kernel.
func engines(t testing.TB) []Engine {
	t.Helper()
	natives := Natives(Options{})
	plain := len(natives) - 1
	all := []Engine{natives[plain]}
	for _, o := range []WasmOptions{{}, {Interpreter: true}} {
		e, err := Wasm(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	all = append(append(all, natives[:plain]...), &sandboxed{})
	t.Cleanup(func() {
		for _, e := range all {
			_ = e.Close(context.Background())
		}
	})
	return all
}

func open(t testing.TB, e Engine) Instance {
	t.Helper()
	i, err := e.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close(context.Background()) })
	return i
}

// call sends a message and returns a copy of the answer.
func call(t testing.TB, i Instance, op abi.Op, message []byte) ([]byte, error) {
	t.Helper()
	out, err := SendBytes(t.Context(), i, op, message)
	return bytes.Clone(out), err
}

func must(t testing.TB, i Instance, op abi.Op, message []byte) []byte {
	t.Helper()
	out, err := call(t, i, op, message)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	return out
}

func marshal(t testing.TB, options map[string]string, tensors ...safetensors.Tensor) []byte {
	t.Helper()
	b, err := safetensors.Marshal(tensors, options)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func random(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// sample is messages that are all right: a projection of two models (5 and 3 wide, to 4), and what goes with it.
type sample struct {
	projection                                    []byte
	transform, begin, push, selectOnce            []byte
	beginOptions                                  map[string]string
	queries, positives, documents, pairs, exclude []safetensors.Tensor
}

func newSample(t testing.TB, seed uint64, options map[string]string) *sample {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	p := &pca.Projection{Models: []pca.Model{{Name: "a", Width: 5, Weight: 1}, {Name: "b", Width: 3, Weight: 0.5}}, Normalize: true, Center: true, PCA: "components=4",
		FitOn: "docs", Rows: 9, Mean: random(r, 8), Components: random(r, 32), Variances: []float64{4, 3, 2, 1}, TotalVariance: 12, CapturedVariance: 10}
	s := &sample{beginOptions: options}
	var err error
	if s.projection, err = p.Marshal(); err != nil {
		t.Fatal(err)
	}
	raw := func(kind string, n int) []safetensors.Tensor {
		wide := random(r, 3*n)
		doubles := make([]float64, len(wide))
		for i, v := range wide {
			doubles[i] = float64(v)
		}
		return []safetensors.Tensor{safetensors.OfFloat32(kind+"/a", random(r, 5*n), n, 5), safetensors.OfFloat64(kind+"/b", doubles, n, 3)}
	}
	s.queries, s.positives, s.documents = raw("queries", 3), raw("positives", 2), raw("documents", 11)
	s.pairs = []safetensors.Tensor{safetensors.OfInt64("pair_query", []int64{0, 1, 2, 0}, 4), safetensors.OfInt64("pair_positive", []int64{0, 1, 1, 1}, 4)}
	s.exclude = []safetensors.Tensor{safetensors.OfInt64("exclude_offsets", []int64{0, 1, 1, 3}, 4), safetensors.OfInt64("exclude", []int64{4, 9, 2}, 3)}
	s.transform, s.push = marshal(t, nil, s.documents...), marshal(t, map[string]string{"first": "0"}, s.documents...)
	s.begin = marshal(t, options, slices.Concat(s.queries, s.positives, s.pairs, s.exclude)...)
	s.selectOnce = marshal(t, options, slices.Concat(s.queries, s.positives, s.pairs, s.exclude, s.documents)...)
	return s
}

// TestEnginesAgree runs one table over every engine and compares bits: transform, select, begin-push-finish in several blocks, merge.
func TestEnginesAgree(t *testing.T) {
	table := []map[string]string{
		{}, {"rule": "topk"}, {"rule": "margin", "margin": "0.2", "counts": "true"}, {"rule": "perc", "perc": "0.9", "top": "1"},
		{"rule": "capped", "top": "4096"}, {"rule": "window", "floor": "0.5 -0.1", "cap": "1 0.3", "eq6": "true", "counts": "true"},
		{"zero": "skip", "pairs_id": "été", "top": "2"},
	}
	all := engines(t)
	for row, options := range table {
		s := newSample(t, uint64(row), options)
		var want [][]byte
		for _, e := range all {
			i := open(t, e)
			got := [][]byte{must(t, i, abi.OpLoadProjection, s.projection), must(t, i, abi.OpTransform, s.transform), must(t, i, abi.OpSelect, s.selectOnce)}
			must(t, i, abi.OpBegin, s.begin)
			must(t, i, abi.OpPush, s.push)
			whole := must(t, i, abi.OpFinish, nil)
			if !bytes.Equal(whole, got[2]) {
				t.Errorf("row %d, %s: begin, push and finish give another part than select", row, e.Name())
			}
			// The projected documents, pushed one by one, backwards, give the same part; so do two parts of them, merged.
			f, err := safetensors.Parse(got[1], abi.MaxHeader)
			if err != nil {
				t.Fatal(err)
			}
			projected, _ := f.Tensor("documents")
			y := safetensors.Float32s(projected.Data)
			var parts []safetensors.Tensor
			for d := 10; d >= 0; d-- {
				must(t, i, abi.OpPush, marshal(t, map[string]string{"first": fmt.Sprint(d)}, safetensors.OfFloat32("documents", y[4*d:4*d+4], 1, 4)))
				if d == 5 || d == 0 {
					b := must(t, i, abi.OpFinish, nil)
					parts = append(parts, safetensors.Tensor{Name: fmt.Sprint(d), DType: safetensors.U8, Shape: []int{len(b)}, Data: b})
				}
			}
			if merged := must(t, i, abi.OpMerge, marshal(t, nil, parts...)); !bytes.Equal(merged, whole) {
				t.Errorf("row %d, %s: the merged parts differ from the whole", row, e.Name())
			}
			if want == nil {
				want = got
			}
			for c := range got {
				if !bytes.Equal(got[c], want[c]) {
					t.Errorf("row %d, answer %d: %s differs from %s", row, c, e.Name(), all[0].Name())
				}
			}
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	const limit = 48 << 20
	wasm, err := Wasm(t.Context(), WasmOptions{Options: Options{MemoryLimit: limit}})
	if err != nil {
		t.Fatal(err)
	}
	defer wasm.Close(context.Background())
	for _, e := range []Engine{Native(Options{MemoryLimit: limit}), wasm} {
		i := open(t, e)
		rows := 100_000
		push := marshal(t, nil, safetensors.OfFloat32("documents", random(rand.New(rand.NewPCG(1, 1)), rows*4), rows, 4))
		begin := marshal(t, nil, safetensors.OfFloat32("queries", random(rand.New(rand.NewPCG(1, 2)), rows*20), rows*5, 4),
			safetensors.OfFloat32("positives", []float32{1, 2, 3, 4}, 1, 4), safetensors.OfInt64("pair_query", []int64{0}, 1), safetensors.OfInt64("pair_positive", []int64{0}, 1))
		if _, err := call(t, i, abi.OpBegin, begin); !errors.Is(err, &abi.Error{Code: abi.Memory}) {
			t.Errorf("%s: begin past the limit: %v", e.Name(), err)
		}
		small := newSample(t, 1, map[string]string{})
		must(t, i, abi.OpLoadProjection, small.projection)
		must(t, i, abi.OpBegin, small.begin)
		must(t, i, abi.OpPush, push)
	}
}

// TestBudgetIsEnough fills an instance as far as its budget lets it, and works it: it must not run out of memory.
func TestBudgetIsEnough(t *testing.T) {
	const limit, k = 96 << 20, 64
	e, err := Wasm(t.Context(), WasmOptions{Options: Options{MemoryLimit: limit}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	i := open(t, e)
	r := rand.New(rand.NewPCG(8, 8))
	begin := func(queries int) error {
		_, err := call(t, i, abi.OpBegin, marshal(t, map[string]string{"rule": "topk"}, safetensors.OfFloat32("queries", random(r, queries*k), queries, k),
			safetensors.OfFloat32("positives", random(r, k), 1, k), safetensors.OfInt64("pair_query", make([]int64, 1), 1), safetensors.OfInt64("pair_positive", make([]int64, 1), 1)))
		return err
	}
	most := 1000
	for ; begin(most) == nil; most += most / 4 {
	}
	if err := begin(most); !errors.Is(err, &abi.Error{Code: abi.Memory}) {
		t.Fatalf("%d queries: %v", most, err)
	}
	if held := most * k * 4 * 2; held < limit/8 {
		t.Errorf("only %d MiB of %d could be held", held>>20, limit>>20)
	}
	for d := range 5 {
		must(t, i, abi.OpPush, marshal(t, map[string]string{"first": fmt.Sprint(d * 100)}, safetensors.OfFloat32("documents", random(r, 100*k), 100, k)))
	}
	must(t, i, abi.OpFinish, nil)
}

// TestTrapCostsOneInstance runs a guest out of memory, which its budget would have prevented had the limit not been taken off.
func TestTrapCostsOneInstance(t *testing.T) {
	e, err := Wasm(t.Context(), WasmOptions{Options: Options{MemoryLimit: 32 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	pool := NewPool(e, 2)
	defer pool.Close(context.Background())
	doomed, err := pool.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := open(t, e)
	must(t, doomed, abi.OpReset, marshal(t, map[string]string{"memory_limit": "4294967296"}))
	if _, err = doomed.Buffer(t.Context(), 64<<20); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "out of memory") {
		t.Fatalf("got %v, expected a lost instance that ran out of memory", err)
	}
	if _, err := call(t, doomed, abi.OpInfo, nil); !errors.Is(err, ErrLost) {
		t.Errorf("a call after that: %v", err)
	}
	closeInstance(t, doomed)
	must(t, other, abi.OpInfo, nil)
	next, err := pool.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if next.(*pooled).Instance == doomed.(*pooled).Instance {
		t.Fatal("the pool gave the lost instance again")
	}
	must(t, next, abi.OpInfo, nil)
	closeInstance(t, next)
}

func closeInstance(t *testing.T, i Instance) {
	t.Helper()
	if err := i.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestPoolForgets(t *testing.T) {
	s := newSample(t, 1, map[string]string{})
	for _, e := range engines(t)[:2] {
		pool := NewPool(e, 1)
		i, err := pool.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		must(t, i, abi.OpLoadProjection, s.projection)
		must(t, i, abi.OpBegin, s.begin)
		closeInstance(t, i)
		again, err := pool.Open(t.Context())
		if err != nil || again.(*pooled).Instance != i.(*pooled).Instance {
			t.Fatalf("the pool did not keep the instance: %v", err)
		}
		if _, err := call(t, again, abi.OpPush, s.push); !errors.Is(err, &abi.Error{Code: abi.NoPairs}) {
			t.Errorf("%s: it still had pairs: %v", e.Name(), err)
		}
		closeInstance(t, again)
		if err := pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestCancelledBetweenCalls(t *testing.T) {
	s := newSample(t, 1, map[string]string{})
	for _, e := range engines(t)[:2] {
		i := open(t, e)
		must(t, i, abi.OpLoadProjection, s.projection)
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := i.Buffer(ctx, 8); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := i.Call(ctx, abi.OpInfo, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", e.Name(), err)
		}
		must(t, i, abi.OpSelect, s.selectOnce) // the instance lives on
	}
}

// TestScalar runs the module without SIMD: it says which it is, and gives the bits that the other does.
func TestScalar(t *testing.T) {
	module, err := os.ReadFile("../../plugin/plugin-scalar.wasm")
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := Wasm(t.Context(), WasmOptions{Module: module})
	if err != nil {
		t.Fatal(err)
	}
	defer scalar.Close(context.Background())
	s := newSample(t, 3, map[string]string{"rule": "topk", "counts": "true"})
	var answers [2][]byte
	for n, e := range []Engine{scalar, engines(t)[1]} {
		i := open(t, e)
		kernels := []string{"wasm scalar", "wasm simd128"}
		if info := must(t, i, abi.OpInfo, nil); !bytes.Contains(info, []byte(`"kernels":["`+kernels[n]+`"]`)) {
			t.Errorf("expected kernels %s in %s", kernels[n], info)
		}
		must(t, i, abi.OpLoadProjection, s.projection)
		answers[n] = append(must(t, i, abi.OpTransform, s.transform), must(t, i, abi.OpSelect, s.selectOnce)...)
	}
	if !bytes.Equal(answers[0], answers[1]) {
		t.Error("the module without SIMD gives other bits")
	}
}

// TestNotTheModule loads modules that are not quarry's.
func TestNotTheModule(t *testing.T) {
	if _, err := Wasm(t.Context(), WasmOptions{Module: []byte("\x00asm")}); err == nil {
		t.Error("a module cut off was loaded")
	}
	e, err := Wasm(t.Context(), WasmOptions{Module: []byte("\x00asm\x01\x00\x00\x00")})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	if _, err := e.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "quarry_buffer") {
		t.Errorf("an empty module was started: %v", err)
	}
}

// TestManyAtOnce uses instances of one engine from several goroutines.
func TestManyAtOnce(t *testing.T) {
	s := newSample(t, 4, map[string]string{"rule": "topk"})
	e := engines(t)[1]
	pool := NewPool(e, 4)
	defer pool.Close(context.Background())
	answers := make([][]byte, 8)
	var group sync.WaitGroup
	for g := range answers {
		group.Go(func() {
			i, err := pool.Open(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer closeInstance(t, i)
			if _, err := call(t, i, abi.OpLoadProjection, s.projection); err != nil {
				t.Error(err)
			}
			if answers[g], err = call(t, i, abi.OpSelect, s.selectOnce); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for g, answer := range answers {
		if !bytes.Equal(answer, answers[0]) || len(answer) == 0 {
			t.Errorf("goroutine %d got another answer", g)
		}
	}
	if p, err := mine.ParsePart(answers[0]); err != nil || len(p.SQPD) != 4 {
		t.Errorf("the answer is not the part: %v", err)
	}
}
