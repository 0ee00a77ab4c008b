package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// golden is where NumPy's results in the canonical order are; its README names the script and the versions that made them.
const golden = "../testdata/golden"

// goldenCase is a row of cases.json: a folder, options as the command line has them, and what NumPy gives for them.
type goldenCase struct {
	Name, Folder, Expected string
	Args                   []string
}

func goldenCases(t testing.TB) (cases []goldenCase) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(golden, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 100 {
		t.Fatalf("only %d golden cases", len(cases))
	}
	return cases
}

// options reads the case's arguments.
func (c goldenCase) options(t testing.TB) (o host.MineOptions) {
	t.Helper()
	o.Twins = mining.TwinsKeep // the reference in NumPy knows none, and some cases have equal vectors
	for i := 0; i < len(c.Args); i++ {
		if c.Args[i] == "--counts" {
			o.Counts = true
			continue
		}
		i++
		value := c.Args[i]
		number, err := strconv.ParseFloat(value, 64)
		switch c.Args[i-1] {
		case "--split":
			o.Split, err = value, nil
		case "--rule":
			o.Rule, err = value, nil
		case "--positives":
			o.Positives, err = value, nil
		case "--self":
			o.Self, err = value, nil
		case "--margin":
			o.Parameters = map[string]float64{"margin": number}
		case "--perc":
			o.Parameters = map[string]float64{"perc": number}
		case "--top":
			o.Top = int(number)
		default:
			err = fmt.Errorf("argument %s is unknown", c.Args[i-1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func (c goldenCase) open(t testing.TB) (*dataset.Dataset, *host.Projection) {
	t.Helper()
	folder, err := beir.Open(filepath.Join(golden, c.Folder))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	p, err := host.LoadProjection(filepath.Join(golden, c.Folder, "projection.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return folder, p
}

// expected is what NumPy gives.
func (c goldenCase) expected(t testing.TB) []byte {
	t.Helper()
	want, err := os.ReadFile(filepath.Join(golden, c.Expected))
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func written(t testing.TB, r *host.Result) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteNegatives(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// wasm returns the engine on wazero, closed at the test's end.
func wasm(t testing.TB, o engine.WasmOptions) engine.Engine {
	t.Helper()
	e, err := engine.Wasm(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	return e
}

// TestGolden compares every golden case with NumPy's result, byte for byte, on both engines, every native kernel, and the module without SIMD.
func TestGolden(t *testing.T) {
	scalar, err := os.ReadFile("../plugin/plugin-scalar.wasm")
	if err != nil {
		t.Fatal(err)
	}
	engines := append(engine.Natives(engine.Options{}), wasm(t, engine.WasmOptions{}), wasm(t, engine.WasmOptions{Module: scalar}))
	for _, c := range goldenCases(t) {
		folder, p := c.open(t)
		want := c.expected(t)
		for _, e := range engines {
			o := c.options(t)
			o.Engine, o.Threads = e, 1
			r, err := host.Mine(t.Context(), folder, p, o)
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			if got := written(t, r); !bytes.Equal(got, want) {
				t.Errorf("%s on %s: got\n%s\nNumPy gives\n%s", c.Name, e.Name(), got, want)
			}
		}
	}
}

// TestOneTableEveryEngine runs cases with every engine and native kernel, number of threads, block size and number of parts, and compares the bytes of
// negatives, manifest and merged part. With -short
// it runs every eleventh cell: every case has every engine, and each number comes up.
func TestOneTableEveryEngine(t *testing.T) {
	chosen := map[string]bool{"wide/all-splits": true, "ties/topk-4": true, "several/all-all": true, "near-copies/counts": true, "text/many": true}
	engines := append(engine.Natives(engine.Options{}), wasm(t, engine.WasmOptions{}), wasm(t, engine.WasmOptions{Interpreter: true}))
	cells, ran, every := 0, 0, 1
	if testing.Short() {
		every = 11
	}
	for _, c := range goldenCases(t) {
		if !chosen[c.Name] {
			continue
		}
		folder, p := c.open(t)
		want := c.expected(t)
		var wantPart, wantManifest []byte
		for _, e := range engines {
			for _, threads := range []int{1, 2, 7} {
				for _, block := range []int{1, 3, 64, 4096} {
					for _, parts := range []int{1, 2, 13} {
						if e.Name() == "wasm-interpreter" && (threads == 7 || block == 4096 || parts == 2) {
							continue // it takes 7 million multiply-adds a second, and a second to start
						}
						cells++
						if cells%every != 0 {
							continue
						}
						ran++
						o := c.options(t)
						o.Compute = host.Compute{Engine: e, Threads: threads, BlockRows: block}
						r, part := minedInParts(t, folder, p, o, parts)
						var manifest bytes.Buffer
						if err := r.Manifest.Write(&manifest); err != nil {
							t.Fatal(err)
						}
						if wantPart == nil {
							wantPart, wantManifest = part, manifest.Bytes()
						}
						cell := fmt.Sprintf("%s, %s, %d threads, blocks of %d, %d parts", c.Name, e.Name(), threads, block, parts)
						if got := written(t, r); !bytes.Equal(got, want) {
							t.Errorf("%s: other negatives:\n%s", cell, got)
						}
						if !bytes.Equal(part, wantPart) {
							t.Errorf("%s: another part", cell)
						}
						if !bytes.Equal(manifest.Bytes(), wantManifest) {
							t.Errorf("%s: another manifest:\n%s", cell, manifest.Bytes())
						}
					}
				}
			}
		}
	}
	if want := len(chosen) * ((len(engines)-1)*3*4*3 + 2*3*2); cells != want {
		t.Errorf("the table has %d cells, expected %d", cells, want)
	}
	t.Logf("%d of %d cells were run", ran, cells)
}

// minedInParts mines the documents in n ranges, the last first, and returns the result and the merged part.
func minedInParts(t *testing.T, folder *dataset.Dataset, p *host.Projection, o host.MineOptions, n int) (*host.Result, []byte) {
	t.Helper()
	plan, err := mining.NewPlan(t.Context(), folder, p, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := plan.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	var merged *mine.Part
	merge := plan.NewMerge()
	for i := n - 1; i >= 0; i-- {
		first, end := plan.Documents()*i/n, plan.Documents()*(i+1)/n
		if first == end {
			continue
		}
		part, err := plan.MinePiece(t.Context(), mining.Piece{First: first, End: end})
		if err == nil {
			err = merge.Add(part)
		}
		if err == nil && merged != nil {
			part, err = mine.Merge(merged, part)
		}
		if err != nil {
			t.Fatal(err)
		}
		merged = part
	}
	r, err := merge.Result()
	if err != nil {
		t.Fatal(err)
	}
	b, err := merged.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return r, b
}
