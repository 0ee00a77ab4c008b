// Command scan times the mining of projected vectors that are in memory already: what is left of quarry mine once vectors are read and
// projected. peers.py starts it, once for every round, beside programs that do the same.
//
//	scan -engine wasm|native [-rule dual] [-split all] [-threads 2] -o negatives.jsonl PROJECTED
//
// PROJECTED is a folder as quarry reads it, with the vectors of one model. The clock runs from the first call of a plugin instance to the merged
// part: vectors are copied into the instances, and nothing is read. The program prints {"seconds": ...}.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/projection"
)

func main() {
	var o mining.Options
	name := flag.String("engine", "wasm", "wasm or native")
	output := flag.String("o", "", "file to write the negatives to")
	flag.StringVar(&o.Rule, "rule", "dual", "rule of quarry mine")
	flag.StringVar(&o.Split, "split", "all", "split of quarry mine")
	flag.IntVar(&o.Threads, "threads", 0, "goroutines and instances; 0 means all cores")
	flag.Parse()
	seconds, err := mine(context.Background(), flag.Arg(0), *name, *output, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]float64{"seconds": seconds.Seconds()}) // nobody is left to tell
}

func mine(ctx context.Context, folder, engineName, output string, o mining.Options) (took time.Duration, err error) {
	data, err := open(folder)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	p, err := projection.Fit(ctx, data, projection.FitOptions{NoPCA: true, NoNormalize: true})
	if err != nil {
		return 0, err
	}
	if o.Engine, err = newEngine(ctx, engineName); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, o.Engine.Close(ctx)) }()
	plan, err := mining.NewPlan(ctx, data, p, o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, plan.Close(ctx)) }()
	merge := plan.NewMerge()
	began := time.Now()
	for _, piece := range plan.Pieces() {
		part, err := plan.MinePiece(ctx, piece)
		if err == nil {
			err = merge.Add(part)
		}
		if err != nil {
			return 0, err
		}
	}
	took = time.Since(began)
	return took, write(merge, output)
}

func newEngine(ctx context.Context, name string) (engine.Engine, error) {
	switch name {
	case "wasm":
		return engine.Wasm(ctx, engine.WasmOptions{})
	case "native":
		return engine.Native(engine.Options{}), nil
	}
	return nil, fmt.Errorf("-engine is %q; it is wasm or native", name)
}

func write(merge *mining.Merge, output string) (err error) {
	result, err := merge.Result()
	if err != nil {
		return err
	}
	f, err := os.Create(output)
	if err != nil {
		return err
	}
	return errors.Join(result.WriteNegatives(f), f.Close())
}

// open opens a folder and reads all its vectors into memory.
func open(folder string) (*dataset.Dataset, error) {
	data, err := beir.Open(folder)
	if err != nil {
		return nil, err
	}
	data.Documents.Vectors, data.Queries.Vectors = held{data.Documents.Vectors}, held{data.Queries.Vectors}
	return data, nil
}

// held are vectors that are in memory once they are opened.
type held struct{ dataset.Vectors }

func (h held) Open(model string) (dataset.Matrix, error) {
	x, err := h.Vectors.Open(model)
	if err != nil {
		return nil, err
	}
	m := heldMatrix{x, make([]byte, x.Rows()*x.Width()*x.DType().Size())}
	return m, x.ReadRows(m.rows, 0, x.Rows())
}

type heldMatrix struct {
	dataset.Matrix
	rows []byte
}

func (m heldMatrix) ReadRows(dst []byte, first, n int) error {
	if err := dataset.CheckRows(m, dst, first, n); err != nil {
		return err
	}
	copy(dst, m.rows[first*len(m.rows)/m.Rows():])
	return nil
}
