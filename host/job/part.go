package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// A part's object is a safetensors file. Its tensors are part, the bytes of a mine.Part, and positions, ids and
// ids_offsets, the ids of the documents that the part names. Its metadata says which job, shard and group it is of, and
// what effort it took. The objects that two workers make of one shard and one group differ in the effort alone.
const (
	partFormat     = "quarry.job.part.v1"
	partTensor     = "part"
	partPositions  = "positions"
	partIDs        = "ids"
	effortMetadata = "work"
)

// Effort is what it took to make a part.
type Effort struct {
	Milliseconds int64 `json:"milliseconds"`
	MemoryMiB    int   `json:"memory_mib"` // that the worker was given; 0 where its time is not paid for
	Rows         int   `json:"rows"`       // documents of the shard
	Bytes        int64 `json:"bytes"`      // of the shard
}

// partObject is a part as its object has it.
type partObject struct {
	*mine.Part
	positions []int64 // of the documents that the part names, ascending
	ids       *ids    // of these documents
	file      *safetensors.File
	effort    Effort
	size      int // of the object, in bytes
}

// partMetadata is what a part's object says of where it belongs.
func (m *Manifest) partMetadata(shard, group int) map[string]string {
	s := m.Shards[shard]
	return map[string]string{"format": partFormat, "job": m.manifestSHA, "shard": s.Name, "shard_sha256": s.SHA256, "group": strconv.Itoa(group)}
}

// checkPart fails where a part is not that of a shard and a group of this job.
func (m *Manifest) checkPart(part *mine.Part, shard, group int) error {
	options, err := m.Result.MineOptions()
	if err != nil {
		return err
	}
	options.PairsID = m.pairsID(group)
	s := m.Shards[shard]
	return mining.CheckPart(part, options, mine.Range{First: s.First, End: s.First + int64(s.Rows)})
}

// marshalPart returns the bytes of a part's object. documents are the ids of all documents of the shard. It fails where
// the part is not that of the shard and the group, or the ids are not the shard's.
func (m *Manifest) marshalPart(shard, group int, part *mine.Part, documents *ids, effort Effort) ([]byte, error) {
	err := m.checkPart(part, shard, group)
	if rows := m.Shards[shard].Rows; err == nil && documents.len() != rows {
		err = fmt.Errorf("there are %d ids for %d documents", documents.len(), rows)
	}
	if err != nil {
		return nil, fmt.Errorf("the part of group %d is not what was to be mined: %w", group, err)
	}
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
	b, err := json.Marshal(effort)
	if err != nil {
		return nil, err
	}
	metadata[effortMetadata] = string(b)
	tensors := append(idTensors(partIDs, names), safetensors.OfInt64(partPositions, positions, len(positions)),
		safetensors.Tensor{Name: partTensor, DType: safetensors.U8, Shape: []int{len(file)}, Data: file})
	return safetensors.Marshal(tensors, metadata)
}

// parsePart reads a part's object and checks that it is the one of a shard and a group.
func (m *Manifest) parsePart(b []byte, shard, group int) (*partObject, error) {
	f, err := safetensors.Parse(b, abi.MaxHeader)
	if err != nil {
		return nil, fmt.Errorf("not a safetensors file: %w", excerpt.Error(err))
	}
	for key, want := range m.partMetadata(shard, group) {
		if got := f.Metadata[key]; got != want {
			return nil, fmt.Errorf("its %s is %s; expected %s", key, excerpt.Quote(got), excerpt.Quote(want))
		}
	}
	p := &partObject{file: f, size: len(b)}
	if p.effort, err = parseEffort(f.Metadata[effortMetadata]); err != nil {
		return nil, err
	}
	file, _ := f.Tensor(partTensor)
	if p.Part, err = mine.ParsePart(file.Data); err != nil {
		return nil, err
	}
	if err := m.checkPart(p.Part, shard, group); err != nil {
		return nil, err
	}
	return p, p.readIDs()
}

// readIDs reads the ids of the documents that the part names, and checks that none is missing.
func (p *partObject) readIDs() (err error) {
	positions, _ := p.file.Tensor(partPositions)
	if positions.DType == safetensors.I64 {
		p.positions = safetensors.Int64s(positions.Data)
	}
	if p.ids, err = idsOf(p.file, partIDs, len(p.positions)); err != nil {
		return err
	}
	if !slices.IsSorted(p.positions) {
		return fmt.Errorf("its positions do not ascend")
	}
	for _, found := range p.Found {
		for _, n := range found {
			if _, ok := slices.BinarySearch(p.positions, n.Position); !ok {
				return fmt.Errorf("it has no id for position %d", n.Position)
			}
		}
	}
	return nil
}

// parseEffort reads what a part's metadata says of its effort.
func parseEffort(text string) (e Effort, err error) {
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return e, fmt.Errorf("its work is %.100q: %w", text, err)
	}
	return e, nil
}

// sameResult reports whether two objects have the same tensors: they may differ in their effort alone.
func (p *partObject) sameResult(o *partObject) bool {
	return slices.EqualFunc(p.file.Tensors, o.file.Tensors, func(a, b safetensors.Tensor) bool {
		return a.Name == b.Name && a.DType == b.DType && bytes.Equal(a.Data, b.Data)
	})
}
