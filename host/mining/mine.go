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
	part, err := plan.Mine(ctx)
	if err != nil {
		return nil, err
	}
	return plan.Result(part, plan.manifest, nil)
}

// Mine mines all pieces, and returns the part of all pairs and all documents.
func (p *Plan) Mine(ctx context.Context) (*mine.Part, error) {
	merge := p.NewMerge()
	for _, piece := range p.Pieces() {
		part, err := p.MinePiece(ctx, piece)
		if err == nil {
			err = merge.Add(part)
		}
		if err != nil {
			return nil, err
		}
	}
	return merge.Part()
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

// Part is the parts of all groups as one, of all pairs in their order. It fails where they do not cover all documents for every group.
func (m *Merge) Part() (*mine.Part, error) {
	p := m.plan
	all := &mine.Part{}
	for g, part := range m.merged {
		if part == nil || part.Documents() != int64(p.Documents()) {
			return nil, fmt.Errorf("%w: the parts of pairs %d to %d do not cover all %d documents", option.ErrOption, p.groups[g].first, p.groups[g].end-1, p.Documents())
		}
		all.Options, all.Ranges, all.Skipped = part.Options, part.Ranges, part.Skipped // each group has seen all documents
		all.SQPD, all.Window, all.Found = append(all.SQPD, part.SQPD...), append(all.Window, part.Window...), append(all.Found, part.Found...)
		all.InWindow, all.Candidates = append(all.InWindow, part.InWindow...), append(all.Candidates, part.Candidates...)
	}
	all.PairsID = p.pairsID(span{0, len(p.selection.pairs)})
	return all, nil
}

// Result turns the parts into the pairs' negatives. It fails where they do not cover all documents for every group.
func (m *Merge) Result() (*negatives.Result, error) {
	part, err := m.Part()
	if err != nil {
		return nil, err
	}
	return m.plan.Result(part, m.plan.manifest, nil)
}

// Result turns a part of all pairs and all documents into the pairs' negatives. manifest is that of the result, without tallies and the
// fingerprint of the negatives. edit, which may be nil, is given each pair, with its number, before it is counted.
func (p *Plan) Result(part *mine.Part, manifest negatives.Manifest, edit func(i int, pair *negatives.Pair)) (*negatives.Result, error) {
	queries, documents, err := p.ids(part)
	if err != nil {
		return nil, err
	}
	var pairs []negatives.Pair
	for i, rows := range p.selection.pairs {
		pair := negatives.OfPart(part, i, queries[rows.query], documents[rows.positive], func(position int64) string { return documents[int(position)] })
		if edit != nil {
			edit(i, &pair)
		}
		pairs = append(pairs, pair)
	}
	known := p.tallies()
	known.ZeroDocuments = part.Skipped
	return negatives.NewResult(pairs, known, manifest)
}

// ids finds the ids of everything that a result names, by row.
func (p *Plan) ids(part *mine.Part) (queries, documents map[int]string, err error) {
	wantedQueries, wantedDocuments := map[int]bool{}, map[int]bool{}
	for _, pair := range p.selection.pairs {
		wantedQueries[pair.query], wantedDocuments[pair.positive] = true, true
	}
	for _, found := range part.Found {
		for _, n := range found {
			wantedDocuments[int(n.Position)] = true
		}
	}
	if queries, err = p.data.Queries.OfRows(wantedQueries); err == nil {
		documents, err = p.data.Documents.OfRows(wantedDocuments)
	}
	return queries, documents, err
}
