package session_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
	"github.com/quarry-hn/quarry/plugin/session"
	"github.com/quarry-hn/quarry/plugin/session/sessiontest"
)

// pairs are the tensors of a query, its positive and their pair, projected.
func pairs() map[string]safetensors.Tensor {
	one := []float32{1, 2, 3, 4}
	return map[string]safetensors.Tensor{
		abi.TensorQueries: safetensors.OfFloat32(abi.TensorQueries, one, 1, 4), abi.TensorPositives: safetensors.OfFloat32(abi.TensorPositives, one, 1, 4),
		abi.TensorPairQuery: safetensors.OfInt64(abi.TensorPairQuery, []int64{0}, 1), abi.TensorPairPositive: safetensors.OfInt64(abi.TensorPairPositive, []int64{0}, 1),
	}
}

// with gives the tensors with others in place of those of the same name, or beside them.
func with(tensors map[string]safetensors.Tensor, others ...safetensors.Tensor) (list []safetensors.Tensor) {
	for _, t := range others {
		tensors[t.Name] = t
	}
	for _, t := range tensors {
		list = append(list, t)
	}
	return list
}

func marshal(t *testing.T, tensors []safetensors.Tensor, options map[string]string) []byte {
	t.Helper()
	b, err := safetensors.Marshal(tensors, options)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// documents are the tensors of that many documents, raw or projected, all of whose values are 1.
func documents(rows int, raw bool) []safetensors.Tensor {
	of := func(name string, width int) safetensors.Tensor {
		return safetensors.OfFloat32(name, slices.Repeat([]float32{1}, rows*width), rows, width)
	}
	if !raw {
		return []safetensors.Tensor{of(abi.TensorDocuments, 4)}
	}
	return []safetensors.Tensor{of(abi.RawTensor(abi.TensorDocuments, "a"), 5), of(abi.RawTensor(abi.TensorDocuments, "b"), 3)}
}

// loaded is a session with the projection and the pairs of the known sequence.
func loaded(t *testing.T) *session.Session {
	t.Helper()
	s := session.New(kernel.Plain)
	for _, step := range sessiontest.Known[1:3] {
		if _, err := s.Call(step.Op, step.Message); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestNoDocuments sends no documents to each operation that takes some: a search may have no hits. Without queries, positives or
// pairs there is nothing to mine for.
func TestNoDocuments(t *testing.T) {
	s := loaded(t)
	for _, raw := range []bool{false, true} {
		push := marshal(t, documents(0, raw), map[string]string{abi.OptionFirst: "7"})
		if out, err := s.Call(abi.OpPush, push); err != nil || string(out) != `{"rows":0,"skipped":0}` {
			t.Errorf("push, raw %v: %s, %v", raw, out, err)
		}
		for op, message := range map[abi.Op][]byte{abi.OpFinish: nil, abi.OpSelect: marshal(t, with(pairs(), documents(0, raw)...), nil)} {
			out, err := s.Call(op, message)
			if err != nil {
				t.Errorf("%v, raw %v: %v", op, raw, err)
				continue
			}
			checkPart(t, sessiontest.Step{Op: op}, out)
			p, err := mine.ParsePart(out)
			if err != nil || p.Documents() != 0 || p.Window[0] || len(p.Found[0]) != 0 {
				t.Errorf("%v, raw %v: %+v, %v", op, raw, p, err)
			}
		}
	}
	out, err := s.Call(abi.OpTransform, marshal(t, documents(0, true), nil))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := message.DecodeTransformed(out); err != nil || v.Rows != 0 || v.Width != 4 {
		t.Errorf("transform: %+v, %v", v, err)
	}
	none := []safetensors.Tensor{safetensors.OfFloat32(abi.TensorQueries, nil, 0, 4), safetensors.OfFloat32(abi.TensorPositives, nil, 0, 4), safetensors.OfInt64(abi.TensorPairQuery, nil, 0)}
	for _, tensor := range none {
		var e *abi.Error
		if _, err := s.Call(abi.OpBegin, marshal(t, with(pairs(), tensor), nil)); !errors.As(err, &e) || e.Code != abi.BadMessage || e.Tensor != tensor.Name {
			t.Errorf("no rows of %s: %v", tensor.Name, err)
		}
	}
}

// TestLimits goes over each limit by the least, which is abi.Limit, and out of the range of an option at its other end, which is
// not.
func TestLimits(t *testing.T) {
	s := loaded(t)
	keys := map[string]string{}
	for i := range safetensors.MaxMetadata + 1 {
		keys[strconv.Itoa(i)] = ""
	}
	header := marshal(t, nil, map[string]string{"x": strings.Repeat("x", abi.MaxHeader)})
	position := func(first string, rows int) []byte {
		return marshal(t, documents(rows, false), map[string]string{abi.OptionFirst: first})
	}
	begin := func(tensors []safetensors.Tensor, key, value string) []byte {
		return marshal(t, tensors, map[string]string{key: value})
	}
	exclude := func(position int64) []safetensors.Tensor {
		return with(pairs(), safetensors.OfInt64(abi.TensorExclude, []int64{position}, 1), safetensors.OfInt64(abi.TensorExcludeOffsets, []int64{0, 1}, 2))
	}
	for what, row := range map[string]struct {
		op      abi.Op
		message []byte
		want    abi.Code
	}{
		"a header":                           {abi.OpBegin, header, abi.Limit},
		"a projection's header":              {abi.OpLoadProjection, header, abi.Limit},
		"keys of metadata":                   {abi.OpBegin, marshal(t, nil, keys), abi.Limit},
		"a projection's keys":                {abi.OpLoadProjection, marshal(t, nil, keys), abi.Limit},
		"noise, which begins with no length": {abi.OpBegin, []byte("no message at all"), abi.BadMessage},
		"rows":                               {abi.OpBegin, marshal(t, []safetensors.Tensor{{Name: "queries", DType: safetensors.F32, Shape: []int{abi.MaxRows + 1, 0}}}, nil), abi.Limit},
		"columns":                            {abi.OpBegin, marshal(t, with(pairs(), safetensors.OfFloat32(abi.TensorQueries, make([]float32, abi.MaxColumns+1), 1, abi.MaxColumns+1)), nil), abi.Limit},
		"the position of the first row":      {abi.OpPush, position("9007199254740992", 1), abi.Limit},
		"the position of the last row":       {abi.OpPush, position("9007199254740991", 2), abi.Limit},
		"a position that int64 has not":      {abi.OpPush, position("99999999999999999999", 1), abi.Limit},
		"a position below 0":                 {abi.OpPush, position("-1", 1), abi.BadOption},
		"a position far below 0":             {abi.OpPush, position("-99999999999999999999", 1), abi.BadOption},
		"a position that is no number":       {abi.OpPush, position("1e3", 1), abi.BadOption},
		"a position that is excluded":        {abi.OpBegin, begin(exclude(abi.MaxPosition+1), abi.OptionRule, "topk"), abi.Limit},
		"an excluded position below 0":       {abi.OpBegin, begin(exclude(-1), abi.OptionRule, "topk"), abi.BadMessage},
		"the last position, excluded":        {abi.OpBegin, begin(exclude(abi.MaxPosition), abi.OptionRule, "topk"), abi.OK},
		"top":                                {abi.OpBegin, begin(with(pairs()), abi.OptionTop, "4097"), abi.Limit},
		"the highest top":                    {abi.OpBegin, begin(with(pairs()), abi.OptionTop, "4096"), abi.OK},
		"a top of 0":                         {abi.OpBegin, begin(with(pairs()), abi.OptionTop, "0"), abi.BadOption},
		"bytes of pairs_id":                  {abi.OpBegin, begin(with(pairs()), abi.OptionPairsID, strings.Repeat("x", abi.MaxPairsID+1)), abi.Limit},
		"memory_limit":                       {abi.OpReset, begin(nil, abi.OptionMemoryLimit, strconv.Itoa(message.MaxMemoryLimit+1)), abi.Limit},
		"a memory_limit of 0":                {abi.OpReset, begin(nil, abi.OptionMemoryLimit, "0"), abi.BadOption},
		"the message":                        {abi.OpInfo, make([]byte, abi.MaxMessage+1), abi.Limit},
		"no row, at the last position":       {abi.OpPush, position("9007199254740991", 0), abi.OK},
	} {
		_, err := s.Call(row.op, row.message)
		if row.want == abi.OK && err != nil || row.want != abi.OK && !errors.Is(err, &abi.Error{Code: row.want}) {
			t.Errorf("%s: %.200v; expected %v", what, err, row.want)
		}
	}
}
