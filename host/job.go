package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Job is what to mine, ready: pairs selected, in groups that fit into memory. Any piece of it can be mined, in any order, and the parts that come
// of it make the result. It is for one goroutine at a time.
type Job struct {
	options    MineOptions
	folder     *dataset.Dataset
	projection *Projection
	documents  []dataset.Matrix // of each model
	queries    []dataset.Matrix
	set        *pairSet
	plan       memoryPlan
	groups     []pairRange
	manifest   Manifest // without tallies and negatives
	identity   string   // the manifest's fingerprint
	miner      *Miner
	count      func(rows int) // documents mined, of all pieces
}

// pairRange is pairs first to end-1 of the split.
type pairRange struct{ first, end int }

// Piece is some of a job: a group of pairs against documents First to End-1.
type Piece struct {
	Group      int
	First, End int
}

// NewJob selects the pairs of a folder. Close it after use.
func NewJob(ctx context.Context, folder *dataset.Dataset, p *Projection, o MineOptions) (_ *Job, err error) {
	o, rule, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	models, err := p.ensemble(folder)
	if err != nil {
		return nil, err
	}
	j := &Job{options: o, folder: folder, projection: p}
	for _, m := range models {
		j.documents, j.queries = append(j.documents, m.Documents), append(j.queries, m.Queries)
	}
	if j.set, err = selectPairs(folder, o); err != nil {
		return nil, err
	}
	inputs, err := folder.Fingerprints(models)
	if err != nil {
		return nil, err
	}
	j.manifest = newManifest(o, rule, p, inputs)
	j.identity = j.manifest.Fingerprint()
	if j.plan, err = planMemory(o.RunOptions, p, j.set, o.Top); err != nil {
		return nil, err
	}
	if j.miner, err = newMiner(ctx, p, &j.manifest, o.RunOptions, j.plan); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close(ctx))
		}
	}()
	if err := j.dropZeros(ctx); err != nil {
		return nil, err
	}
	j.cut()
	return j, nil
}

// cut makes the groups.
func (j *Job) cut() {
	j.groups = nil
	for first := 0; first < len(j.set.pairs); first += j.plan.groupPairs {
		j.groups = append(j.groups, pairRange{first, min(first+j.plan.groupPairs, len(j.set.pairs))})
	}
}

