package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

func sample(t testing.TB) []byte {
	t.Helper()
	b, err := Marshal([]Tensor{
		OfFloat32("documents", []float32{1, -2.5, float32(math.Inf(1)), 0}, 2, 2),
		OfFloat64("a/ünïcode \"name\"", []float64{math.Pi}),
		OfInt64("positions", []int64{1, -1, 1 << 60}, 3),
		{Name: "bytes", DType: U8, Shape: []int{3}, Data: []byte("abc")},
		{Name: "halves", DType: F16, Shape: []int{1, 1}, Data: []byte{0, 0x3c}},
		{Name: "empty", DType: F32, Shape: []int{0, 4}},
	}, map[string]string{"format": "test", "a": "line\nand \"quote\" \\ \x01"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	b := sample(t)
	f, err := Parse(b, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if f.Metadata["a"] != "line\nand \"quote\" \\ \x01" || len(f.Tensors) != 6 {
		t.Fatalf("got %v", f)
	}
	if d, _ := f.Tensor("documents"); d.Rows() != 2 || Float32s(d.Data)[1] != -2.5 {
		t.Errorf("documents: %v", d)
	}
	if p, _ := f.Tensor("positions"); Int64s(p.Data)[2] != 1<<60 {
		t.Errorf("positions: %v", p)
	}
	if p, ok := f.Tensor("a/ünïcode \"name\""); !ok || p.Rows() != 1 || Float64s(p.Data)[0] != math.Pi {
		t.Errorf("scalar: %v", p)
	}
	again, err := Marshal(f.Tensors, f.Metadata)
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("written again, the file differs: %v", err)
	}
	if length := binary.LittleEndian.Uint64(b); length%8 != 0 {
		t.Errorf("the header of %d bytes is not padded", length)
	}
	for _, tensor := range f.Tensors {
		if offset := bytes.Index(b, tensor.Data); len(tensor.Data) > 0 && offset%tensor.DType.Size() != 0 {
			t.Errorf("%s lies at %d", tensor.Name, offset)
		}
	}
}

// metadataKeys is a header of n metadata keys.
func metadataKeys(n int) string {
	b := []byte(`{"__metadata__":{"0":""`)
	for i := 1; i < n; i++ {
		b = fmt.Appendf(b, `,"%d":""`, i)
	}
	return string(append(b, "}}"...))
}

// file makes a file of a header and data bytes.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestParseRefuses(t *testing.T) {
	const good = `{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`
	for _, right := range [][]byte{file(good, 8), file(metadataKeys(MaxMetadata), 0)} {
		if _, err := Parse(right, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	for name, row := range map[string]struct {
		b    []byte
		says string
	}{
		"nothing":                      {nil, "cut off"},
		"a length alone":               {file("", 0)[:7], "cut off"},
		"a header cut off":             {file(good, 8)[:20], "the header alone takes"},
		"a header that is nowhere":     {binary.LittleEndian.AppendUint64(nil, 1<<63), "0 bytes after the first 8, the header alone takes 9223372036854775808"},
		"a header too long":            {file(strings.Repeat(" ", 1<<20+1), 0), "at most"},
		"data cut off":                 {file(good, 7), "cut off"},
		"data left over":               {file(good, 9), "follow the last tensor"},
		"not JSON":                     {file("x", 0), "expected '{'"},
		"JSON that goes on":            {file(good+"}", 8), "goes on"},
		"an unknown type":              {file(strings.Replace(good, "F32", "F33", 1), 8), "F33"},
		"offsets that differ":          {file(strings.Replace(good, "[0,8]", "[0,4]", 1), 8), "do not fit"},
		"offsets reversed":             {file(strings.Replace(good, "[0,8]", "[8,0]", 1), 8), "do not fit"},
		"a gap":                        {file(strings.Replace(good, "[0,8]", "[4,12]", 1), 12), "gap"},
		"a negative size":              {file(strings.Replace(good, "[2]", "[-2]", 1), 8), "whole number"},
		"a fractional size":            {file(strings.Replace(good, "[2]", "[2.0]", 1), 8), "whole number"},
		"a size that overflows":        {file(strings.Replace(good, "[2]", "[4294967296,4294967296,2]", 1), 8), "too large"},
		"an unknown key":               {file(strings.Replace(good, `"shape"`, `"shape2":[1],"shape"`, 1), 8), "unknown key"},
		"a name twice":                 {file(`{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0), "twice"},
		"an overlap":                   {file(`{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3), "overlap"},
		"a metadata key twice":         {file(`{"__metadata__":{"a":"1","b":"2","a":"1"}}`, 0), "twice"},
		"too many metadata keys":       {file(metadataKeys(MaxMetadata+1), 0), "more than 1024"},
		"metadata that is not strings": {file(`{"__metadata__":{"a":1}}`, 0), "expected"},
		"a string that is not UTF-8":   {file("{\"\xff\":{}}", 0), "UTF-8"},
		"half a surrogate pair":        {file(`{"\ud800":{}}`, 0), "surrogate"},
	} {
		if _, err := Parse(row.b, 1<<20); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: got %v, expected %q", name, err, row.says)
		}
	}
}

func TestCutAnywhereIsAnError(t *testing.T) {
	b := sample(t)
	for n := range b {
		if _, err := Parse(b[:n], 1<<20); err == nil {
			t.Fatalf("cut at %d: no error", n)
		}
	}
}

func TestViewsOfUnalignedBytes(t *testing.T) {
	b := append([]byte{0}, OfFloat64("", []float64{1, 2, 3}).Data...)
	for i, v := range Float64s(b[1:]) {
		if v != float64(i+1) {
			t.Fatalf("value %d is %v", i, v)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample(f))
	f.Add(file(`{}`, 0))
	f.Add(file(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b, 1<<16)
		if err != nil {
			return
		}
		again, err := Marshal(file.Tensors, file.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		copied, err := Parse(again, 1<<20)
		if err != nil {
			t.Fatalf("what was accepted is not when written again: %v", err)
		}
		if !maps.Equal(copied.Metadata, file.Metadata) || len(copied.Tensors) != len(file.Tensors) {
			t.Fatalf("%v when written again, and was %v", copied, file)
		}
		for i, tensor := range file.Tensors {
			if c := copied.Tensors[i]; c.Name != tensor.Name || c.DType != tensor.DType || !slices.Equal(c.Shape, tensor.Shape) || !bytes.Equal(c.Data, tensor.Data) {
				t.Fatalf("tensor %q changes when written again", tensor.Name)
			}
		}
	})
}
