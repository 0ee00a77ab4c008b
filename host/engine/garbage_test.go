package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

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
		"a select of no documents":    with(nil, s.queries, s.positives, s.pairs, []safetensors.Tensor{safetensors.OfFloat32("documents", nil, 0, 4)}),
		"queries of no rows":          with(nil, []safetensors.Tensor{safetensors.OfFloat32("queries", nil, 0, 4)}, s.positives, s.pairs, s.documents),
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
// error, and the instance works afterwards. With -short the interpreter gets every seventh message.
func TestGarbage(t *testing.T) {
	s := newSample(t, 1, map[string]string{})
	all := engines(t)
	messages := garbage(t, s)
	names := slices.Sorted(maps.Keys(messages))
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
				for n, what := range names {
					if testing.Short() && engine.Name() == InterpreterName && n%7 != 0 {
						continue
					}
					message := messages[what]
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
			// A push of no documents goes through, and changes nothing either.
			if _, err := call(t, i, abi.OpPush, message); err == nil && what != "documents of no rows" {
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
