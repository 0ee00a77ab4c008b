package mining

import (
	"context"
	"fmt"
	"sync"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// Miner is plugin instances that hold one group of pairs at a time, and mine documents for it. It is for one goroutine at
// a time: a second one gets ErrBusy.
type Miner struct {
	using     sync.Mutex // is held by each call; none waits for it
	instances *instances
	options   mine.Options // without the ID of a group
	begun     string       // the ID of the group that the instances hold; empty for none
	pairs     int          // of that group
}

// NewMiner starts instances for what a manifest says: its rule and options. largest is the largest of the groups of pairs that they will get;
// it decides how many instances fit the memory.
func NewMiner(ctx context.Context, p *projection.Projection, m *negatives.Manifest, c Compute, largest GroupSize) (*Miner, error) {
	split, err := splitForGroups(c, sizeOfProjection(p), largest, m.Top, m.Counts)
	if err != nil {
		return nil, err
	}
	return newMiner(ctx, p, m, c, split)
}

func newMiner(ctx context.Context, p *projection.Projection, m *negatives.Manifest, c Compute, split memorySplit) (*Miner, error) {
	options, err := m.MineOptions()
	if err != nil {
		return nil, err
	}
	s, err := c.open(ctx, p, split)
	if err != nil {
		return nil, err
	}
	return &Miner{instances: s, options: options}, nil
}

// alone calls f, unless another goroutine is using the miner.
func (m *Miner) alone(f func() error) error {
	if !m.using.TryLock() {
		return ErrBusy
	}
	defer m.using.Unlock()
	return f()
}

// Close frees the instances, and the engine where it is the miner's own.
func (m *Miner) Close(ctx context.Context) error {
	return m.alone(func() error { return m.instances.close(ctx) })
}

// Has reports whether the instances hold the group of that ID.
func (m *Miner) Has(id string) (has bool) {
	_ = m.alone(func() error { has = m.has(id); return nil }) // what another goroutine uses, this one does not have
	return has
}

func (m *Miner) has(id string) bool { return m.begun == id && id != "" }

// Begin gives a group of pairs to all instances.
func (m *Miner) Begin(ctx context.Context, g *Group) error {
	return m.alone(func() error { return m.begin(ctx, g) })
}

func (m *Miner) begin(ctx context.Context, g *Group) error {
	m.begun = ""
	options := m.options
	options.PairsID = g.ID
	err := m.instances.each(ctx, func(i engine.Client) error { return i.Begin(ctx, g.Tensors, &options) })
	if err == nil {
		m.begun, m.pairs = g.ID, g.Pairs()
	}
	return err
}

// Mine mines the rows of a matrix for each model, which are the documents of position first on, for the group of an ID.
// It fails where that is not the group that was begun last.
func (m *Miner) Mine(ctx context.Context, id string, documents []dataset.Matrix, first int64, progress option.Progress) (part *mine.Part, err error) {
	err = m.alone(func() error {
		if !m.has(id) {
			return fmt.Errorf("%w: the pairs to mine for are not there; Begin gives them", option.ErrOption)
		}
		rows := documents[0].Rows()
		part, err = m.scan(ctx, documents, 0, rows, first, progress.Count("mine", rows))
		return err
	})
	return part, err
}

// scan mines rows first to end-1. The position of a row's document is the row plus offset. The part is that of the
// group that the instances hold and of those documents, or scan fails.
func (m *Miner) scan(ctx context.Context, documents []dataset.Matrix, first, end int, offset int64, count func(rows int)) (*mine.Part, error) {
	block := m.instances.blockRows(m.pairs)
	err := parallel.Each(ctx, len(m.instances.all), (end-first+block-1)/block, func(lane, number int) error {
		at := first + number*block
		n := min(block, end-at)
		if err := m.instances.push(ctx, lane, documents, at, n, offset+int64(at)); err != nil {
			return err
		}
		count(n)
		return nil
	})
	if err != nil {
		m.begun = "" // the instances have seen some of the documents
		return nil, err
	}
	part, err := m.finish(ctx)
	if err != nil {
		m.begun = "" // some instances still hold what they found
		return nil, err
	}
	options := m.options
	options.PairsID = m.begun
	if err := CheckPart(part, options, mine.Range{First: offset + int64(first), End: offset + int64(end)}); err != nil {
		m.begun = ""
		return nil, fmt.Errorf("the plugin's part is not what it was asked for: %w", err)
	}
	return part, nil
}

// finish merges the parts of all instances.
func (m *Miner) finish(ctx context.Context) (merged *mine.Part, err error) {
	for _, i := range m.instances.all {
		part, err := i.Finish(ctx)
		if err != nil {
			return nil, err
		}
		if merged, err = mergeParts(merged, part); err != nil {
			return nil, err
		}
	}
	return merged, nil
}
