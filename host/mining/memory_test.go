package mining

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// vectors are one model's rows in memory.
type vectors struct{ rows [][]float32 }

func (v vectors) Models() []string { return []string{"m"} }

func (v vectors) Open(string) (dataset.Matrix, error) { return dataset.NewMatrix("m", v.rows) }

// madeData is documents and queries of random vectors. Query i has so many positives, from document i on.
func madeData(t *testing.T, documents, queries, positives, width int) *dataset.Dataset {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(documents), uint64(queries)))
	side := func(name string, n int) dataset.Side {
		ids, rows := make([]string, n), make([][]float32, n)
		for i := range n {
			ids[i], rows[i] = fmt.Sprintf("%s%d", name, i), make([]float32, width)
			for c := range rows[i] {
				rows[i][c] = float32(random.NormFloat64())
			}
		}
		all, err := dataset.IDsOf(name, ids...)
		if err != nil {
			t.Fatal(err)
		}
		return dataset.Side{IDs: all, Vectors: vectors{rows}}
	}
	qrels := &dataset.Qrels{Split: "train", Path: "train"}
	for i := range queries {
		for d := i; d < min(i+positives, documents); d++ {
			qrels.Judgements = append(qrels.Judgements, dataset.Judgement{Query: fmt.Sprintf("q%d", i), Document: fmt.Sprintf("d%d", d), Score: 1})
		}
	}
	data, err := dataset.New("made", side("d", documents), side("q", queries), []*dataset.Qrels{qrels})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = data.Close() })
	return data
}

// shape is a data set to make, and what to mine of it.
type shape struct {
	documents, queries, positives, width int

	fit projection.FitOptions
	o   Options
}

// String is what tells a shape from others.
func (s shape) String() string {
	return fmt.Sprintf("%d documents, %d queries, %d positives each, %d columns, %+v, %s, top %d, counts %v, positives %s, %d threads, blocks of %d", s.documents, s.queries,
		s.positives, s.width, s.fit.Components, s.o.Rule, s.o.Top, s.o.Counts, s.o.Positives, s.o.Threads, s.o.BlockRows)
}

// newShape draws a shape: now the pairs need the most, now the negatives, the projection or the block.
func newShape(r *rand.Rand) shape {
	s := shape{documents: 20 + r.IntN(700), queries: 10 + r.IntN(200), positives: 1 + r.IntN(1+r.IntN(30)), width: 4 + r.IntN(90)}
	switch r.IntN(4) {
	case 0:
		s.fit.NoPCA = true
	case 1:
		s.fit.Variance = 0.5
	default:
		s.fit.Components = 1 + r.IntN(min(s.width, s.documents-1))
	}
	names := mine.RuleNames()
	s.o = Options{Rule: names[r.IntN(len(names))], Top: 1 + r.IntN(1+r.IntN(300)), Counts: r.IntN(2) == 0,
		Compute: Compute{Threads: 1 + r.IntN(4), PartDocuments: 20 + r.IntN(400), BlockRows: []int{0, 0, 1, 64, 700}[r.IntN(5)]}}
	if r.IntN(2) == 0 {
		s.o.Positives = PositivesAll
	}
	if r.IntN(4) == 0 {
		s.o.Zero = option.ZeroSkip
	}
	return s
}

// TestWhatAPlanBeginsFinishes plans data sets of random shapes in the least memory that a refusal names, and in somewhat
// more, where the pairs go in several groups: the sessions, which keep to their limits, never lack memory half-way, from
// begin to merge. What is refused before a fit is refused after it, and what would do does.
func TestWhatAPlanBeginsFinishes(t *testing.T) {
	spare := instanceMemory
	instanceMemory = 0 // no room to spare
	t.Cleanup(func() { instanceMemory = spare })
	// Nothing but pairs, of which each has its own query and positive, so that the plan leaves no more than it must.
	pairs := shape{1500, 1500, 1, 2, projection.FitOptions{NoPCA: true}, Options{Rule: "topk", Top: 1, Counts: true, Compute: Compute{Threads: 1, BlockRows: fewRows, PartDocuments: 512}}}
	shapes := []shape{pairs}
	drawn := 60
	if testing.Short() {
		drawn = 3
	}
	for seed := range drawn {
		shapes = append(shapes, newShape(rand.New(rand.NewPCG(uint64(seed), 14))))
	}
	several := 0
	for _, s := range shapes {
		if s.goesThrough(t) > 1 {
			several++
		}
	}
	if several < len(shapes)/2 {
		t.Errorf("the pairs went in several groups for %d of %d shapes: too few to tell", several, len(shapes))
	}
}

