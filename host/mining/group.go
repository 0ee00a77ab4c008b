package mining

import (
	"context"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Group is pairs that go through the documents together, as plugin instances take them.
type Group struct {
	ID      string               // the name by which parts refer to the group's pairs
	Tensors []safetensors.Tensor // of a begin message: projected vectors, and the positions of documents that are no negatives

	rows *groupRows // where the group is of a plan
}

// Pairs is how many pairs there are.
func (g *Group) Pairs() int {
	i := slices.IndexFunc(g.Tensors, func(t safetensors.Tensor) bool { return t.Name == abi.TensorPairQuery })
	if i < 0 {
		return 0
	}
	return g.Tensors[i].Rows()
}

// GroupSize is how large a group of pairs is, for planning memory.
type GroupSize struct {
	Pairs     int `json:"pairs"`
	Positives int `json:"positives"` // distinct ones, at most
	Excluded  int `json:"excluded"`  // documents that are excluded, of all queries, and positives that must all satisfy the rule
}

// Size is how large the group is.
func (g *Group) Size() GroupSize {
	size := GroupSize{Pairs: g.Pairs()}
	for _, t := range g.Tensors {
		switch t.Name {
		case abi.TensorPositives:
			size.Positives = t.Rows()
		case abi.TensorExclude, abi.TensorTogether:
			size.Excluded += t.Rows()
		}
	}
	return size
}

// ProjectGroup projects the pairs of a group.
func (p *Plan) ProjectGroup(ctx context.Context, number int) (g *Group, err error) {
	err = p.miner.alone(func() error {
		g, err = p.projectGroup(ctx, number)
		return err
	})
	return g, err
}

func (p *Plan) projectGroup(ctx context.Context, number int) (*Group, error) {
	pairs := p.groups[number]
	rows, k := p.selection.group(pairs), p.projection.Width()
	done := p.options.Progress.Count("project pairs", len(rows.queries)+len(rows.positives))
	queries, _, err := p.miner.instances.project(ctx, p.queries, rows.queries, option.ZeroError, done)
	if err != nil {
		return nil, err
	}
	positives, _, err := p.miner.instances.project(ctx, p.documents, rows.positives, option.ZeroError, done)
	if err != nil {
		return nil, err
	}
	m := &message.Begin{
		Queries:   message.Vectors{Rows: len(rows.queries), Projected: queries, Width: k},
		Positives: message.Vectors{Rows: len(rows.positives), Projected: positives, Width: k},
	}
	for _, pair := range rows.pairs {
		m.PairQuery, m.PairPositive = append(m.PairQuery, pair[0]), append(m.PairPositive, pair[1])
	}
	m.ExcludeOffsets, m.Exclude = ragged(rows.exclude)
	m.TogetherOffsets, m.Together = ragged(rows.together)
	return &Group{ID: p.pairsID(pairs), Tensors: m.Tensors(), rows: rows}, nil
}

// ragged lays lists out as offsets and values.
func ragged(lists [][]int64) (offsets, values []int64) {
	offsets, values = make([]int64, 1, len(lists)+1), []int64{}
	for _, l := range lists {
		values = append(values, l...)
		offsets = append(offsets, int64(len(values)))
	}
	return offsets, values
}

// GroupIDs returns the ids of a group's queries and positives, in the order of its tensors.
func (p *Plan) GroupIDs(g *Group) (queries, positives []string, err error) {
	if queries, err = idsOf(p.data.Queries, g.rows.queries); err == nil {
		positives, err = idsOf(p.data.Documents, g.rows.positives)
	}
	return queries, positives, err
}

// idsOf returns the ids of those rows, in their order.
func idsOf(ids dataset.IDs, rows []int) ([]string, error) {
	wanted := map[int]bool{}
	for _, row := range rows {
		wanted[row] = true
	}
	byRow, err := ids.OfRows(wanted)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(rows))
	for i, row := range rows {
		names[i] = byRow[row]
	}
	return names, nil
}
