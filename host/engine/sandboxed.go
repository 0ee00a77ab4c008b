package engine

import (
	"context"
	"sync"
)

var _ Engine = (*sandboxed)(nil)

// sandboxed is the native engine of a processor that has no kernel in assembly: the engine on wazero, which is loaded when it
// is first needed.
type sandboxed struct {
	options WasmOptions
	mutex   sync.Mutex
	wasm    Engine
}

// Name says what runs.
func (*sandboxed) Name() string { return "native (wasm)" }

func (s *sandboxed) MemoryLimit() int64 { return s.options.memoryLimit() }

// loaded is the engine on wazero.
func (s *sandboxed) loaded(ctx context.Context) (Engine, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.wasm == nil {
		e, err := Wasm(ctx, s.options)
		if err != nil {
			return nil, err
		}
		s.wasm = e
	}
	return s.wasm, nil
}

func (s *sandboxed) Open(ctx context.Context) (Instance, error) {
	e, err := s.loaded(ctx)
	if err != nil {
		return nil, err
	}
	return e.Open(ctx)
}

func (s *sandboxed) Speed(ctx context.Context) (float64, error) {
	e, err := s.loaded(ctx)
	if err != nil {
		return 0, err
	}
	return e.Speed(ctx)
}

// Close closes what was loaded. It is loaded again where an instance is opened after that.
func (s *sandboxed) Close(ctx context.Context) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.wasm == nil {
		return nil
	}
	e := s.wasm
	s.wasm = nil
	return e.Close(ctx)
}
