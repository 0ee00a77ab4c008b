package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/plugin"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// extismCases are golden cases with ids alone, the default rule and the train split.
var extismCases = []string{"wide/dual", "ties/dual", "several/each", "weights/dual", "self/dual"}

func extismCase(t *testing.T, name string) (goldenCase, []host.Pair) {
	t.Helper()
	cases := goldenCases(t)
	i := slices.IndexFunc(cases, func(c goldenCase) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no golden case %s", name)
	}
	want := cases[i].expected(t)
	return cases[i], pairsOf(t, want)
}

// pairsOf reads lines of negatives; a pair's counts are not looked at.
func pairsOf(t *testing.T, lines []byte) []host.Pair {
	t.Helper()
	pairs, err := negatives.Read(bytes.NewReader(lines), "negatives")
	if err != nil {
		t.Fatal(err)
	}
	for i := range pairs {
		pairs[i].InWindow, pairs[i].Candidates = nil, nil
	}
	return pairs
}

func samePairs(t *testing.T, what string, got, want []host.Pair) {
	t.Helper()
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if !bytes.Equal(a, b) {
		t.Errorf("%s: got\n%s\nexpected\n%s", what, a, b)
	}
}

// TestExtismGo loads plugin.wasm with Extism's Go SDK and gets the golden negatives, bit for bit, by select and by begin, push, finish.
func TestExtismGo(t *testing.T) {
	compiled := wazero.NewCompilationCache() // once for all cases
	t.Cleanup(func() { _ = compiled.Close(context.Background()) })
	for _, name := range extismCases {
		c, want := extismCase(t, name)
		folder, p := c.open(t)
		begin, documents := extismMessages(t, folder, p)
		manifest := extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: plugin.Wasm}}}
		guest, err := extism.NewPlugin(t.Context(), manifest, extism.PluginConfig{RuntimeConfig: wazero.NewRuntimeConfig().WithCompilationCache(compiled)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		call := func(op string, tensors []safetensors.Tensor, options map[string]string) []byte {
			t.Helper()
			var message []byte
			if tensors != nil {
				if message, err = safetensors.Marshal(tensors, options); err != nil {
					t.Fatal(err)
				}
			}
			code, out, err := guest.Call(op, message)
			if code != 0 || err != nil {
				t.Fatalf("%s: %d, %v", op, code, err)
			}
			return bytes.Clone(out)
		}
		if code, _, err := guest.Call("load_projection", p.File); code != 0 || err != nil {
			t.Fatalf("load_projection: %d, %v", code, err)
		}
		samePairs(t, name+", select", extismPairs(t, folder, call("select", append(slices.Clone(begin), documents...), nil)), want)
		call("begin", begin, nil)
		for first := 0; first < documents[0].Rows(); first += 3 {
			call("push", rowsOf(documents, first, 3), map[string]string{"first": fmt.Sprint(first)})
		}
		samePairs(t, name+", push", extismPairs(t, folder, call("finish", nil, nil)), want)

		// An error is JSON with a code, and the plugin works afterwards.
		code, _, err := guest.Call("push", []byte("garbage"))
		if e := abi.ParseError(abi.Code(code), []byte(fmt.Sprint(err))); code != uint32(abi.BadMessage) || e.Message == "" {
			t.Errorf("garbage: %d, %v", code, err)
		}
		call("finish", nil, nil)
		if err := guest.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestExtismFault has the module run out of memory under Extism, and learns why.
func TestExtismFault(t *testing.T) {
	manifest := extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: plugin.Wasm}}, Memory: &extism.ManifestMemory{MaxPages: 1080}}
	guest, err := extism.NewPlugin(t.Context(), manifest, extism.PluginConfig{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close(t.Context())
	if _, _, err := guest.Call("info", make([]byte, 64<<20)); err == nil {
		t.Error("64 MiB of input fitted into 67 MiB")
	}
	if e := abi.ParseError(abi.Internal, []byte(guest.GetError())); !strings.Contains(e.Message, "out of memory") {
		t.Errorf("the host is told %q", guest.GetError())
	}
}

// extismMessages makes what a host without this library would: begin's tensors and the documents, raw.
func extismMessages(t *testing.T, folder *dataset.Dataset, p *host.Projection) (begin, documents []safetensors.Tensor) {
	t.Helper()
	var queries, positives []safetensors.Tensor
	for _, m := range p.Models {
		v, err := folder.Vectors(m.Name)
		if err != nil {
			t.Fatal(err)
		}
		read := func(kind string, x dataset.Matrix) safetensors.Tensor {
			b := make([]byte, x.Rows()*x.Width()*x.DType().Size())
			if err := x.ReadRows(b, 0, x.Rows()); err != nil {
				t.Fatal(err)
			}
			return safetensors.Tensor{Name: kind + "/" + m.Name, DType: x.DType(), Shape: []int{x.Rows(), x.Width()}, Data: b}
		}
		queries, positives = append(queries, read("queries", v.Queries)), append(positives, read("positives", v.Documents))
		documents = append(documents, read("documents", v.Documents))
	}
	exclude := make([][]int64, folder.Queries.Len())
	queryRows, documentRows := rowsByID(t, folder.Queries), rowsByID(t, folder.Documents)
	var pairQuery, pairPositive []int64
	for _, q := range folder.Qrels {
		for _, j := range q.Judgements {
			query, document := queryRows[j.Query], documentRows[j.Document]
			if j.Score <= 0 {
				continue
			}
			exclude[query] = append(exclude[query], int64(document))
			if q.Split == "train" {
				pairQuery, pairPositive = append(pairQuery, int64(query)), append(pairPositive, int64(document))
			}
		}
	}
	offsets, values := []int64{0}, []int64{}
	for i, id := range allIDs(t, folder.Queries) {
		if row, ok := documentRows[id]; ok {
			exclude[i] = append(exclude[i], int64(row))
		}
		values = append(values, exclude[i]...)
		offsets = append(offsets, int64(len(values)))
	}
	begin = append(append(queries, positives...),
		safetensors.OfInt64("pair_query", pairQuery, len(pairQuery)), safetensors.OfInt64("pair_positive", pairPositive, len(pairPositive)),
		safetensors.OfInt64("exclude_offsets", offsets, len(offsets)), safetensors.OfInt64("exclude", values, len(values)))
	return begin, documents
}

func allIDs(t *testing.T, ids dataset.IDs) []string {
	t.Helper()
	var err error
	all := slices.Collect(ids.All(&err))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func rowsByID(t *testing.T, ids dataset.IDs) map[string]int {
	t.Helper()
	rows := map[string]int{}
	for row, id := range allIDs(t, ids) {
		rows[id] = row
	}
	return rows
}

func rowsOf(tensors []safetensors.Tensor, first, n int) (cut []safetensors.Tensor) {
	for _, t := range tensors {
		n := min(n, t.Rows()-first)
		stride := len(t.Data) / t.Rows()
		t.Data, t.Shape = t.Data[first*stride:(first+n)*stride], []int{n, t.Shape[1]}
		cut = append(cut, t)
	}
	return cut
}

func extismPairs(t *testing.T, folder *dataset.Dataset, part []byte) (pairs []host.Pair) {
	t.Helper()
	p, err := mine.ParsePart(part)
	if err != nil {
		t.Fatal(err)
	}
	ids := allIDs(t, folder.Documents)
	for _, j := range folder.Qrels[0].Judgements {
		if j.Score <= 0 {
			continue
		}
		i := len(pairs)
		pair := host.Pair{QueryID: j.Query, PositiveID: j.Document, DQPD: 1 - p.SQPD[i], Negatives: []host.Negative{}}
		for rank, n := range p.Found[i] {
			pair.Negatives = append(pair.Negatives, host.Negative{ID: ids[n.Position], Rank: rank + 1, DQD: 1 - n.SQD, DPDD: 1 - n.SPDD})
		}
		switch {
		case len(pair.Negatives) == 0 && p.Window[i]:
			pair.None = negatives.NoneEq6
		case len(pair.Negatives) == 0:
			pair.None = negatives.NoneWindow
		}
		pairs = append(pairs, pair)
	}
	return pairs
}

// python returns the interpreter that `make test` sets up, or skips the test where it, or a module, is missing.
func python(t *testing.T, module string) string {
	t.Helper()
	name := os.Getenv("QUARRY_PYTHON")
	if name == "" {
		name = "../.venv/bin/python"
	}
	if out, err := exec.Command(name, "-c", "import "+module).CombinedOutput(); err != nil {
		t.Skipf("no Python with %s: run `make test`, which sets one up, or set QUARRY_PYTHON (%v %s)", module, err, out)
	}
	return name
}

// TestPython runs the example in Python, whose package calls the module under wasmtime, and gets the golden negatives, bit for bit, by select
// and by begin, push, finish, and those of a folder with texts.
func TestPython(t *testing.T) {
	interpreter := python(t, "wasmtime")
	run := func(folder, projection, how string) []byte {
		cmd := exec.CommandContext(t.Context(), interpreter, "../plugin/examples/python/mine.py", folder, projection, "--how", how)
		cmd.Env = append(os.Environ(), "PYTHONPATH=../plugin/examples/python/src", "PYTHONDONTWRITEBYTECODE=1", "QUARRY_PLUGIN=../plugin/plugin.wasm")
		out, err := cmd.Output()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			t.Fatalf("%s, %s: %v\n%s", folder, how, err, exit.Stderr)
		}
		return out
	}
	for _, name := range extismCases {
		c, want := extismCase(t, name)
		for _, how := range []string{"select", "push"} {
			folder := filepath.Join(golden, c.Folder)
			samePairs(t, name+", "+how, pairsOf(t, run(folder, filepath.Join(folder, "projection.safetensors"), how)), want)
		}
	}
	p, err := host.Fit(t.Context(), demoFolder(t), host.FitOptions{Components: 20})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "p")
	if err := p.Save(file, false); err != nil {
		t.Fatal(err)
	}
	r, err := host.Mine(t.Context(), demoFolder(t), p, host.MineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	samePairs(t, "demo", pairsOf(t, run("../testdata/demo", file, "push")), r.Pairs)
}
