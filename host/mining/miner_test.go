package mining

import (
	"bytes"
	"context"
	"testing"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// garbling is an engine whose first instance gives garbage for its first finish.
type garbling struct {
	engine.Engine
	opened, garbled bool
}

func (g *garbling) Open(ctx context.Context) (engine.Instance, error) {
	i, err := g.Engine.Open(ctx)
	if g.opened || err != nil {
		return i, err
	}
	g.opened = true
	return &garbled{i, g}, nil
}

type garbled struct {
	engine.Instance
	of *garbling
}

func (g *garbled) Call(ctx context.Context, op abi.Op, n int) ([]byte, error) {
	out, err := g.Instance.Call(ctx, op, n)
	if op == abi.OpFinish && !g.of.garbled {
		g.of.garbled = true
		return []byte("garbage"), err
	}
	return out, err
}

// TestMineAgain: after an answer that is no part the other instances still have their documents, which must not come into the next part too.
func TestMineAgain(t *testing.T) {
	part := func(e engine.Engine, fails bool) []byte {
		plan := demoPlan(t, Options{Compute: Compute{Engine: e, Threads: 3, BlockRows: 16}})
		piece := plan.Pieces()[0]
		var p *mine.Part
		var err error
		if p, err = plan.MinePiece(t.Context(), piece); (err != nil) != fails {
			t.Fatal(err)
		}
		if fails {
			if p, err = plan.MinePiece(t.Context(), piece); err != nil {
				t.Fatal(err)
			}
		}
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(part(&garbling{Engine: engine.Native(engine.Options{})}, true), part(engine.Native(engine.Options{}), false)) {
		t.Error("a part that was mined again differs")
	}
}
