package host_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
)

// openDemo stands for beir.Open("mydata") in the examples.
func openDemo() *dataset.Dataset { return must(demo.Open()) }

// must keeps the examples short.
func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// Mine the paper's hard negatives of a folder: fit, then mine through the plugin.
func ExampleMine() {
	ctx := context.Background()
	folder := openDemo()
	defer folder.Close()
	projection := must(host.Fit(ctx, folder, host.FitOptions{Variance: 0.95}))
	result := must(host.Mine(ctx, folder, projection, host.MineOptions{Rule: "dual", Top: 3}))
	first := result.Pairs[0]
	fmt.Println(first.QueryID, first.PositiveID, first.Negatives[0].ID)
	// Output: q01 d001 d002
}

// Fit a projection on one model alone, and keep it: everything that is mined with it names its fingerprint.
func ExampleFit() {
	folder := openDemo()
	defer folder.Close()
	projection := must(host.Fit(context.Background(), folder, host.FitOptions{
		Models: []host.Weight{{Model: "minilm", Weight: 1}}, Components: 32,
	}))
	dir := must(os.MkdirTemp("", "quarry"))
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "projection.safetensors")
	if err := projection.Save(path, false); err != nil {
		log.Fatal(err)
	}
	again := must(host.LoadProjection(path))
	fmt.Println(again.Columns(), "columns to", again.Width(), again.Fingerprint == projection.Fingerprint)
	// Output: 384 columns to 32 true
}

// Project all vectors of a folder to .npy files, natively.
func ExampleTransform() {
	ctx := context.Background()
	folder := openDemo()
	defer folder.Close()
	projection := must(host.Fit(ctx, folder, host.FitOptions{Components: 64}))
	dir := must(os.MkdirTemp("", "quarry"))
	defer os.RemoveAll(dir)
	t := must(host.Transform(ctx, folder, projection, dir, host.TransformOptions{
		Compute: host.Compute{Engine: engine.Native(engine.Options{})},
	}))
	fmt.Println(t.Documents, "documents and", t.Queries, "queries of", t.Components, "components")
	// Output: 335 documents and 64 queries of 64 components
}

// Mine two pieces of a plan, as two machines would, and make the result of their parts.
func Example_pieces() {
	ctx := context.Background()
	folder := openDemo()
	defer folder.Close()
	projection := must(host.Fit(ctx, folder, host.FitOptions{}))
	plan := must(mining.NewPlan(ctx, folder, projection, host.MineOptions{}))
	defer plan.Close(ctx)
	half, merge := plan.Documents()/2, plan.NewMerge()
	for _, piece := range []mining.Piece{{First: half, End: plan.Documents()}, {First: 0, End: half}} {
		if err := merge.Add(must(plan.MinePiece(ctx, piece))); err != nil {
			log.Fatal(err)
		}
	}
	split := must(merge.Result())
	whole := must(host.Mine(ctx, folder, projection, host.MineOptions{}))
	fmt.Println(split.Manifest.Negatives == whole.Manifest.Negatives)
	// Output: true
}

// Turn negatives into the triplets that trainers read.
func ExampleExport() {
	ctx := context.Background()
	folder := openDemo()
	defer folder.Close()
	result := must(host.Mine(ctx, folder, must(host.Fit(ctx, folder, host.FitOptions{})), host.MineOptions{Top: 1}))
	var triplets strings.Builder
	n := must(host.Export(folder, result.Pairs, " ", &triplets))
	fmt.Println(n == result.Tallies.Negatives, triplets.String()[:10])
	// Output: true {"query":"
}
