package message_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// loaded is a projection of models a (2 wide) and b (3), without PCA.
var loaded = &message.Loaded{
	Projection:  &pca.Projection{Models: []pca.Model{{Name: "a", Width: 2, Weight: 1}, {Name: "b", Width: 3, Weight: 1}}, PCA: "none"},
	Fingerprint: "f00d",
}

func raw(rows int) message.Vectors {
	halves := make([]byte, 2*3*rows)
	return message.Vectors{Rows: rows, Width: 5, Raw: []message.Raw{
		{Model: "a", Width: 2, Raw: pca.Raw{DType: safetensors.F32, Data: safetensors.OfFloat32("", make([]float32, 2*rows)).Data}},
		{Model: "b", Width: 3, Raw: pca.Raw{DType: safetensors.F16, Data: halves}},
	}}
}

func projected(rows int) message.Vectors {
	v := message.Vectors{Rows: rows, Width: 5, Projected: make([]float32, 5*rows)}
	for i := range v.Projected {
		v.Projected[i] = float32(i)
	}
	return v
}

func rule(t *testing.T, name string, parameters map[string]float64) mine.Rule {
	t.Helper()
	r, err := mine.NewRule(name, parameters)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// parse sends tensors and options through their file format.
func parse(t *testing.T, tensors []safetensors.Tensor, options map[string]string) *message.Reader {
	t.Helper()
	b, err := safetensors.Marshal(tensors, options)
	if err != nil {
		t.Fatal(err)
	}
	r, err := message.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestNamesAreThoseOfTheABI writes every message by hand, with the names of docs/ABI.md, and compares: constants alone
// would hide a change.
func TestNamesAreThoseOfTheABI(t *testing.T) {
	window := mine.Rule{Name: "window", Floor: &mine.Bound{A: 0.5, B: -0.25}, Cap: &mine.Bound{A: 1, B: 0}, Eq6: true}
	begin := message.Begin{Queries: projected(2), Positives: raw(1), Indices: mine.Indices{PairQuery: []int64{1}, PairPositive: []int64{0},
		ExcludeOffsets: []int64{0, 1, 1}, Exclude: []int64{7}, TogetherOffsets: []int64{0, 0, 1}, Together: []int64{0}},
		Options: mine.Options{Rule: window, Top: 3, Counts: true, SkipZero: true, Projection: "f00d", PairsID: "p"}}
	push := message.Push{First: 9, Documents: raw(4)}
	beginTensors := []string{"queries", "positives/a", "positives/b", "pair_query", "pair_positive", "exclude_offsets", "exclude", "together_offsets", "together"}
	beginOptions := map[string]string{"rule": "window", "floor": "0.5 -0.25", "cap": "1 0", "eq6": "true", "top": "3", "counts": "true", "zero": "skip",
		"projection": "f00d", "pairs_id": "p"}
	selectOptions := map[string]string{"first": "9"}
	for key, value := range beginOptions {
		selectOptions[key] = value
	}
	least := message.Begin{Queries: projected(1), Positives: projected(1), Indices: mine.Indices{PairQuery: []int64{0}, PairPositive: []int64{0}},
		Options: mine.Options{Rule: rule(t, "capped", map[string]float64{"perc": 0.9, "margin": 1}), Top: 5}}
	for what, row := range map[string]struct {
		message interface {
			Encode() ([]safetensors.Tensor, map[string]string)
		}
		tensors []string
		options map[string]string
	}{
		"begin":                 {&begin, beginTensors, beginOptions},
		"begin, what it needs":  {&least, []string{"queries", "positives", "pair_query", "pair_positive"}, map[string]string{"rule": "capped", "perc": "0.9", "top": "5", "counts": "false", "zero": "error"}},
		"push":                  {&push, []string{"documents/a", "documents/b"}, map[string]string{"first": "9"}},
		"select":                {&message.Select{Begin: begin, Push: push}, append(slices.Clone(beginTensors), "documents/a", "documents/b"), selectOptions},
		"transform":             {&message.Transform{Documents: raw(1)}, []string{"documents/a", "documents/b"}, map[string]string{"zero": "error"}},
		"transform, zeros skip": {&message.Transform{Documents: raw(1), SkipZero: true}, []string{"documents/a", "documents/b"}, map[string]string{"zero": "skip"}},
		"reset":                 {&message.Reset{MemoryLimit: 12}, nil, map[string]string{"memory_limit": "12"}},
	} {
		tensors, options := row.message.Encode()
		var names []string
		for _, tensor := range tensors {
			names = append(names, tensor.Name)
		}
		if !slices.Equal(names, row.tensors) || !reflect.DeepEqual(options, row.options) {
			t.Errorf("%s: tensors %v, options %v", what, names, options)
		}
	}
}

// TestWhatIsEncodedIsDecoded sends each message through its file format.
func TestWhatIsEncodedIsDecoded(t *testing.T) {
	indices := mine.Indices{PairQuery: []int64{1, 0}, PairPositive: []int64{0, 2}, ExcludeOffsets: []int64{0, 1, 1}, Exclude: []int64{7},
		TogetherOffsets: []int64{0, 0, 1}, Together: []int64{0}}
	for _, options := range []mine.Options{
		{Rule: rule(t, "dual", nil), Top: 5, Projection: "f00d"},
		{Rule: rule(t, "margin", map[string]float64{"margin": 0.1}), Top: 1, Counts: true, SkipZero: true, Projection: "f00d", PairsID: "x"},
		{Rule: mine.Rule{Name: mine.WindowRule, Cap: &mine.Bound{A: 0.1, B: 0.2}}, Top: 4096, Projection: "f00d"},
		{Rule: mine.Rule{Name: mine.WindowRule, Floor: &mine.Bound{A: 0.1, B: 0.2}, Eq6: true}, Top: 4096, Projection: "f00d"},
	} {
		for _, vectors := range []message.Vectors{raw(2), projected(2)} {
			begin := message.Begin{Queries: vectors, Positives: projected(3), Indices: indices, Options: options}
			tensors, encoded := begin.Encode()
			if got, err := message.DecodeBegin(parse(t, tensors, encoded), loaded); err != nil || !reflect.DeepEqual(*got, begin) {
				t.Errorf("begin: %+v, %v; expected %+v", got, err, begin)
			}
			sel := message.Select{Begin: begin, Push: message.Push{First: 77, Documents: vectors}}
			tensors, encoded = sel.Encode()
			if got, err := message.DecodeSelect(parse(t, tensors, encoded), loaded); err != nil || !reflect.DeepEqual(*got, sel) {
				t.Errorf("select: %+v, %v; expected %+v", got, err, sel)
			}
			tensors, encoded = sel.Push.Encode()
			if got, err := message.DecodePush(parse(t, tensors, encoded), loaded); err != nil || !reflect.DeepEqual(*got, sel.Push) {
				t.Errorf("push: %+v, %v; expected %+v", got, err, sel.Push)
			}
		}
	}
	for _, skip := range []bool{false, true} {
		transform := message.Transform{Documents: raw(2), SkipZero: skip}
		tensors, encoded := transform.Encode()
		if got, err := message.DecodeTransform(parse(t, tensors, encoded), loaded); err != nil || !reflect.DeepEqual(*got, transform) {
			t.Errorf("transform: %+v, %v; expected %+v", got, err, transform)
		}
	}
	tensors, encoded := (&message.Reset{MemoryLimit: 1 << 20}).Encode()
	if got, err := message.DecodeReset(parse(t, tensors, encoded), 7); err != nil || got.MemoryLimit != 1<<20 {
		t.Errorf("reset: %+v, %v", got, err)
	}
	if got, err := message.DecodeReset(parse(t, nil, nil), 7); err != nil || got.MemoryLimit != 7 {
		t.Errorf("reset without a limit: %+v, %v", got, err)
	}
}

// TestLayoutNeedsNoValues lays a message out without the values of its vectors, as a host does that reads them into a
// plugin's memory.
func TestLayoutNeedsNoValues(t *testing.T) {
	whole := message.Push{First: 3, Documents: raw(4)}
	bare := message.Push{First: 3, Documents: raw(4)}
	for i := range bare.Documents.Raw {
		bare.Documents.Raw[i].Data = nil
	}
	if bytes := bare.Documents.RowBytes(); bytes != 2*4+3*2 {
		t.Errorf("a row takes %d bytes", bytes)
	}
	queries := projected(3)
	queries.Projected = nil
	if bytes := queries.RowBytes(); bytes != 20 {
		t.Errorf("a projected row takes %d bytes", bytes)
	}
	var laid [2]*safetensors.Layout
	for i, m := range []message.Push{whole, bare} {
		tensors, options := m.Encode()
		var err error
		if laid[i], err = safetensors.Lay(tensors, options); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(laid[0], laid[1]) {
		t.Error("the layout depends on the values")
	}
	filled, err := safetensors.Lay(queries.Tensors(abi.TensorQueries), nil)
	if err != nil || filled.Size != len(filled.Header)+60 {
		t.Errorf("3 projected rows of 5 values: %+v, %v", filled, err)
	}
}

func TestTransformed(t *testing.T) {
	layout, begin, err := message.LayTransformed(2, 5)
	if err != nil {
		t.Fatal(err)
	}
	want := projected(2)
	answer := make([]byte, layout.Size)
	copy(answer, layout.Header)
	copy(answer[begin:], safetensors.OfFloat32("", want.Projected).Data)
	if got, err := message.DecodeTransformed(answer); err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range answer {
		if _, err := message.DecodeTransformed(answer[:n]); !errors.Is(err, &abi.Error{Code: abi.BadMessage}) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}
