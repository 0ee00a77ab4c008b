package mining

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// hooked is an engine whose instances call a function after each call of theirs, which may change the answer.
type hooked struct {
	engine.Engine
	after func(op abi.Op, answer []byte) []byte
}

func (e *hooked) Open(ctx context.Context) (engine.Instance, error) {
	i, err := e.Engine.Open(ctx)
	return &hookedInstance{i, e}, err
}

type hookedInstance struct {
	engine.Instance
	of *hooked
}

func (i *hookedInstance) Call(ctx context.Context, op abi.Op, n int) ([]byte, error) {
	answer, err := i.Instance.Call(ctx, op, n)
	return i.of.after(op, answer), err
}

// TestTwoGoroutinesAtOnce has a plan used while it mines. Each such call fails, and the part that is being mined is the
// right one all the same.
func TestTwoGoroutinesAtOnce(t *testing.T) {
	native := engine.Native(engine.Options{})
	marshal := func(part *mine.Part, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		b, err := part.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	quiet := demoPlan(t, Options{Compute: Compute{Engine: native, BlockRows: 16}})
	want := marshal(quiet.MinePiece(t.Context(), quiet.Pieces()[0]))

	var once sync.Once
	var meanwhile func()
	came := 0
	e := &hooked{native, func(op abi.Op, answer []byte) []byte {
		if op == abi.OpPush && meanwhile != nil {
			once.Do(meanwhile)
		}
		return answer
	}}
	plan := demoPlan(t, Options{Compute: Compute{Engine: e, BlockRows: 16}})
	piece := plan.Pieces()[0]
	meanwhile = func() {
		_, err := plan.MinePiece(t.Context(), piece)
		_, err2 := plan.ProjectGroup(t.Context(), 0)
		_, err3 := plan.miner.Mine(t.Context(), plan.pairsID(plan.groups[0]), plan.documents, 0, nil)
		for _, err := range []error{err, err2, err3, plan.miner.Begin(t.Context(), &Group{}), plan.Close(t.Context())} {
			if came++; !errors.Is(err, ErrBusy) {
				t.Errorf("call %d: %v", came, err)
			}
		}
		if plan.miner.Has(plan.pairsID(plan.groups[0])) {
			t.Error("another goroutine is told that the group is there for it")
		}
	}
	if got := marshal(plan.MinePiece(t.Context(), piece)); !bytes.Equal(got, want) || came != 5 {
		t.Errorf("after %d calls meanwhile the part differs", came)
	}
}

// TestCheckPart takes a part for what it is, and for nothing else.
func TestCheckPart(t *testing.T) {
	plan := demoPlan(t, Options{Compute: Compute{Engine: engine.Native(engine.Options{})}})
	part, err := plan.MinePiece(t.Context(), Piece{0, 10, 200})
	if err != nil {
		t.Fatal(err)
	}
	options, documents := part.Options, mine.Range{First: 10, End: 200}
	if err := CheckPart(part, options, documents); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(p *mine.Part){
		"pairs":      func(p *mine.Part) { p.PairsID += "x" },
		"projection": func(p *mine.Part) { p.Projection = "x" },
		"rule":       func(p *mine.Part) { p.Rule.Name = "topk" },
		"floor":      func(p *mine.Part) { p.Rule.Floor = &mine.Bound{} },
		"no floor":   func(p *mine.Part) { p.Rule.Floor = nil },
		"cap":        func(p *mine.Part) { p.Rule.Cap = &mine.Bound{} },
		"eq6":        func(p *mine.Part) { p.Rule.Eq6 = !p.Rule.Eq6 },
		"top":        func(p *mine.Part) { p.Top++ },
		"counts":     func(p *mine.Part) { p.Counts = !p.Counts },
		"zero":       func(p *mine.Part) { p.SkipZero = !p.SkipZero },
		"range":      func(p *mine.Part) { p.Ranges = []mine.Range{{First: 10, End: 201}} },
		"no range":   func(p *mine.Part) { p.Ranges = nil },
		"document":   func(p *mine.Part) { p.Found[0] = []mine.Negative{{Position: 9}} },
		"end":        func(p *mine.Part) { p.Found[0] = []mine.Negative{{Position: 200}} },
	} {
		changed := *part
		changed.Found = slices.Clone(part.Found)
		change(&changed)
		if err := CheckPart(&changed, options, documents); err == nil {
			t.Errorf("%s: it is no error", name)
		}
	}
}

// TestGoroutinesInTurn has two goroutines use a miner in turn, each for its own group. The one that the other came
// between gets an error, and no part of the other's group.
func TestGoroutinesInTurn(t *testing.T) {
	plan := demoPlan(t, Options{Compute: Compute{Engine: engine.Native(engine.Options{})}})
	all := len(plan.selection.pairs)
	plan.split.groupPairs = all / 2
	plan.cutGroups()
	a, err := plan.ProjectGroup(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := plan.ProjectGroup(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	m := plan.miner
	if err := m.Begin(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- m.Begin(t.Context(), b) }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if part, err := m.Mine(t.Context(), a.ID, plan.documents, 0, nil); !errors.Is(err, option.ErrOption) {
		t.Errorf("the goroutine that began %q is given %v, %v", a.ID, part, err)
	}
	if part, err := m.Mine(t.Context(), b.ID, plan.documents, 0, nil); err != nil || part.PairsID != b.ID {
		t.Errorf("the one that came last: %v, %v", part, err)
	}
}

// TestAnothersPart has an instance answer with the part of other documents: the plan does not take it for its own.
func TestAnothersPart(t *testing.T) {
	var other []byte
	e := &hooked{engine.Native(engine.Options{}), func(op abi.Op, answer []byte) []byte {
		if op == abi.OpFinish && other != nil {
			return other
		}
		return answer
	}}
	plan := demoPlan(t, Options{Compute: Compute{Engine: e, Threads: 1}})
	part, err := plan.MinePiece(t.Context(), Piece{0, 0, 100})
	if err != nil {
		t.Fatal(err)
	}
	if other, err = part.Marshal(); err != nil {
		t.Fatal(err)
	}
	if part, err := plan.MinePiece(t.Context(), Piece{0, 100, 200}); err == nil {
		t.Errorf("it is taken for that of documents %v", part.Ranges)
	}
}
