package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// engines returns every engine, the reference first.
func engines(t testing.TB) []Engine {
	t.Helper()
	all := []Engine{Native(Options{})}
	for _, o := range []WasmOptions{{}, {Interpreter: true}} {
		e, err := Wasm(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close(context.Background()) })
		all = append(all, e)
	}
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

// garbage is messages that every operation must refuse, or that are right for another operation.
func garbage(t testing.TB, s *sample) map[string][]byte {
	r := rand.New(rand.NewPCG(3, 3))
	noise := make([]byte, 300)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	with := func(options map[string]string, tensors ...[]safetensors.Tensor) []byte {
		return marshal(t, options, slices.Concat(tensors...)...)
	}
	nan := slices.Clone(s.documents)
	nan[0] = safetensors.OfFloat32("documents/a", append(random(r, 54), float32(math.NaN())), 11, 5)
	zero := slices.Clone(s.documents)
	zero[0] = safetensors.OfFloat32("documents/a", make([]float32, 55), 11, 5)
	index := func(name string, v ...int64) []safetensors.Tensor {
		return []safetensors.Tensor{safetensors.OfInt64(name, v, len(v))}
	}
	m := map[string][]byte{
		"nothing": nil, "one byte": {1}, "noise": noise, "zeros": make([]byte, 64),
		"a projection": s.projection, "a begin": s.begin, "a push": s.push, "a select": s.selectOnce,
		"an empty file":               with(nil),
		"an unknown option":           with(map[string]string{"tpo": "5"}, s.queries, s.positives, s.pairs, s.documents),
		"an unknown tensor":           with(nil, s.queries, s.positives, s.pairs, s.documents, index("more", 1)),
		"top 0":                       with(map[string]string{"top": "0"}, s.queries, s.positives, s.pairs, s.documents),
		"top past the limit":          with(map[string]string{"top": "4097"}, s.queries, s.positives, s.pairs, s.documents),
		"a rule that is not":          with(map[string]string{"rule": "best"}, s.queries, s.positives, s.pairs, s.documents),
		"a bound that is not":         with(map[string]string{"rule": "window", "floor": "1"}, s.queries, s.positives, s.pairs, s.documents),
		"another projection":          with(map[string]string{"projection": "abc"}, s.queries, s.positives, s.pairs, s.documents),
		"a first that is negative":    with(map[string]string{"first": "-1"}, s.queries, s.positives, s.pairs, s.documents),
		"a first past the limit":      with(map[string]string{"first": "9007199254740991"}, s.documents),
		"NaN":                         with(nil, nan),
		"NaN in a select":             with(nil, s.queries, s.positives, s.pairs, nan),
		"a zero vector":               with(nil, zero),
		"a model missing":             with(nil, s.queries[:1], s.positives, s.pairs, s.documents[:1]),
		"no pairs":                    with(nil, s.queries, s.positives, index("pair_query"), index("pair_positive"), s.documents),
		"pairs of two lengths":        with(nil, s.queries, s.positives, index("pair_query", 1, 2), index("pair_positive", 1), s.documents),
		"a query out of range":        with(nil, s.queries, s.positives, index("pair_query", 3), index("pair_positive", 0), s.documents),
		"a positive below 0":          with(nil, s.queries, s.positives, index("pair_query", 0), index("pair_positive", -1), s.documents),
		"offsets that descend":        with(nil, s.queries, s.positives, s.pairs, index("exclude_offsets", 0, 2, 1, 3), index("exclude", 1, 2, 3), s.documents),
		"offsets without values":      with(nil, s.queries, s.positives, s.pairs, index("together_offsets", 0, 1, 1, 1), s.documents),
		"values without offsets":      with(nil, s.queries, s.positives, s.pairs, index("exclude", 1), s.documents),
		"a position past 2^53":        with(nil, s.queries, s.positives, s.pairs, index("exclude_offsets", 0, 1, 1, 1), index("exclude", 1<<53), s.documents),
		"queries of a wrong type":     with(nil, []safetensors.Tensor{safetensors.OfInt64("queries", []int64{1, 2, 3, 4}, 1, 4)}, s.positives, s.pairs, s.documents),
		"queries of a wrong width":    with(nil, []safetensors.Tensor{safetensors.OfFloat32("queries", random(r, 9), 3, 3)}, s.positives, s.pairs, s.documents),
		"documents of no rows":        with(nil, []safetensors.Tensor{safetensors.OfFloat32("documents", nil, 0, 4)}),
		"a memory limit that is none": with(map[string]string{"memory_limit": "no"}),
		"parts that are none":         with(nil, []safetensors.Tensor{{Name: "x", DType: safetensors.U8, Shape: []int{3}, Data: []byte("abc")}}),
		"parts of a wrong type":       with(nil, index("x", 1)),
	}
	for n := 1; n < len(s.selectOnce); n += 41 {
		m[fmt.Sprintf("a select cut at %d", n)] = s.selectOnce[:n]
	}
	return m
}

