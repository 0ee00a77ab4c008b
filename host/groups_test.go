package host

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/plugin/mine"
)

func demoJob(t *testing.T, o MineOptions) *Job {
	t.Helper()
	f, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	p, err := Fit(t.Context(), f, FitOptions{Components: 20})
	if err != nil {
		t.Fatal(err)
	}
	j, err := NewJob(t.Context(), f, p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close(t.Context()) })
	return j
}

// TestGroupsDoNotShow mines the pairs in groups of several sizes, against documents in pieces, in odd orders.
func TestGroupsDoNotShow(t *testing.T) {
	for _, o := range []MineOptions{{Split: "all"}, {Positives: PositivesAll, Counts: true, Rule: "topk"}, {Zero: ZeroSkip}} {
		o.Engine = engine.Native(engine.Options{})
		j := demoJob(t, o)
		var want []byte
		for _, size := range []int{len(j.set.pairs), 1, 7, 30} {
			j.plan.groupPairs, j.options.PartDocuments = size, 50+size
			j.cut()
			pieces := j.Pieces()
			slices.Reverse(pieces)
			var parts []*mine.Part
			for _, piece := range pieces {
				part, err := j.Part(t.Context(), piece)
				if err != nil {
					t.Fatal(err)
				}
				parts = append(parts, part)
			}
			r, err := j.Result(parts...)
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
			if _, err := j.Result(parts[1:]...); !errors.Is(err, ErrOption) {
				t.Errorf("with a part missing: %v", err)
			}
		}
	}
}

func TestPlanMemory(t *testing.T) {
	j := demoJob(t, MineOptions{RunOptions: RunOptions{Engine: engine.Native(engine.Options{})}})
	many := &pairSet{}
	for i := range 200_000 {
		many.pairs = append(many.pairs, pairRows{i, i})
	}
	for _, row := range []struct {
		set       *pairSet
		memory    int64
		threads   int
		instances int
		groups    bool // more than one
	}{
		{j.set, 256 << 20, 2, 2, false},
		{j.set, 400 << 20, 64, 7, false},
		{many, 1 << 30, 2, 2, true},
		{many, 64 << 30, 2, 2, false},
	} {
		plan, err := planMemory(RunOptions{Memory: row.memory, Threads: row.threads}, j.projection, row.set, 5)
		if err != nil {
			t.Fatal(err)
		}
		if plan.instances != row.instances || (plan.groupPairs < len(row.set.pairs)) != row.groups || int64(plan.instances)*plan.instanceLimit > row.memory/2 {
			t.Errorf("%d pairs in %d MiB: %+v", len(row.set.pairs), row.memory>>20, plan)
		}
	}
	_, err := planMemory(RunOptions{Memory: 100 << 20, Threads: 2}, j.projection, many, 5)
	if !errors.Is(err, ErrMemory) {
		t.Errorf("in 100 MiB: %v", err)
	}
}
