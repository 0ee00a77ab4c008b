package engine

import (
	"context"
	"errors"

	"github.com/quarry-hn/quarry/host/internal/compiler"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/safetensors"
	"github.com/quarry-hn/quarry/plugin/session"
)

var _ Engine = (*native)(nil)

// Native returns the engine that runs the plugin's packages in this process, on the fastest kernel in assembly that the
// processor has. Where there is none, it opens instances of the module instead, whose kernel is faster than plain Go. Where
// wazero would interpret the module, it is plain Go.
func Native(o Options) Engine {
	natives := kernel.Natives()
	switch {
	case len(natives) > 0:
		return &native{name: "native", options: o, kernel: natives[0].New}
	case compiler.Here():
		return &sandboxed{options: WasmOptions{Options: o}}
	}
	return plainNative(o)
}

// LoadNative is Native, and where that opens instances of the module, it has loaded it, with those options.
func LoadNative(ctx context.Context, o WasmOptions) (Engine, error) {
	e := Native(o.Options)
	if s, ok := e.(*sandboxed); ok {
		s.options = o
		if _, err := s.loaded(ctx); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Natives returns a native engine for every kernel that this machine runs, plain Go last: for tests that they agree, and for
// benchmarks.
func Natives(o Options) (all []Engine) {
	for _, n := range kernel.Natives() {
		all = append(all, &native{name: "native " + n.Name(), options: o, kernel: n.New})
	}
	return append(all, plainNative(o))
}

func plainNative(o Options) Engine {
	return &native{name: "native " + kernel.Plain.Name(), options: o, kernel: func() kernel.Kernel { return kernel.Plain }}
}

type native struct {
	name    string
	options Options
	kernel  func() kernel.Kernel // a new one for each instance
	speed   speed
}

func (n *native) Name() string { return n.name }

func (n *native) MemoryLimit() int64 { return n.options.memoryLimit() }

func (n *native) Speed(ctx context.Context) (float64, error) { return n.speed.measured(ctx, n) }

func (n *native) Open(ctx context.Context) (Instance, error) {
	i := &nativeInstance{kernel: n.kernel, session: session.New(n.kernel())}
	return i, Client{i}.Reset(ctx, n.options.memoryLimit())
}

func (*native) Close(context.Context) error { return nil }

type nativeInstance struct {
	kernel  func() kernel.Kernel
	session *session.Session
	buffer  []uint64
}

func (i *nativeInstance) Buffer(_ context.Context, n int) ([]byte, error) {
	if n > abi.MaxMessage {
		return nil, messageTooLarge(n)
	}
	if words := n/8 + 1; words > len(i.buffer) {
		i.buffer = make([]uint64, words)
	}
	return safetensors.Bytes(i.buffer)[:n:n], nil
}

func messageTooLarge(n int) error {
	return abi.Errorf(abi.Limit, "message of %d bytes; the limit is %d", n, abi.MaxMessage)
}

func (i *nativeInstance) Call(ctx context.Context, op abi.Op, n int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out, err := i.session.Call(op, safetensors.Bytes(i.buffer)[:n:n])
	if e := (*abi.Error)(nil); errors.As(err, &e) {
		err = shortened(e)
	}
	return out, err
}

func (i *nativeInstance) Close(context.Context) error {
	*i = nativeInstance{kernel: i.kernel, session: session.New(i.kernel())}
	return nil
}