var kernelNames = regexp.MustCompile(`kernels[^]]*]`)

// TestGarbage feeds every operation garbage, before and after there is a projection and pairs, on every engine: all give the same answer or
// error, and the instance works afterwards.
func TestGarbage(t *testing.T) {
	s := newSample(t, 1, map[string]string{})
	all := engines(t)
	for _, ready := range []bool{false, true} {
		want := map[string]string{}
		for e, engine := range all {
			i := open(t, engine)
			prepare := func() {
				must(t, i, abi.OpReset, nil)
				if ready {
					must(t, i, abi.OpLoadProjection, s.projection)
					must(t, i, abi.OpBegin, s.begin)
				}
			}
			prepare()
			for op := abi.Op(-1); int(op) <= len(abi.Operations()); op++ {
				for what, message := range garbage(t, s) {
					key := fmt.Sprintf("%s, %s, ready %v", op, what, ready)
					out, err := call(t, i, op, message)
					if errors.Is(err, ErrLost) || errors.Is(err, &abi.Error{Code: abi.Internal}) {
						t.Fatalf("%s: %s: %v", engine.Name(), key, err)
					}
					answer := fmt.Sprintf("%q", out)
					if op == abi.OpInfo { // names the kernels, which differ by design
						answer = kernelNames.ReplaceAllString(answer, "kernels")
					}
					if err != nil {
						answer = fmt.Sprintf("%#v", abi.AsError(err))
					}
					if e == 0 {
						want[key] = answer
					} else if want[key] != answer {
						t.Errorf("%s: %s:\n%s, expected\n%s", engine.Name(), key, answer, want[key])
					}
					prepare()
				}
			}
			must(t, i, abi.OpLoadProjection, s.projection)
			must(t, i, abi.OpSelect, s.selectOnce)
		}
		if len(want) < 400 {
			t.Errorf("only %d cells were run", len(want))
		}
	}
}

// TestErrorsSayWhere checks code and place of errors that a host acts on.
func TestErrorsSayWhere(t *testing.T) {
	s := newSample(t, 1, map[string]string{})
	messages := garbage(t, s)
	for _, e := range engines(t) {
		i := open(t, e)
		if _, err := call(t, i, abi.OpPush, s.push); !errors.Is(err, &abi.Error{Code: abi.NoPairs}) {
			t.Errorf("%s: push before begin: %v", e.Name(), err)
		}
		if _, err := call(t, i, abi.OpTransform, s.transform); !errors.Is(err, &abi.Error{Code: abi.NoProjection}) {
			t.Errorf("%s: transform before load_projection: %v", e.Name(), err)
		}
		must(t, i, abi.OpLoadProjection, s.projection)
		must(t, i, abi.OpBegin, s.begin)
		must(t, i, abi.OpPush, s.push)
		if _, err := call(t, i, abi.OpPush, s.push); !errors.Is(err, &abi.Error{Code: abi.Overlap}) {
			t.Errorf("%s: pushed twice: %v", e.Name(), err)
		}
		for _, row := range []struct {
			op     abi.Op
			what   string
			code   abi.Code
			tensor string
			row    int
		}{
			{abi.OpTransform, "NaN", abi.NonFinite, "documents/a", 10},
			{abi.OpTransform, "a zero vector", abi.ZeroVector, "documents/a", 0},
			{abi.OpSelect, "a query out of range", abi.BadMessage, "pair_query", 0},
			{abi.OpSelect, "an unknown option", abi.BadOption, "", -1},
			{abi.OpSelect, "an unknown tensor", abi.BadMessage, "more", -1},
			{abi.OpBegin, "another projection", abi.Mismatch, "", -1},
			{abi.OpSelect, "queries of a wrong width", abi.Mismatch, "queries", -1},
		} {
			_, err := call(t, i, row.op, messages[row.what])
			if e := abi.AsError(err); err == nil || e.Code != row.code || e.Tensor != row.tensor || e.Row != row.row || e.Message == "" {
				t.Errorf("%s of %s: got %#v, expected %v at %q, row %d", row.op, row.what, err, row.code, row.tensor, row.row)
			}
		}
	}
}

