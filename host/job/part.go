package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// A part's object is a safetensors file: part, the bytes of a mine.Part; positions, ids and ids_offsets, the ids of the documents that it names;
// and, in the metadata, what it is of, and work, what it took to make. Two workers' objects for one shard differ in work alone.
const (
	partFormat    = "quarry.job.part.v1"
	partTensor    = "part"
	partPositions = "positions"
	partIDs       = "ids"
	workMetadata  = "work"
)

// Work is what a part took.
type Work struct {
	Milliseconds int64 `json:"milliseconds"`
	MemoryMiB    int   `json:"memory_mib"` // that the worker was given; 0 where it is not paid for by memory and time
	Rows         int   `json:"rows"`
	Bytes        int64 `json:"bytes"` // of the shard
}

// partObject is a part with the ids it needs.
type partObject struct {
	*mine.Part
	positions []int64 // ascending
	ids       *ids
	file      *safetensors.File
	work      Work
	size      int // of the object, in bytes
}

func (m *Manifest) partMetadata(shard, group int) map[string]string {
	s := m.Shards[shard]
	return map[string]string{"format": partFormat, "job": m.identity, "shard": s.Name, "shard_sha256": s.SHA256, "group": strconv.Itoa(group)}
}

// marshalPart returns the bytes of a part's object.
func (m *Manifest) marshalPart(shard, group int, part *mine.Part, documents *ids, work Work) ([]byte, error) {
	file, err := part.Marshal()
	if err != nil {
		return nil, err
	}
	var positions []int64
	for _, found := range part.Found {
		for _, n := range found {
			positions = append(positions, n.Position)
		}
	}
	slices.Sort(positions)
	positions = slices.Compact(positions)
	names := make([]string, len(positions))
	for i, position := range positions {
		names[i] = documents.at(int(position - m.Shards[shard].First))
	}
	metadata := m.partMetadata(shard, group)
	b, err := json.Marshal(work)
	if err != nil {
		return nil, err
	}
	metadata[workMetadata] = string(b)
	tensors := append(idTensors(partIDs, names), safetensors.OfInt64(partPositions, positions, len(positions)),
		safetensors.Tensor{Name: partTensor, DType: safetensors.U8, Shape: []int{len(file)}, Data: file})
	return safetensors.Marshal(tensors, metadata)
}

// parsePart reads a part's object and checks that it is the one of a shard and a group.
func (m *Manifest) parsePart(b []byte, shard, group int) (*partObject, error) {
	f, err := safetensors.Parse(b, abi.MaxHeader)
	if err != nil {
		return nil, fmt.Errorf("not a safetensors file: %w", err)
	}
	for key, want := range m.partMetadata(shard, group) {
		if got := f.Metadata[key]; got != want {
			return nil, fmt.Errorf("its %s is %q; expected %q", key, got, want)
		}
	}
	p := &partObject{file: f}
	if p.work, err = parseWork(f.Metadata[workMetadata]); err != nil {
		return nil, err
	}
	file, _ := f.Tensor(partTensor)
	if p.Part, err = mine.ParsePart(file.Data); err != nil {
		return nil, err
	}
	s := m.Shards[shard]
	if want := (mine.Range{First: s.First, End: s.First + int64(s.Rows)}); !slices.Equal(p.Ranges, []mine.Range{want}) || p.PairsID != m.pairsID(group) {
		return nil, fmt.Errorf("it is of documents %v and pairs %q; expected %v and %q", p.Ranges, p.PairsID, want, m.pairsID(group))
	}
	positions, _ := f.Tensor(partPositions)
	if positions.DType == safetensors.I64 {
		p.positions = safetensors.Int64s(positions.Data)
	}
	if p.ids, err = idsOf(f, partIDs, len(p.positions)); err != nil {
		return nil, err
	}
	if !slices.IsSorted(p.positions) {
		return nil, fmt.Errorf("its positions do not ascend")
	}
	for _, found := range p.Found {
		for _, n := range found {
			if _, ok := slices.BinarySearch(p.positions, n.Position); !ok {
				return nil, fmt.Errorf("it has no id for position %d", n.Position)
			}
		}
	}
	return p, nil
}

func parseWork(text string) (w Work, err error) {
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return w, fmt.Errorf("its work is %.100q: %w", text, err)
	}
	return w, nil
}

// same reports whether two objects say the same of the same shard.
func (p *partObject) same(o *partObject) bool {
	return slices.EqualFunc(p.file.Tensors, o.file.Tensors, func(a, b safetensors.Tensor) bool {
		return a.Name == b.Name && a.DType == b.DType && bytes.Equal(a.Data, b.Data)
	})
}
