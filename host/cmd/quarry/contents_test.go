package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// TestSameBytes mines the example on other engines and threads, from a copy of another name, and from within it:
// negatives, manifest and projection are the same to the byte, and so are the projected vectors. Paths are relative
// here, as users have them.
func TestSameBytes(t *testing.T) {
	t.Chdir(t.TempDir())
	w := here
	compilePlugin(t)
	minedDemo(t).write(t, "d")
	if err := os.CopyFS("another name of it/x", os.DirFS("d/data")); err != nil {
		t.Fatal(err)
	}
	t.Chdir("another name of it")
	names := []string{"n.jsonl", "n.manifest.json", "projection.safetensors", "docs.npy", "queries.npy"}
	var want files
	for i, row := range []struct {
		folder, flags string
		short         bool
	}{
		{"../d/data", "--engine native --threads 1", true},
		{"x", "--engine native --threads 1", false},
		{"./x/", "--engine native --threads 3", true},
		{"x", "--engine wasm --threads 1", false},
		{"x", "--engine wasm --threads 3", true},
	} {
		if testing.Short() && !row.short {
			continue
		}
		out := fmt.Sprintf("out%d", i)
		w.mkdir(t, out)
		w.mustRun(t, fmt.Sprintf("mine %s -o %s/n.jsonl --split all --counts %s", row.folder, out, row.flags))
		w.mustRun(t, fmt.Sprintf("transform %s --projection %s/projection.safetensors -o %s %s", row.folder, out, out, row.flags))
		got := w.tree(t)
		if want == nil {
			want = got
		}
		for _, name := range names {
			if first := want["out0/"+name]; got[out+"/"+name] != first || first == "" {
				t.Errorf("mine %s %s: %s has %d bytes that are not the %d of the first run", row.folder, row.flags, name, len(got[out+"/"+name]), len(first))
			}
		}
	}
}

// TestExport looks up the texts of the example's triplets, in the order of the negatives.
func TestExport(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	minedDemo(t).write(t, w.path("d"))
	texts := func(name string) map[string]dataset.Text {
		byID := map[string]dataset.Text{}
		for line := range strings.Lines(w.tree(t)["d/data/"+name]) {
			var text dataset.Text
			if err := json.Unmarshal([]byte(line), &text); err != nil {
				t.Fatal(err)
			}
			byID[text.ID] = text
		}
		return byID
	}
	documents, queries := texts("corpus.jsonl"), texts("queries.jsonl")
	for _, row := range []struct{ flags, separator string }{{"", " "}, {" --separator ::", "::"}, {" --separator=", ""}} {
		type triplet struct{ Query, Positive, Negative string }
		var want []triplet
		document := func(id string) string {
			d := documents[id]
			if d.Title == "" || d.Text == "" {
				t.Fatalf("document %q of the example has no title or no text", id)
			}
			return d.Title + row.separator + d.Text
		}
		for _, p := range w.readNegatives(t, "d/negatives.jsonl") {
			for _, n := range p.Negatives {
				want = append(want, triplet{Query: queries[p.QueryID].Text, Positive: document(p.PositiveID), Negative: document(n.ID)})
			}
		}
		w.mustRun(t, "export ./d/negatives.jsonl ./d/data -o ./t.jsonl --force"+row.flags)
		var got []triplet
		for line := range strings.Lines(w.tree(t)["t.jsonl"]) {
			var one triplet
			decodeStrictly(t, line, &one)
			got = append(got, one)
		}
		if !slices.Equal(got, want) || len(want) != 139 {
			t.Errorf("export%s gave %d triplets that are not the %d expected", row.flags, len(got), len(want))
		}
	}
	w.mustRun(t, "export ./d/negatives.jsonl ./d/data -o ./t.PARQUET")
	if file := w.tree(t)["t.PARQUET"]; !strings.HasPrefix(file, "PAR1") {
		t.Errorf("t.PARQUET begins with %.20q", file)
	}
}

