// Package engine runs the plugin's operations: as Wasm on wazero, or natively.
//
// Input: messages, typed ones by a Client, which are written straight into an instance's memory. Output: the instance's answers. Package
// mining calls it. Every engine gives the same answers; see docs/ABI.md.
package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Engine makes instances. Its methods may be called by several goroutines at once.
type Engine interface {
	// Name is "wasm", "wasm-interpreter", "native", or "native (wasm)" where the native engine runs the module, for reports.
	Name() string
	// Open returns a new instance, which has no projection and no pairs.
	Open(ctx context.Context) (Instance, error)
	// MemoryLimit is how many bytes an instance may use as it is opened.
	MemoryLimit() int64
	// Speed is about how many multiply-adds a second one instance makes. The first call measures it, on an instance that no caller has. It
	// decides how much work goes into one call; results do not depend on it.
	Speed(ctx context.Context) (perSecond float64, err error)
	// Close frees what the engine holds. Its instances have to be closed before.
	Close(ctx context.Context) error
}

// Instance holds one projection and one set of pairs. It is for one goroutine at a time.
type Instance interface {
	// Buffer returns memory of n bytes, 8-aligned, for the message of the next Call. It stays valid until that Call.
	Buffer(ctx context.Context, n int) ([]byte, error)
	// Call runs an operation on the first n bytes of the buffer. The answer stays valid until the next call of a method. An error that
	// the plugin itself gave is an *abi.Error. After ErrLost the instance is of no more use: close it.
	Call(ctx context.Context, op abi.Op, n int) ([]byte, error)
	// Close frees the instance.
	Close(ctx context.Context) error
}

// ErrLost is returned, wrapped, when an instance trapped and cannot be used any more. Other instances are not affected.
var ErrLost = errors.New("the plugin instance was lost")

// Options are what every engine takes. The zero value is usable.
type Options struct {
	// MemoryLimit is how many bytes one instance may use; 0 means abi.MaxMemory (1 GiB). A call that would need more fails
	// with abi.Memory before it takes it. Example: 256 << 20.
	MemoryLimit int64
}

// shortened is an error of the plugin without the middle of a long input that it quotes.
func shortened(e *abi.Error) *abi.Error {
	short := *e
	short.Message, short.Tensor = excerpt.Text(e.Message), excerpt.Text(e.Tensor)
	return &short
}

func (o Options) memoryLimit() int64 {
	if o.MemoryLimit == 0 {
		return abi.MaxMemory
	}
	return o.MemoryLimit
}

// Send lays out a message in the instance's buffer, has fill write the data of each tensor there, and calls op. It does not look at the
// tensors' own Data.
func Send(ctx context.Context, i Instance, op abi.Op, tensors []safetensors.Tensor, options map[string]string,
	fill Fill) ([]byte, error) {
	layout, err := safetensors.Lay(tensors, options)
	if err != nil {
		return nil, err
	}
	buffer, err := i.Buffer(ctx, layout.Size)
	if err != nil {
		return nil, err
	}
	copy(buffer, layout.Header)
	for _, t := range tensors {
		begin, size := layout.Offsets[t.Name], t.DType.Size()
		for _, n := range t.Shape {
			size *= n
		}
		if err := fill(t.Name, buffer[begin:begin+size:begin+size]); err != nil {
			return nil, err
		}
	}
	return i.Call(ctx, op, layout.Size)
}

// SendTensors is Send for tensors that have their data.
func SendTensors(ctx context.Context, i Instance, op abi.Op, tensors []safetensors.Tensor, options map[string]string) ([]byte, error) {
	data := map[string][]byte{}
	for _, t := range tensors {
		data[t.Name] = t.Data
	}
	return Send(ctx, i, op, tensors, options, func(tensor string, to []byte) error {
		if n := copy(to, data[tensor]); n != len(to) || n != len(data[tensor]) {
			return fmt.Errorf("tensor %s has %d bytes; its shape takes %d", tensor, len(data[tensor]), len(to))
		}
		return nil
	})
}

// SendBytes calls op on a message that is there already.
func SendBytes(ctx context.Context, i Instance, op abi.Op, message []byte) ([]byte, error) {
	buffer, err := i.Buffer(ctx, len(message))
	if err != nil {
		return nil, err
	}
	copy(buffer, message)
	return i.Call(ctx, op, len(message))
}