// dropZeros leaves out the pairs of zero vectors, where they are to be left out.
func (j *Job) dropZeros(ctx context.Context) error {
	if j.options.Zero != ZeroSkip {
		return nil
	}
	const step = 1 << 12 // pairs whose vectors are held at a time
	done := progressOf(j.options.Progress, "look for zero vectors", len(j.set.pairs))
	queries, positives := map[int]bool{}, map[int]bool{}
	for first := 0; first < len(j.set.pairs); first += step {
		end := min(first+step, len(j.set.pairs))
		g := j.set.group(first, end)
		for _, side := range []struct {
			xs   []dataset.Matrix
			rows []int
			zero map[int]bool
		}{{j.queries, g.queries, queries}, {j.documents, g.positives, positives}} {
			_, zeros, err := j.miner.workers.project(ctx, side.xs, side.rows, ZeroSkip, func(int) {})
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
	j.set.drop(queries, positives)
	if len(j.set.pairs) == 0 {
		return &dataset.Error{Path: j.set.path, Row: -1, Problem: fmt.Sprintf("all %d pairs of split %q were left out: their vectors are zero", j.set.zero, j.options.Split),
			Hint: "make the vectors again"}
	}
	return nil
}

// progressOf returns a function to count rows with.
func progressOf(p Progress, stage string, total int) func(rows int) {
	c := &counter{progress: p, stage: stage, total: int64(total)}
	p.report(stage, 0, c.total)
	return c.add
}

// Documents is how many documents there are to mine.
func (j *Job) Documents() int { return j.documents[0].Rows() }

// Pieces is the whole job in pieces that take some time each, in the order that is best to mine them in.
func (j *Job) Pieces() (pieces []Piece) {
	step := j.pieceDocuments()
	j.count = progressOf(j.options.Progress, "mine", len(j.groups)*j.Documents())
	for g := range j.groups {
		for first := 0; first < j.Documents(); first += step {
			pieces = append(pieces, Piece{g, first, min(first+step, j.Documents())})
		}
	}
	return pieces
}

// pieceDocuments is how many documents to mine for a part: where that is not given, what takes half a minute or so at 20 billion multiply-adds a
// second.
func (j *Job) pieceDocuments() int {
	if j.options.PartDocuments > 0 {
		return j.options.PartDocuments
	}
	const partMultiplyAdds = 6e11
	perRow := j.miner.workers.multiplyAdds(j.groups[0].end - j.groups[0].first)
	return int(max(4096, min(partMultiplyAdds/float64(perRow), 1<<30)))
}

// pairsID names a group's pairs, in parts.
func (j *Job) pairsID(g pairRange) string { return PairsID(j.identity, g.first, g.end) }

// Group projects a group's pairs.
func (j *Job) Group(ctx context.Context, number int) (*PairGroup, error) {
	of := j.groups[number]
	g, k := j.set.group(of.first, of.end), j.projection.Width()
	done := progressOf(j.options.Progress, "project pairs", len(g.queries)+len(g.positives))
	queries, _, err := j.miner.workers.project(ctx, j.queries, g.queries, ZeroError, done)
	if err != nil {
		return nil, err
	}
	positives, _, err := j.miner.workers.project(ctx, j.documents, g.positives, ZeroError, done)
	if err != nil {
		return nil, err
	}
	pairQuery, pairPositive := make([]int64, len(g.pairs)), make([]int64, len(g.pairs))
	for i, p := range g.pairs {
		pairQuery[i], pairPositive[i] = p[0], p[1]
	}
	excludeOffsets, exclude := ragged(g.exclude)
	tensors := []safetensors.Tensor{
		safetensors.OfFloat32("queries", queries, len(g.queries), k),
		safetensors.OfFloat32("positives", positives, len(g.positives), k),
		safetensors.OfInt64("pair_query", pairQuery, len(pairQuery)),
		safetensors.OfInt64("pair_positive", pairPositive, len(pairPositive)),
		safetensors.OfInt64("exclude_offsets", excludeOffsets, len(excludeOffsets)),
		safetensors.OfInt64("exclude", exclude, len(exclude)),
	}
	if offsets, together := ragged(g.together); len(together) > 0 {
		tensors = append(tensors, safetensors.OfInt64("together_offsets", offsets, len(offsets)), safetensors.OfInt64("together", together, len(together)))
	}
	return &PairGroup{ID: j.pairsID(of), Tensors: tensors, queries: g.queries, positives: g.positives}, nil
}

// Groups is how many groups the pairs are in.
func (j *Job) Groups() int { return len(j.groups) }

// Names returns the ids of a group's queries and positives, in the order of its tensors.
func (j *Job) Names(g *PairGroup) (queries, positives []string, err error) {
	for _, side := range []struct {
		ids  dataset.IDs
		rows []int
		to   *[]string
	}{{j.folder.Queries, g.queries, &queries}, {j.folder.Documents, g.positives, &positives}} {
		wanted := map[int]bool{}
		for _, row := range side.rows {
			wanted[row] = true
		}
		names, err := side.ids.OfRows(wanted)
		if err != nil {
			return nil, nil, err
		}
		for _, row := range side.rows {
			*side.to = append(*side.to, names[row])
		}
	}
	return queries, positives, nil
}

// Manifest is that of the result, without what comes with it: the tallies that depend on documents, and the fingerprint of the negatives.
func (j *Job) Manifest() Manifest {
	m := j.manifest
	m.Tallies = j.tallies()
	return m
}

// tallies are those that are known before anything is mined.
func (j *Job) tallies() Tallies {
	s := j.set
	return Tallies{Pairs: len(s.pairs), Queries: s.queries, SkippedMissing: s.missing, SkippedZero: s.zero, Documents: int64(j.Documents())}
}

// Matrices are the documents' vectors, of each model of the projection.
func (j *Job) Matrices() []dataset.Matrix { return j.documents }

// Part mines a piece.
func (j *Job) Part(ctx context.Context, p Piece) (*mine.Part, error) {
	if p.Group < 0 || p.Group >= len(j.groups) || p.First < 0 || p.End > j.Documents() || p.First >= p.End {
		return nil, fmt.Errorf("%w: group %d of %d, documents %d to %d of %d", ErrOption, p.Group, len(j.groups), p.First, p.End-1, j.Documents())
	}
	if id := j.pairsID(j.groups[p.Group]); !j.miner.Has(id) {
		g, err := j.Group(ctx, p.Group)
		if err == nil {
			err = j.miner.Begin(ctx, g)
		}
		if err != nil {
			return nil, err
		}
	}
	if j.count == nil {
		j.count = progressOf(j.options.Progress, "mine", p.End-p.First)
	}
	return j.miner.scan(ctx, j.documents, p.First, p.End, 0, j.count)
}

// Close frees the plugin instances, and the engine where it is the job's own.
func (j *Job) Close(ctx context.Context) error {
	if j.miner == nil {
		return nil
	}
	return j.miner.Close(ctx)
}
