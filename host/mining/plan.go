// Package mining drives plugin instances over a data set: it plans memory, projects vectors, mines documents for groups of pairs, and turns
// the parts into a result.
//
// Input: a data set, a projection and options. A Plan cuts the work into pieces: a group of pairs against a range of documents. A piece goes
// in, a part comes out, and the parts of all pieces make the result. Mine and Transform of package host are made of it; package run keeps the
// parts in files, and package job mines them on many machines.
package mining

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// Plan is what to mine, ready: pairs selected, in groups that fit into memory. Any piece of it can be mined, in any order, and the parts
// that come of it make the result. It is for one goroutine at a time, and a second one gets ErrBusy. Several plans can be at work in one process, each within its own
// budget.
type Plan struct {
	options    Options
	data       *dataset.Dataset
	projection *projection.Projection
	documents  []dataset.Matrix // of each model
	queries    []dataset.Matrix // of each model
	selection  *selection
	split      memorySplit
	groups     []span
	manifest   negatives.Manifest // without tallies and negatives
	runID      string             // of the manifest
	miner      *Miner
	began      sync.Once
	report     func(rows int) // adds documents to the stage "mine"; nil before the first
}

// span is pairs first to end-1 of the split.
type span struct{ first, end int }

// Piece is some of a plan: a group of pairs against documents First to End-1.
type Piece struct {
	Group      int
	First, End int
}

// NewPlan selects the pairs of a data set and starts plugin instances. Close it after use.
func NewPlan(ctx context.Context, data *dataset.Dataset, p *projection.Projection, o Options) (_ *Plan, err error) {
	o, rule, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	models, err := p.Vectors(data)
	if err != nil {
		return nil, err
	}
	plan := &Plan{options: o, data: data, projection: p}
	for _, m := range models {
		plan.documents, plan.queries = append(plan.documents, m.Documents), append(plan.queries, m.Queries)
	}
	if plan.selection, err = selectWithoutTwins(ctx, data, p.Models, plan.documents, o); err != nil {
		return nil, err
	}
	if plan.split, err = splitForPairs(o.Compute, sizeOfProjection(p), plan.selection, o.Top, o.Counts); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, plan.Close(ctx))
		}
	}()
	plan.manifest = newManifest(o, rule, p)
	if plan.selection.twins > 0 {
		plan.manifest.Twins = o.Twins
	}
	if err := plan.start(ctx, models); err != nil {
		return nil, err
	}
	if err := plan.dropZeros(ctx); err != nil {
		return nil, err
	}
	plan.cutGroups()
	return plan, nil
}

// newManifest says what a plan's result depends on. The fingerprints of its inputs come with start; its tallies, and
// the fingerprint of the negatives, with the result.
func newManifest(o Options, rule mine.Rule, p *projection.Projection) negatives.Manifest {
	m := negatives.NewManifest(rule, p.Projection, p.Fingerprint)
	m.Top, m.Split, m.Counts, m.Positives, m.Self, m.Zero, m.Missing = o.Top, o.Split, o.Counts, o.Positives, o.Self, o.Zero, o.Missing
	return m
}

// start starts the plugin instances while the inputs are fingerprinted.
func (p *Plan) start(ctx context.Context, models []dataset.Model) (err error) {
	var starting sync.WaitGroup
	var minerErr error
	starting.Go(func() { p.miner, minerErr = newMiner(ctx, p.projection, &p.manifest, p.options.Compute, p.split) })
	inputs, err := p.data.Fingerprints(option.Threads(p.options.Threads), models)
	starting.Wait()
	if err = cmp.Or(err, minerErr); err != nil {
		return err
	}
	p.manifest.Inputs = inputs
	p.runID = p.manifest.RunID()
	return nil
}

// cutGroups cuts the pairs into groups.
func (p *Plan) cutGroups() {
	p.groups = nil
	for first := 0; first < len(p.selection.pairs); first += p.split.groupPairs {
		p.groups = append(p.groups, span{first, min(first+p.split.groupPairs, len(p.selection.pairs))})
	}
}

// dropZeros leaves out the pairs of zero vectors, where the options say so.
func (p *Plan) dropZeros(ctx context.Context) error {
	if p.options.Zero != option.ZeroSkip {
		return nil
	}
	step := p.rowsHeld() // pairs whose vectors are held at a time
	done := p.options.Progress.Count("look for zero vectors", len(p.selection.pairs))
	queries, positives := map[int]bool{}, map[int]bool{} // rows that are zero vectors
	for first := 0; first < len(p.selection.pairs); first += step {
		end := min(first+step, len(p.selection.pairs))
		rows := p.selection.group(span{first, end})
		for _, side := range []struct {
			xs   []dataset.Matrix
			rows []int
			zero map[int]bool
		}{{p.queries, rows.queries, queries}, {p.documents, rows.positives, positives}} {
			_, zeros, err := p.miner.instances.project(ctx, side.xs, side.rows, option.ZeroSkip, func(int) {})
			if err != nil {
				return err
			}
			for i, zero := range zeros {
				if zero {
					side.zero[side.rows[i]] = true
				}
			}
		}
		done(end - first)
	}
	p.selection.drop(queries, positives)
	if len(p.selection.pairs) == 0 {
		return &dataset.Error{Path: p.selection.path, Row: -1, Problem: fmt.Sprintf("all %d pairs of split %s were left out: their vectors are zero",
			p.selection.zero, excerpt.Quote(p.options.Split)), Hint: "make the vectors again"}
	}
	return nil
}

