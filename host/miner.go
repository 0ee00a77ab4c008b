package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Miner is plugin instances that hold one group of pairs at a time, and mine documents for it. It is for one goroutine at a time.
type Miner struct {
	workers *workers
	options map[string]string // of begin
	begun   string            // the ID of the group that the instances have; empty for none
	pairs   int               // of that group
	close   func() error      // the engine, where it is the miner's own
}

// NewMiner starts instances for what a manifest says: its rule and options. largest is the largest of the groups of pairs that they will get; it
// decides how many instances fit the memory.
func NewMiner(ctx context.Context, p *Projection, m *Manifest, o RunOptions, largest GroupSize) (*Miner, error) {
	plan, err := planMiner(o, p, largest, m.Top)
	if err != nil {
		return nil, err
	}
	return newMiner(ctx, p, m, o, plan)
}

func newMiner(ctx context.Context, p *Projection, m *Manifest, o RunOptions, plan memoryPlan) (*Miner, error) {
	options, err := m.beginOptions()
	if err != nil {
		return nil, err
	}
	e, closeEngine, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	miner := &Miner{options: options, close: closeEngine}
	if miner.workers, err = newWorkers(ctx, e, p, plan.instances, plan.instanceLimit, o.BlockRows); err != nil {
		return nil, errors.Join(err, closeEngine())
	}
	return miner, nil
}

// Close frees the instances, and the engine where it is the miner's own.
func (m *Miner) Close(ctx context.Context) error {
	return errors.Join(m.workers.closeAll(ctx), m.close())
}

// Has reports whether the instances hold the group of that ID.
func (m *Miner) Has(id string) bool { return m.begun == id && id != "" }

// Begin gives a group of pairs to all instances.
func (m *Miner) Begin(ctx context.Context, g *PairGroup) error {
	m.begun = ""
	options := maps.Clone(m.options)
	options["pairs_id"] = g.ID
	err := m.workers.each(ctx, func(i engine.Instance) error {
		_, err := engine.SendTensors(ctx, i, abi.OpBegin, g.Tensors, options)
		return err
	})
	if err == nil {
		m.begun, m.pairs = g.ID, g.Pairs()
	}
	return err
}

// Mine mines the rows of a matrix for each model, which are the documents of position first on.
func (m *Miner) Mine(ctx context.Context, documents []dataset.Matrix, first int64, progress Progress) (*mine.Part, error) {
	if m.begun == "" {
		return nil, fmt.Errorf("%w: there are no pairs to mine for", ErrOption)
	}
	rows := documents[0].Rows()
	return m.scan(ctx, documents, 0, rows, first, progressOf(progress, "mine", rows))
}

// scan mines rows first to end-1, which are the documents of those positions and offset.
func (m *Miner) scan(ctx context.Context, documents []dataset.Matrix, first, end int, offset int64, count func(rows int)) (*mine.Part, error) {
	block := m.workers.blockRows(m.pairs)
	err := parallel.Each(ctx, len(m.workers.instances), (end-first+block-1)/block, func(w, piece int) error {
		at := first + piece*block
		n := min(block, end-at)
		rows := make([]int, n)
		for i := range rows {
			rows[i] = at + i
		}
		position := strconv.FormatInt(offset+int64(at), 10)
		_, err := m.workers.send(ctx, m.workers.instances[w], abi.OpPush, documents, rows, map[string]string{"first": position})
		if err == nil {
			count(n)
		}
		return err
	})
	if err != nil {
		m.begun = "" // the instances have some of the documents
		return nil, err
	}
	part, err := m.finish(ctx)
	if err != nil {
		m.begun = "" // some instances have theirs still
	}
	return part, err
}

// finish takes the parts of all instances together.
func (m *Miner) finish(ctx context.Context) (merged *mine.Part, err error) {
	for _, i := range m.workers.instances {
		out, err := engine.SendBytes(ctx, i, abi.OpFinish, nil)
		if err != nil {
			return nil, err
		}
		part, err := mine.ParsePart(bytes.Clone(out))
		if err != nil {
			return nil, fmt.Errorf("answer to finish: %w", err)
		}
		if merged, err = plus(merged, part); err != nil {
			return nil, err
		}
	}
	return merged, nil
}

// PairGroup is pairs as instances take them.
type PairGroup struct {
	ID      string               // names the group's pairs, in parts
	Tensors []safetensors.Tensor // of a begin message: projected vectors, and the positions of documents that are no negatives

	queries, positives []int // rows in the folder, where the group is of one
}

// Pairs is how many pairs there are.
func (g *PairGroup) Pairs() int {
	i := slices.IndexFunc(g.Tensors, func(t safetensors.Tensor) bool { return t.Name == "pair_query" })
	if i < 0 {
		return 0
	}
	return g.Tensors[i].Rows()
}
