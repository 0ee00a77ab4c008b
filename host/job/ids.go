package job

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// idTensors lays ids out as two tensors: name has their bytes one after another, name_offsets has where each begins.
func idTensors(name string, ids []string) []safetensors.Tensor {
	offsets, blob := make([]int64, 1, len(ids)+1), []byte{}
	for _, id := range ids {
		blob = append(blob, id...)
		offsets = append(offsets, int64(len(blob)))
	}
	return []safetensors.Tensor{
		{Name: name, DType: safetensors.U8, Shape: []int{len(blob)}, Data: blob},
		safetensors.OfInt64(name+"_offsets", offsets, len(offsets)),
	}
}

// ids are the ids of queries or documents in the layout of idTensors.
type ids struct {
	blob    []byte
	offsets []int64
}

// newIDs checks that two tensors are n ids, of which none is empty and all are UTF-8.
func newIDs(name string, blob safetensors.Tensor, offsets safetensors.Tensor, n int) (*ids, error) {
	ids := &ids{blob: blob.Data, offsets: safetensors.Int64s(offsets.Data)}
	if blob.DType != safetensors.U8 || offsets.DType != safetensors.I64 {
		return nil, fmt.Errorf("tensors %s and %s_offsets are missing, or not U8 and I64", name, name)
	}
	last := len(ids.offsets) - 1
	switch {
	case last < 0 || last != n:
		return nil, fmt.Errorf("tensor %s_offsets has %d values; %d ids take %d", name, last+1, n, n+1)
	case ids.offsets[0] != 0 || ids.offsets[last] != int64(len(ids.blob)) || !slices.IsSorted(ids.offsets):
		return nil, fmt.Errorf("tensor %s_offsets does not ascend from 0 to the %d bytes of %s", name, len(ids.blob), name)
	}
	for i := range last {
		if id := ids.blob[ids.offsets[i]:ids.offsets[i+1]]; len(id) == 0 || !utf8.Valid(id) {
			return nil, fmt.Errorf("tensor %s: id %d is empty, or not UTF-8", name, i)
		}
	}
	return ids, nil
}

// idsOf reads the n ids of that name out of a parsed file.
func idsOf(f *safetensors.File, name string, n int) (*ids, error) {
	blob, _ := f.Tensor(name)
	offsets, _ := f.Tensor(name + "_offsets")
	return newIDs(name, blob, offsets, n)
}

func (s *ids) len() int { return len(s.offsets) - 1 }

// at is id i.
func (s *ids) at(i int) string { return string(s.blob[s.offsets[i]:s.offsets[i+1]]) }
