package session_test

import (
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/safetensors"
	"github.com/quarry-hn/quarry/plugin/session"
	"github.com/quarry-hn/quarry/plugin/session/sessiontest"
)

// TestSeveralErrors sends messages with several things wrong. The error is an answer too, so it names the same one each
// time.
func TestSeveralErrors(t *testing.T) {
	part := []byte(nil)
	s := session.New(kernel.Plain)
	for _, step := range sessiontest.Known {
		var err error
		if part, err = s.Call(step.Op, step.Message); err != nil {
			t.Fatal(err)
		}
	}
	f, err := safetensors.Parse(part, abi.MaxHeader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"eq6", "counts", "zero"} {
		f.Metadata[key] = "no"
	}
	f.Metadata["floor"], f.Metadata["cap"] = "x", "y"
	bounds := merge(t, f)
	delete(f.Metadata, "floor")
	delete(f.Metadata, "cap")
	options, err := safetensors.Marshal(nil, map[string]string{"a": "", "b": "", "c": ""})
	if err != nil {
		t.Fatal(err)
	}
	for what, step := range map[string]sessiontest.Step{
		"options": {Op: abi.OpReset, Message: options}, "a part's bounds": {Op: abi.OpMerge, Message: bounds}, "a part's options": {Op: abi.OpMerge, Message: merge(t, f)},
	} {
		said := map[string]bool{}
		for range 100 {
			_, err := s.Call(step.Op, step.Message)
			checkError(t, step, err)
			said[err.Error()] = true
		}
		if len(said) != 1 {
			t.Errorf("%s: %d different errors: %v", what, len(said), said)
		}
	}
}

// merge is a merge of one part.
func merge(t testing.TB, f *safetensors.File) []byte {
	t.Helper()
	part, err := safetensors.Marshal(f.Tensors, f.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	b, err := safetensors.Marshal([]safetensors.Tensor{{Name: "x", DType: safetensors.U8, Shape: []int{len(part)}, Data: part}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
