package mining

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// demoProjection is fitted once for all tests.
var demoProjection = sync.OnceValues(func() (*projection.Projection, error) {
	data, err := demo.Open()
	if err != nil {
		return nil, err
	}
	defer data.Close()
	return projection.Fit(context.Background(), data, projection.FitOptions{Components: 20})
})

func demoPlan(t *testing.T, o Options) *Plan {
	t.Helper()
	data, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = data.Close() })
	p, err := demoProjection()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(t.Context(), data, p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plan.Close(context.Background()) })
	return plan
}

// TestGroupsDoNotShow mines the pairs in groups of several sizes, against documents in pieces, in odd orders.
func TestGroupsDoNotShow(t *testing.T) {
	for _, o := range []Options{{Split: "all"}, {Positives: PositivesAll, Counts: true, Rule: "topk"}, {Zero: option.ZeroSkip}} {
		o.Engine = engine.Native(engine.Options{})
		plan := demoPlan(t, o)
		var want []byte
		for _, size := range []int{len(plan.selection.pairs), 1, 7, 30} {
			plan.split.groupPairs, plan.options.PartDocuments = size, 50+size
			plan.cutGroups()
			pieces := plan.Pieces()
			slices.Reverse(pieces)
			whole, lacking := plan.NewMerge(), plan.NewMerge()
			for i, piece := range pieces {
				part, err := plan.MinePiece(t.Context(), piece)
				if err == nil {
					err = whole.Add(part)
				}
				if err == nil && i > 0 {
					err = lacking.Add(part)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			r, err := whole.Result()
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := errors.Join(r.WriteNegatives(&got), r.Manifest.Write(&got)); err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got.Bytes()
			} else if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%+v: groups of %d pairs give another result", o, size)
			}
			if _, err := lacking.Result(); !errors.Is(err, option.ErrOption) {
				t.Errorf("with a part missing: %v", err)
			}
		}
	}
}

func TestSplitForPairs(t *testing.T) {
	plan := demoPlan(t, Options{Compute: Compute{Engine: engine.Native(engine.Options{})}})
	many := &selection{}
	for i := range 200_000 {
		many.pairs = append(many.pairs, rowPair{i, i})
	}
	// A thousand pairs of these take more than an instance may have, however much memory there is.
	large := &selection{together: map[int][]int{}}
	for i := range 1000 {
		large.pairs = append(large.pairs, rowPair{i, i})
		large.together[i] = make([]int, 30_000)
	}
	for _, row := range []struct {
		set       *selection
		memory    int64
		threads   int
		instances int
		groups    bool // more than one
	}{
		{plan.selection, 256 << 20, 2, 2, false},
		{plan.selection, 400 << 20, 64, 6, false},
		{many, 1 << 30, 2, 2, true},
		{many, 64 << 30, 2, 2, false},
		{large, 64 << 30, 2, 2, true},
	} {
		split, err := splitForPairs(Compute{Memory: option.ProcessBudget(row.memory), Threads: row.threads}, sizeOfProjection(plan.projection), row.set, 5, false)
		if err != nil {
			t.Fatal(err)
		}
		c := Compute{Memory: option.ProcessBudget(row.memory)}
		if n := c.needOfGroup(sizeOfProjection(plan.projection), row.set.largestGroup(split.groupPairs), 5, false); n.instance > split.instanceLimit+instanceMemory {
			t.Errorf("%d pairs in %d MiB: a group of %d takes %d MiB; an instance has %d", len(row.set.pairs), row.memory>>20, split.groupPairs, n.instance>>20, split.instanceLimit>>20)
		}
		if split.instances != row.instances || (split.groupPairs < len(row.set.pairs)) != row.groups || int64(split.instances)*split.instanceLimit > row.memory/2 {
			t.Errorf("%d pairs in %d MiB: %+v", len(row.set.pairs), row.memory>>20, split)
		}
	}
	_, err := splitForPairs(Compute{Memory: option.ProcessBudget(100 << 20), Threads: 2}, sizeOfProjection(plan.projection), many, 5, false)
	if !errors.Is(err, option.ErrMemory) {
		t.Errorf("in 100 MiB: %v", err)
	}
}