// TestExportThatCannotBe exports negatives with a folder that they were not mined from, and negatives that were edited.
func TestExportThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(f files)
		says   []string
	}{
		{"another corpus", func(f files) { f["data/corpus.jsonl"] = strings.ReplaceAll(f["data/corpus.jsonl"], `"d`, `"x`) }, []string{"data/corpus.jsonl", `document "d4" of the negatives is not there`, "mined from"}},
		{"other queries", func(f files) { f.edit("data/queries.jsonl", "q1", "x1") }, []string{"data/queries.jsonl", `query "q1" of the negatives is not there`, "mined from"}},
		{"edited negatives", func(f files) { f.edit("n.jsonl", `"rank":1`, `"rank":2`) }, []string{"n.jsonl, line 3", "rank 2", "quarry mine"}},
		{"the manifest for the negatives", func(f files) { f["n.jsonl"] = f["n.manifest.json"] }, []string{"n.jsonl, line 1", "not a pair with negatives"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := minedFolder(t)
			f := w.tree(t)
			row.change(f)
			w.write(t, f)
			failure{line: exportLine, says: row.says}.run(t, w)
		})
	}
}

// TestTransform projects each row of the sample by itself, by the projection file's values, and compares bytes.
func TestTransform(t *testing.T) {
	t.Parallel()
	w := minedFolder(t)
	p := must(projection.Load(w.path("p.safetensors")))
	for _, row := range []struct {
		file string
		a, b [][]float64
	}{{"docs.npy", planar(documentDegrees), spread(len(documentDegrees), 0)}, {"queries.npy", planar(queryDegrees), spread(len(queryDegrees), 0.5)}} {
		w.mustRun(t, transformLine+" --force")
		var want [][]float64
		for i := range row.a {
			fused := make([]float32, p.Columns())
			raw := []pca.Raw{{DType: "F32", Data: []byte(float32s(row.a[i : i+1]))}, {DType: "F32", Data: []byte(float32s(row.b[i : i+1]))}}
			if _, err := p.Fuse(fused, raw, 1, pca.ZeroError, func(model string) string { return model }); err != nil {
				t.Fatal(err)
			}
			var y []float64
			for c := range p.Width() { // blocks are of 256 columns, and there are five: one sum in float32
				var sum float32
				for j, u := range fused {
					sum += float32((u - p.Mean[j]) * p.Components[c*len(fused)+j])
				}
				y = append(y, float64(sum))
			}
			want = append(want, y)
		}
		if got := w.tree(t)["out/"+row.file]; got != f4(want...) {
			t.Errorf("%s has %d bytes that are not the %d expected", row.file, len(got), len(f4(want...)))
		}
	}
}

// TestCounts: with --counts each pair tells how many documents lay in the window and how many met Eq. 6 too, more than
// it lists.
func TestCounts(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	const line = mineLine + " --models a --no-pca --split all --top 1"
	w.mustRun(t, line)
	plain := w.tree(t)["out/n.jsonl"]
	if strings.Contains(plain, "in_window") || strings.Contains(plain, "candidates") {
		t.Error("there are counts without --counts")
	}
	w.mustRun(t, line+" --counts --force")
	var got []string
	for _, p := range w.readNegatives(t, "out/n.jsonl") {
		if p.InWindow == nil || p.Candidates == nil {
			t.Fatalf("%s has no counts", p.QueryID)
		}
		got = append(got, fmt.Sprintf("%s: %d of %d, %d listed", p.QueryID, *p.Candidates, *p.InWindow, len(p.Negatives)))
	}
	// From the drawing at documentDegrees.
	if want := []string{"q1: 3 of 3, 1 listed", "q2: 0 of 0, 0 listed", "q3: 0 of 1, 0 listed", "q4: 2 of 2, 1 listed"}; !slices.Equal(got, want) {
		t.Errorf("counts are %q, expected %q", got, want)
	}
	// Without the counts, the negatives are the same.
	counted := w.tree(t)["out/n.jsonl"]
	for _, p := range w.readNegatives(t, "out/n.jsonl") {
		counted = strings.Replace(counted, fmt.Sprintf(`,"in_window":%d,"candidates":%d`, *p.InWindow, *p.Candidates), "", 1)
	}
	if counted != plain {
		t.Errorf("the negatives differ with --counts:\n%s\nexpected\n%s", counted, plain)
	}
}
