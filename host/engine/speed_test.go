package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/plugin/abi"
)

// counting counts the instances that an engine opens, and their calls.
type counting struct {
	Engine
	opened, closed, transforms int
}

func (c *counting) Open(ctx context.Context) (Instance, error) {
	i, err := c.Engine.Open(ctx)
	c.opened++
	return &countingInstance{i, c}, err
}

type countingInstance struct {
	Instance
	of *counting
}

// slowAtFirst is an engine whose first call takes long, as where another thread has the core.
type slowAtFirst struct{ counting }

func (s *slowAtFirst) Open(ctx context.Context) (Instance, error) {
	i, err := s.counting.Open(ctx)
	return &slowInstance{i, s}, err
}

type slowInstance struct {
	Instance
	of *slowAtFirst
}

func (i *slowInstance) Call(ctx context.Context, op abi.Op, n int) ([]byte, error) {
	if op == abi.OpTransform && i.of.transforms == 0 {
		time.Sleep(20 * time.Millisecond)
	}
	return i.Instance.Call(ctx, op, n)
}

// TestSpeedOfALostCore: one call that takes long is not the engine's speed. It would put one document in each call.
func TestSpeedOfALostCore(t *testing.T) {
	s := &slowAtFirst{counting{Engine: Native(Options{})}}
	if _, err := measureSpeed(t.Context(), s); err != nil || s.transforms < 2 {
		t.Errorf("%v: the speed is that of %d call", err, s.transforms)
	}
}

func (i *countingInstance) Call(ctx context.Context, op abi.Op, n int) ([]byte, error) {
	if op == abi.OpTransform {
		i.of.transforms++
	}
	return i.Instance.Call(ctx, op, n)
}

func (i *countingInstance) Close(ctx context.Context) error {
	i.of.closed++
	return i.Instance.Close(ctx)
}

// TestSpeedIsMeasuredOnce asks an engine twice: it measures the first time, on an instance that it closes.
func TestSpeedIsMeasuredOnce(t *testing.T) {
	c := &counting{Engine: Native(Options{})}
	var s speed
	first, err := s.measured(t.Context(), c)
	if err != nil || first <= 0 || c.opened != 1 || c.closed != 1 || c.transforms == 0 {
		t.Fatalf("%v, %v: %+v", first, err, c)
	}
	if again, err := s.measured(t.Context(), c); err != nil || again != first || c.opened != 1 {
		t.Errorf("%v, %v: it was measured again", again, err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	var other speed
	if _, err := other.measured(canceled, c); err == nil {
		t.Error("a context that has ended is not looked at")
	}
	if got, err := other.measured(t.Context(), c); err != nil || got <= 0 {
		t.Errorf("after an error: %v, %v", got, err)
	}
}

// TestSpeedSparesAnInstance: the instance that the speed was measured on is the next one that is opened. It has no
// projection. An instance that is lost is not kept.
func TestSpeedSparesAnInstance(t *testing.T) {
	e, err := Wasm(t.Context(), WasmOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	if _, err := e.Speed(t.Context()); err != nil {
		t.Fatal(err)
	}
	spare := e.(*wasm).spare.Load()
	first, second := open(t, e), open(t, e)
	if spare == nil || first != Instance(spare) || second == Instance(spare) {
		t.Errorf("the instances are %p and %p; the speed was measured on %p", first, second, spare)
	}
	for _, i := range []Instance{first, second} {
		if _, err := call(t, i, abi.OpTransform, nil); err == nil || errors.Is(err, ErrLost) {
			t.Errorf("without a projection: %v", err)
		}
		must(t, i, abi.OpInfo, nil)
	}
	lost, err := sparing{e.(*wasm)}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lost.(*sparedInstance).lost = ErrLost
	if err := lost.Close(t.Context()); err != nil || e.(*wasm).spare.Load() != nil {
		t.Errorf("an instance that is lost is kept; %v", err)
	}
}
