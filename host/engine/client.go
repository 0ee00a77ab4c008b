package engine

import (
	"bytes"
	"context"
	"fmt"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Client calls the operations of one instance with typed messages (package plugin/message). It is for one goroutine at a time.
type Client struct{ Instance }

// Fill writes the data of a message's tensor where the instance will read it.
type Fill func(tensor string, data []byte) error

// Info returns what the module says of itself, as JSON; docs/ABI.md, info.
func (c Client) Info(ctx context.Context) ([]byte, error) { return SendBytes(ctx, c, abi.OpInfo, nil) }

// Reset makes the instance forget projection and pairs, and lets it use memoryLimit bytes from now on.
func (c Client) Reset(ctx context.Context, memoryLimit int64) error {
	tensors, options := (&message.Reset{MemoryLimit: memoryLimit}).Encode()
	_, err := SendTensors(ctx, c, abi.OpReset, tensors, options)
	return err
}

// LoadProjection gives the instance a projection file.
func (c Client) LoadProjection(ctx context.Context, file []byte) error {
	_, err := SendBytes(ctx, c, abi.OpLoadProjection, file)
	return err
}

// Transform projects rows, whose vectors fill writes. The answer is valid until the client's next call.
func (c Client) Transform(ctx context.Context, m *message.Transform, fill Fill) (*message.Vectors, error) {
	tensors, options := m.Encode()
	out, err := Send(ctx, c, abi.OpTransform, tensors, options, fill)
	if err != nil {
		return nil, err
	}
	v, err := message.DecodeTransformed(out)
	if err != nil {
		return nil, fmt.Errorf("answer to transform: %w", err)
	}
	return v, nil
}

// Begin gives the instance pairs, as tensors of a begin message, and what to mine for them. Pairs that it had are forgotten.
func (c Client) Begin(ctx context.Context, pairs []safetensors.Tensor, o *mine.Options) error {
	_, err := SendTensors(ctx, c, abi.OpBegin, pairs, message.EncodeOptions(o))
	return err
}

// Push gives the instance a block of documents, whose vectors fill writes.
func (c Client) Push(ctx context.Context, m *message.Push, fill Fill) error {
	tensors, options := m.Encode()
	_, err := Send(ctx, c, abi.OpPush, tensors, options, fill)
	return err
}

// Finish returns the part for the documents that were pushed since begin, or since the finish before. The pairs stay.
func (c Client) Finish(ctx context.Context) (*mine.Part, error) {
	out, err := SendBytes(ctx, c, abi.OpFinish, nil)
	if err != nil {
		return nil, err
	}
	part, err := mine.ParsePart(bytes.Clone(out))
	if err != nil {
		return nil, fmt.Errorf("answer to finish: %w", err)
	}
	return part, nil
}
