package mining

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// Mine mines a data set's pairs against all its documents.
func Mine(ctx context.Context, data *dataset.Dataset, p *projection.Projection, o Options) (result *negatives.Result, err error) {
	plan, err := NewPlan(ctx, data, p, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close(ctx)) }()
	merge := plan.NewMerge()
	for _, piece := range plan.Pieces() {
		part, err := plan.MinePiece(ctx, piece)
		if err == nil {
			err = merge.Add(part)
		}
		if err != nil {
			return nil, err
		}
	}
	return merge.Result()
}

// Merge collects the parts of a plan, in any order, and holds one merged part for each group of pairs.
type Merge struct {
	plan   *Plan
	merged []*mine.Part // of each group; nil where there is none yet
}

// NewMerge returns an empty collection of the plan's parts, cut as the plan is now.
func (p *Plan) NewMerge() *Merge { return &Merge{p, make([]*mine.Part, len(p.groups))} }

// Add adds a part. A part of another plan, or of documents that were added before, is an error.
func (m *Merge) Add(part *mine.Part) (err error) {
	g := slices.IndexFunc(m.plan.groups, func(g span) bool { return part.PairsID == m.plan.pairsID(g) })
	if g < 0 {
		return fmt.Errorf("%w: a part is of another run: its pairs are %s", option.ErrOption, excerpt.Quote(part.PairsID))
	}
	m.merged[g], err = mergeParts(m.merged[g], part)
	return err
}

// mergeParts merges two parts; the first may be nil, no part yet.
func mergeParts(sum, part *mine.Part) (*mine.Part, error) {
	if sum == nil {
		return part, nil
	}
	merged, err := mine.Merge(sum, part)
	if err != nil {
		return nil, fmt.Errorf("merge the parts: %w", err)
	}
	return merged, nil
}

// Result turns the parts into the pairs' negatives. It fails where they do not cover all documents for every group.
func (m *Merge) Result() (*negatives.Result, error) {
	p := m.plan
	for g, part := range m.merged {
		if part == nil || part.Documents() != int64(p.Documents()) {
			return nil, fmt.Errorf("%w: the parts of pairs %d to %d do not cover all %d documents", option.ErrOption, p.groups[g].first, p.groups[g].end-1, p.Documents())
		}
	}
	queries, documents, err := m.ids()
	if err != nil {
		return nil, err
	}
	var pairs []negatives.Pair
	for g, part := range m.merged {
		for i, pair := range p.selection.pairs[p.groups[g].first:p.groups[g].end] {
			pairs = append(pairs, negatives.OfPart(part, i, queries[pair.query], documents[pair.positive],
				func(position int64) string { return documents[int(position)] }))
		}
	}
	known := p.tallies()
	known.ZeroDocuments = m.merged[0].Skipped // each group has seen all documents
	return negatives.NewResult(pairs, known, p.manifest)
}

// ids finds the ids of everything that the result names, by row.
func (m *Merge) ids() (queries, documents map[int]string, err error) {
	wantedQueries, wantedDocuments := map[int]bool{}, map[int]bool{}
	for _, p := range m.plan.selection.pairs {
		wantedQueries[p.query], wantedDocuments[p.positive] = true, true
	}
	for _, part := range m.merged {
		for _, found := range part.Found {
			for _, n := range found {
				wantedDocuments[int(n.Position)] = true
			}
		}
	}
	if queries, err = m.plan.data.Queries.OfRows(wantedQueries); err == nil {
		documents, err = m.plan.data.Documents.OfRows(wantedDocuments)
	}
	return queries, documents, err
}