// goesThrough mines the shape in the least memory and in more, and returns in how many groups the pairs went at most.
func (s shape) goesThrough(t *testing.T) (groups int) {
	t.Helper()
	data := madeData(t, s.documents, s.queries, s.positives, s.width)
	s.o.Engine, s.o.Memory = engine.Native(engine.Options{}), option.Budget{Bytes: 1} // nothing is reserved, so that little is given
	var before, after *option.MemoryError
	if err := CheckBeforeFit(data, s.fit, s.o); !errors.As(err, &before) {
		t.Fatalf("%v in 1 byte, before the fit: %v", s, err)
	}
	p, err := projection.Fit(t.Context(), data, s.fit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.mine(t, data, p); !errors.As(err, &after) || after.Enough != after.Least {
		t.Fatalf("%v in 1 byte: %v", s, err)
	}
	if before.Least > after.Least || before.Enough < after.Enough {
		t.Errorf("%v takes %d bytes; before the fit it was said to take at least %d, and that %d would do", s, after.Least, before.Least, before.Enough)
	}
	if s.o.Memory.Bytes = before.Enough; CheckBeforeFit(data, s.fit, s.o) != nil {
		t.Errorf("%v: %d bytes would do, and are refused before the fit", s, before.Enough)
	}
	s.o.Memory.Bytes = after.Least - 2
	if _, err := s.mine(t, data, p); !errors.As(err, new(*option.MemoryError)) {
		t.Errorf("%v in less than the least: %v", s, err)
	}
	for _, memory := range []int64{after.Least, after.Least + after.Least/4, 2 * after.Least} {
		s.o.Memory.Bytes = memory
		n, err := s.mine(t, data, p)
		if err != nil {
			t.Errorf("%v in %d bytes: %v", s, memory, err)
		}
		groups = max(groups, n)
	}
	for _, part := range []int{1, 3, 20} {
		if err := s.mineInGroups(t, data, p, part); err != nil {
			t.Errorf("%v, a %dth of the pairs in a group: %v", s, part, err)
		}
	}
	return groups
}

// mineInGroups mines with a part of the pairs in each group, in instances that have just what such groups take.
func (s shape) mineInGroups(t *testing.T, data *dataset.Dataset, p *projection.Projection, part int) error {
	s.o.Memory = option.Budget{Bytes: 1 << 40}
	plan, err := NewPlan(t.Context(), data, p, s.o)
	if err != nil {
		return err
	}
	defer plan.Close(context.Background())
	plan.split.groupPairs = (len(plan.selection.pairs) + part - 1) / part
	plan.cutGroups()
	need := s.o.needOfGroup(sizeOfProjection(p), plan.selection.largestGroup(plan.split.groupPairs), plan.options.Top, s.o.Counts)
	err = plan.miner.instances.each(t.Context(), func(i engine.Client) error {
		return errors.Join(i.Reset(t.Context(), need.instance), i.LoadProjection(t.Context(), p.File))
	})
	if err != nil {
		return err
	}
	return mineSome(t, plan)
}

// mine makes a plan, and mines it. It returns in how many groups the pairs went.
func (s shape) mine(t *testing.T, data *dataset.Dataset, p *projection.Projection) (groups int, err error) {
	plan, err := NewPlan(t.Context(), data, p, s.o)
	if err != nil {
		return 0, err
	}
	defer plan.Close(context.Background())
	return plan.Groups(), mineSome(t, plan)
}

// mineSome mines the pieces of a plan, and merges their parts.
func mineSome(t *testing.T, plan *Plan) error {
	merge := plan.NewMerge()
	pieces := plan.Pieces()
	if len(pieces) > 10 { // the first and the last groups of many
		pieces = slices.Concat(pieces[:5], pieces[len(pieces)-5:])
	}
	for _, piece := range pieces {
		part, err := plan.MinePiece(t.Context(), piece)
		if err == nil {
			err = merge.Add(part)
		}
		if err != nil {
			return fmt.Errorf("begun, and not finished: %w", err)
		}
	}
	if len(pieces) < len(plan.Pieces()) {
		return nil
	}
	_, err := merge.Result()
	return err
}

// TestMoreThanAnInstanceMayHave: what no memory would do for is no lack of memory.
func TestMoreThanAnInstanceMayHave(t *testing.T) {
	err := need{instance: abi.MaxMemory + 1}.tooLittle(option.ProcessBudget(1 << 40))
	if errors.Is(err, option.ErrMemory) || !errors.Is(err, option.ErrOption) {
		t.Error(err)
	}
}
