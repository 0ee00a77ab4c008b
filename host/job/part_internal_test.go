package job

import (
	"testing"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
)

// TestPartsOfOthersAreNotPut makes no object of a part that is of another shard, another group or another job, nor with
// ids that are not the shard's.
func TestPartsOfOthersAreNotPut(t *testing.T) {
	folder, p := smallFit(t)
	compute := mining.Compute{Engine: engine.Native(engine.Options{})}
	at := &Place{Name: "parts", In: objstore.NewMemory(), Out: objstore.NewMemory()}
	m, err := Init(t.Context(), at, folder, p, InitOptions{Mine: mining.Options{Compute: compute}, Shards: 3})
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWorker(at.In, at.Out, Options{Compute: compute, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close(t.Context()) }()
	if _, err := w.Shard(t.Context(), m.Shards[0].Name); err != nil {
		t.Fatal(err)
	}
	part, err := w.readPart(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, m.Shards[0].Rows)
	for i := range names {
		names[i] = "id"
	}
	of := func(names []string) *ids {
		tensors := idTensors(shardIDs, names)
		documents, err := newIDs(shardIDs, tensors[0], tensors[1], len(names))
		if err != nil {
			t.Fatal(err)
		}
		return documents
	}
	if _, err := m.marshalPart(0, 0, part.Part, of(names), Effort{}); err != nil {
		t.Errorf("its own: %v", err)
	}
	if _, err := m.marshalPart(0, 0, part.Part, of(names[1:]), Effort{}); err == nil {
		t.Error("an id too few is no error")
	}
	if _, err := m.marshalPart(1, 0, part.Part, of(names), Effort{}); err == nil {
		t.Error("another shard's is no error")
	}
	other := *m
	other.Result.Top++
	other.runID = other.Result.RunID()
	if _, err := other.marshalPart(0, 0, part.Part, of(names), Effort{}); err == nil {
		t.Error("another job's is no error")
	}
}
