package engine

import (
	"context"
	"errors"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/safetensors"
	"github.com/quarry-hn/quarry/plugin/session"
)

var _ Engine = (*native)(nil)

// Native returns the engine that runs the plugin's packages in this process.
func Native(o Options) Engine { return &native{options: o} }

type native struct {
	options Options
	speed   speed
}

func (*native) Name() string { return "native" }

func (n *native) MemoryLimit() int64 { return n.options.memoryLimit() }

// newNativeKernel is the kernel of the native engine on this machine, for one instance.
func newNativeKernel() kernel.Kernel { return kernel.Plain }

func (n *native) Speed(ctx context.Context) (float64, error) { return n.speed.measured(ctx, n) }

func (n *native) Open(ctx context.Context) (Instance, error) {
	i := &nativeInstance{session: session.New(newNativeKernel())}
	return i, Client{i}.Reset(ctx, n.options.memoryLimit())
}

func (*native) Close(context.Context) error { return nil }

type nativeInstance struct {
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
	*i = nativeInstance{session: session.New(newNativeKernel())}
	return nil
}