// Documents is how many documents there are to mine.
func (p *Plan) Documents() int { return p.documents[0].Rows() }

// Matrices are the documents' vectors, of each model of the projection.
func (p *Plan) Matrices() []dataset.Matrix { return p.documents }

// Pieces is the whole plan in pieces that take some time each, in the order that is best to mine them in.
func (p *Plan) Pieces() (pieces []Piece) {
	step := p.partDocuments()
	for g := range p.groups {
		for first := 0; first < p.Documents(); first += step {
			pieces = append(pieces, Piece{g, first, min(first+step, p.Documents())})
		}
	}
	return pieces
}

// partDocuments is how many documents to mine for a part: as many as the caller says, or as take the instances about partTime.
func (p *Plan) partDocuments() int {
	if p.options.PartDocuments > 0 {
		return p.options.PartDocuments
	}
	return p.miner.instances.rowsIn(partTime, p.groups[0].end-p.groups[0].first)
}

// Cut is how a plan is cut into pieces: as many pairs and as many documents for each, but for the last ones.
type Cut struct {
	GroupPairs    int `json:"group_pairs"`
	PartDocuments int `json:"part_documents"`
}

// Cut returns how the plan is cut.
func (p *Plan) Cut() Cut { return Cut{p.split.groupPairs, p.partDocuments()} }

// CutAs cuts the plan as another was cut, and returns the pieces. It is ErrMemory where that one's groups do not fit.
func (p *Plan) CutAs(c Cut) ([]Piece, error) {
	if c.GroupPairs < 1 || c.PartDocuments < 1 {
		return nil, fmt.Errorf("%w: groups of %d pairs and parts of %d documents", option.ErrOption, c.GroupPairs, c.PartDocuments)
	}
	if c.GroupPairs > p.split.groupPairs {
		return nil, fmt.Errorf("%w for groups of %d pairs", option.ErrMemory, c.GroupPairs)
	}
	p.split.groupPairs, p.options.PartDocuments = c.GroupPairs, c.PartDocuments
	p.cutGroups()
	return p.Pieces(), nil
}

// pairsID is the name by which parts refer to a group's pairs.
func (p *Plan) pairsID(g span) string { return PairsID(p.runID, g.first, g.end) }

// PairsID is the name by which a part refers to pairs first to end-1 of a run.
func PairsID(runID string, first, end int) string { return fmt.Sprintf("%s %d-%d", runID, first, end) }

// Groups is how many groups the pairs are in.
func (p *Plan) Groups() int { return len(p.groups) }

// Manifest is that of the result, without what mining gives: the tallies that depend on documents, and the fingerprint of the negatives.
func (p *Plan) Manifest() negatives.Manifest {
	m := p.manifest
	m.Tallies = p.tallies()
	return m
}

// tallies are those that are known before anything is mined.
func (p *Plan) tallies() negatives.Tallies {
	s := p.selection
	return negatives.Tallies{Pairs: len(s.pairs), Queries: s.queries, SkippedMissing: s.missing, SkippedZero: s.zero, Twins: s.twins, Documents: int64(p.Documents())}
}

// MinePiece mines a piece.
func (p *Plan) MinePiece(ctx context.Context, piece Piece) (part *mine.Part, err error) {
	if piece.Group < 0 || piece.Group >= len(p.groups) || piece.First < 0 || piece.End > p.Documents() || piece.First >= piece.End {
		return nil, fmt.Errorf("%w: group %d of %d, documents %d to %d of %d", option.ErrOption, piece.Group, len(p.groups), piece.First, piece.End-1, p.Documents())
	}
	err = p.miner.alone(func() error {
		if !p.miner.has(p.pairsID(p.groups[piece.Group])) {
			g, err := p.projectGroup(ctx, piece.Group)
			if err == nil {
				err = p.miner.begin(ctx, g)
			}
			if err != nil {
				return err
			}
		}
		part, err = p.miner.scan(ctx, p.documents, piece.First, piece.End, 0, p.mined)
		return err
	})
	return part, err
}

// Accept checks that a part, which an earlier run mined, is that of a piece, and counts the piece as done.
func (p *Plan) Accept(piece Piece, part *mine.Part) error {
	options := p.miner.options
	options.PairsID = p.pairsID(p.groups[piece.Group])
	if err := CheckPart(part, options, mine.Range{First: int64(piece.First), End: int64(piece.End)}); err != nil {
		return err
	}
	p.mined(piece.End - piece.First)
	return nil
}

// mined counts documents as mined, for a group. The first begins the stage, which has all documents for every group.
func (p *Plan) mined(rows int) {
	p.began.Do(func() { p.report = p.options.Progress.Count("mine", len(p.groups)*p.Documents()) })
	p.report(rows)
}

// Close frees the plugin instances, and the engine where it is the plan's own.
func (p *Plan) Close(ctx context.Context) error {
	if p.miner == nil {
		return nil
	}
	return p.miner.Close(ctx)
}