// TestFailedCallsChangeNothing finishes after a push that failed, and gets the part of the pushes that did not.
func TestFailedCallsChangeNothing(t *testing.T) {
	s := newSample(t, 2, map[string]string{})
	for _, e := range engines(t)[:2] {
		i := open(t, e)
		must(t, i, abi.OpLoadProjection, s.projection)
		want := must(t, i, abi.OpSelect, s.selectOnce)
		must(t, i, abi.OpBegin, s.begin)
		for what, message := range garbage(t, s) {
			if what == "a push" {
				continue // that one is right
			}
			if _, err := call(t, i, abi.OpPush, message); err == nil {
				t.Fatalf("%s: a push of %s went through", e.Name(), what)
			}
			if _, err := call(t, i, abi.OpLoadProjection, []byte("no")); err == nil {
				t.Fatal("a projection that is none was loaded")
			}
			if _, err := call(t, i, abi.OpBegin, messagesThatFail(t, s)); err == nil {
				t.Fatal("a begin that is none went through")
			}
		}
		must(t, i, abi.OpPush, s.push)
		must(t, i, abi.OpSelect, s.selectOnce) // leaves what begin set
		if got := must(t, i, abi.OpFinish, nil); !bytes.Equal(got, want) {
			t.Errorf("%s: failed calls left something behind", e.Name())
		}
	}
}

func messagesThatFail(t testing.TB, s *sample) []byte {
	return marshal(t, map[string]string{"top": "0"}, slices.Concat(s.queries, s.positives, s.pairs)...)
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
	doomed, err := pool.Get(t.Context())
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
	pool.Put(t.Context(), doomed)
	must(t, other, abi.OpInfo, nil)
	next, err := pool.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if next == doomed {
		t.Fatal("the pool gave the lost instance again")
	}
	must(t, next, abi.OpInfo, nil)
	pool.Put(t.Context(), next)
}

func TestPoolForgets(t *testing.T) {
	s := newSample(t, 1, map[string]string{})
	for _, e := range engines(t)[:2] {
		pool := NewPool(e, 1)
		i, err := pool.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		must(t, i, abi.OpLoadProjection, s.projection)
		must(t, i, abi.OpBegin, s.begin)
		pool.Put(t.Context(), i)
		again, err := pool.Get(t.Context())
		if err != nil || again != i {
			t.Fatalf("the pool did not keep the instance: %v", err)
		}
		if _, err := call(t, again, abi.OpPush, s.push); !errors.Is(err, &abi.Error{Code: abi.NoPairs}) {
			t.Errorf("%s: it still had pairs: %v", e.Name(), err)
		}
		pool.Put(t.Context(), again)
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

func TestCompilationCache(t *testing.T) {
	count := func(dir string) (n int) {
		_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return nil
		})
		return n
	}
	run := func(dir string) {
		t.Helper()
		e, err := Wasm(t.Context(), WasmOptions{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close(context.Background())
		must(t, open(t, e), abi.OpInfo, nil)
	}
	dir := t.TempDir()
	run(dir)
	if count(dir) == 0 {
		t.Error("nothing was kept")
	}
	run(dir)
	// A cache that cannot be written, a file in place of its folder, is done without.
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run(filepath.Join(blocked, "cache"))
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
			i, err := pool.Get(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer pool.Put(t.Context(), i)
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
