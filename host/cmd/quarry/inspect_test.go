package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/inspect"
	"github.com/quarry-hn/quarry/plugin"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// inspected returns what inspect --json says, with each field as text, and how the command ended.
func (w workspace) inspected(t *testing.T, path string) (kind string, fields map[string]string, problems []string, o output) {
	t.Helper()
	o = w.quarry(t.Context(), "inspect ./"+path+" --json")
	i := inspected{Inspection: &inspect.Inspection{}}
	d := json.NewDecoder(strings.NewReader(o.stdout))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(&i); err != nil || i.Problems == nil || i.Sound != (len(i.Problems) == 0) {
		t.Fatalf("inspect %s --json: %v, problems %v; stdout:\n%s\nstderr:\n%s", path, err, i.Problems, o.stdout, o.stderr)
	}
	fields = map[string]string{}
	for _, f := range i.Fields {
		fields[f.Name] = fmt.Sprint(f.Value)
	}
	return i.Kind, fields, i.Problems, o
}

// TestInspect inspects every kind of file, as text and as JSON. The figures are the sample's, and those of the summary
// that the command printed when it wrote the file.
func TestInspect(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	s := w.mineJSON(t, mineLine)
	w.write(t, files{"plugin.wasm": string(plugin.Wasm)})
	for _, row := range []struct {
		path, kind string
		fields     map[string]string
	}{
		{"out/projection.safetensors", "projection", map[string]string{"sha256": s.Projection.Fingerprint, "columns": "5", "components": fmt.Sprint(s.Projection.Components),
			"rows": "8", "fit_on": "docs", "pca": "variance=0.95", "normalize": "true", "center": "true", "seed": "0", "total_variance": fmt.Sprint(s.Projection.Total)}},
		{"out/n.jsonl", "negatives", map[string]string{"sha256": s.NegativesID, "pairs": "3", "pairs_with_negatives": fmt.Sprint(s.Tallies.WithNegatives),
			"negatives": fmt.Sprint(s.Tallies.Negatives), "manifest": "n.manifest.json"}},
		{"out/n.manifest.json", "manifest", map[string]string{"rule": "dual", "top": "5", "split": "train", "pairs": "3", "negatives": fmt.Sprint(s.Tallies.Negatives),
			"projection": s.Projection.Fingerprint, "negatives_sha256": s.NegativesID, "plugin": plugin.SHA256()}},
		{"data/vectors/a/docs.npy", "vectors", map[string]string{"rows": "8", "columns": "2", "dtype": "F32", "zero_rows": "0", "non_finite_rows": "0", "norms": "1 to 8"}},
		{"data", "data", map[string]string{"corpus.jsonl": "texts in JSON lines as BEIR has them: 8 documents", "queries.jsonl": "texts in JSON lines as BEIR has them: 4 queries",
			"qrels/test.tsv": "judgements of split test in BEIR's three columns: 1 judgements, 1 of them relevant"}},
		{"plugin.wasm", "plugin", map[string]string{"sha256": plugin.SHA256(), "bytes": fmt.Sprint(len(plugin.Wasm)), "embedded_here": "true", "abi": abi.Version}},
	} {
		t.Run(row.kind, func(t *testing.T) {
			kind, fields, problems, o := w.inspected(t, row.path)
			if kind != row.kind || len(problems) > 0 || o.code != exitOK || o.stderr != "" {
				t.Errorf("kind %q, expected %q; problems %q, exit %d, stderr %q", kind, row.kind, problems, o.code, o.stderr)
			}
			for name, want := range row.fields {
				if fields[name] != want {
					t.Errorf("%s is %q, expected %q", name, fields[name], want)
				}
			}
			// As text there is a line for each field, between kind and soundness.
			lines := strings.Split(strings.TrimSpace(w.mustRun(t, "inspect ./"+row.path)), "\n")
			sound := "sound yes"
			if row.kind == "data" {
				sound += "; for zero vectors and NaN, inspect the files of vectors"
			}
			if len(lines) < len(fields)+2 || strings.Join(strings.Fields(lines[0]), " ") != "kind "+row.kind || strings.Join(strings.Fields(lines[len(lines)-1]), " ") != sound {
				t.Errorf("%d fields in the text:\n%s", len(fields), strings.Join(lines, "\n"))
			}
			for name, want := range row.fields {
				if !strings.Contains(strings.Join(lines, "\n"), "\n"+name+" ") || !strings.Contains(strings.Join(lines, "\n"), " "+want+"\n") {
					t.Errorf("the text lacks %s %s", name, want)
				}
			}
			if out := w.mustRun(t, "inspect --quiet ./"+row.path); out != "" {
				t.Errorf("inspect --quiet says %q", out)
			}
		})
	}
}

// TestInspectNegativesThatAreNotSound edits negatives and their manifest. Some changes show in the negatives alone;
// others show only because the manifest has the file's fingerprint.
func TestInspectNegativesThatAreNotSound(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	w.mustRun(t, mineLine+" --models a --no-pca")
	sound := w.tree(t)
	const n, m = "out/n.jsonl", "out/n.manifest.json"
	edit := func(name, old, new string) func(files) { return func(f files) { f.edit(name, old, new) } }
	distance := sound[n][strings.Index(sound[n], `"d_q_d":`):]
	distance = distance[:strings.Index(distance, ",")]
	const other = "n.manifest.json names other negatives"
	for _, row := range []struct {
		name   string
		change func(files)
		path   string
		says   string
	}{
		{"a distance", edit(n, distance, distance+"1"), n, other},
		{"a distance out of order", edit(n, distance, `"d_q_d":1.5`), n, "line 1: negative 2 is nearer to the query than the one before it"},
		{"a distance of another pair", edit(n, `"d_q_pd":`, `"d_q_pd":1`), n, other},
		{"a rank", edit(n, `"rank":2`, `"rank":3`), n, `line 1: negative 2 has id "d3" and rank 3`},
		{"an id", edit(n, `"id":"d3"`, `"id":"d8"`), n, other},
		{"no id", edit(n, `"id":"d3"`, `"id":""`), n, `line 1: negative 2 has id ""`},
		{"two swapped", func(f files) {
			f.edit(n, `"id":"d2"`, `"id":"x"`)
			f.edit(n, `"id":"d3"`, `"id":"d2"`)
			f.edit(n, `"id":"x"`, `"id":"d3"`)
		}, n, other},
		{"a reason", edit(n, `"none":"window"`, `"none":"eq6"`), n, other},
		{"an unknown reason", edit(n, `"none":"eq6"`, `"none":"eq7"`), n, `line 3: no negatives, and none is "eq7"`},
		{"no reason", edit(n, `,"none":"window"`, ``), n, `line 2: no negatives, and none is ""`},
		{"a reason too many", edit(n, `}]}`, `}],"none":"eq6"}`), n, `line 1: there are negatives, and none is "eq6"`},
		{"an unknown key", edit(n, `{"query_id"`, `{"query_id":"x","score":1,"query_id"`), n, `line 1: not a pair with negatives: json: unknown field "score"`},
		{"a line gone", func(f files) { f[n] = f[n][strings.Index(f[n], "\n")+1:] }, n, other},
		{"a line twice", func(f files) { f[n] += f[n][strings.LastIndex(strings.TrimSpace(f[n]), "\n")+1:] }, n, other},
		{"the last line cut off", func(f files) { f[n] = f[n][:len(f[n])-5] }, n, "line 3: not a pair with negatives: unexpected EOF"},
		{"two objects in a line", edit(n, "\n", " "), n, "line 1: the line goes on after the object"},
		{"another manifest", edit(m, `"negatives_sha256": "`, `"negatives_sha256": "0`), n, other},
		{"a broken manifest", func(f files) { f[m] = f[m][:100] }, n, "n.manifest.json: not a manifest"},
		{"a manifest of another format", edit(m, "quarry.negatives.v1", "quarry.negatives.v2"), n, `n.manifest.json: not a manifest of format "quarry.negatives.v1"`},
		{"negatives beside the manifest", edit(n, distance, distance+"1"), m, "n.jsonl is not what the manifest names"},
		{"another manifest beside the negatives", edit(m, `"negatives_sha256": "`, `"negatives_sha256": "0`), m, "n.jsonl is not what the manifest names"},
		{"a manifest by itself", func(f files) { f.rename(m, "out/x.manifest.json"); f[m] = f["out/x.manifest.json"]; f["out/x"] = "x" }, "out/x.manifest.json", "x is not what the manifest names"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorkspace(t)
			f := files{n: sound[n], m: sound[m]}
			w.write(t, f)
			w.mustRun(t, "inspect ./"+n)
			w.mustRun(t, "inspect ./"+m)
			row.change(f)
			w.write(t, f)
			w.checkUnsound(t, row.path, row.says)
		})
	}
}

// checkUnsound fails where inspect does not exit with 3, name the file and say what is wrong, as text and as JSON.
func (w workspace) checkUnsound(t *testing.T, path, says string) {
	t.Helper()
	_, _, problems, o := w.inspected(t, path)
	if len(problems) != 1 || !strings.Contains(problems[0], says) || o.code != exitInput {
		t.Errorf("problems %q, expected %q; exit %d", problems, says, o.code)
	}
	text := w.quarry(t.Context(), "inspect ./"+path)
	if !strings.HasSuffix(text.stdout, " no\n") || text.code != exitInput || text.stderr != o.stderr {
		t.Errorf("exit %d; stdout:\n%s\nstderr:\n%s\nand with --json\n%s", text.code, text.stdout, text.stderr, o.stderr)
	}
	if !strings.HasPrefix(o.stderr, "quarry: "+path+": not sound: ") || !strings.Contains(o.stderr, says) {
		t.Errorf("stderr %q, expected %q", o.stderr, says)
	}
}

// TestInspectDataThatIsNotSound: what is wrong with a data folder is what mine says, and mine is the judge of it.
func TestInspectDataThatIsNotSound(t *testing.T) {
	t.Parallel()
	const docs, queries, test = "vectors/a/docs.npy", "vectors/a/queries.npy", "qrels/test.tsv"
	for _, row := range []struct {
		name   string
		change func(files)
		says   string
	}{
		{"no vectors", func(f files) { f.drop(docs) }, docs + ": no such file"},
		{"no folder of vectors", func(f files) { f.drop(docs, queries, "vectors/b/docs.npy", "vectors/b/queries.npy") }, "vectors: no such file"},
		{"no vectors of queries", func(f files) { f.drop(queries) }, queries + ": no such file"},
		{"empty vectors", func(f files) { f[docs] = "" }, docs + ": not a .npy file: it is empty"},
		{"vectors that are cut off", func(f files) { f[docs] = f[docs][:len(f[docs])-1] }, docs + ", row 7 (the first is 0): cut off"},
		{"too few rows", func(f files) { f[docs] = f4(planar(documentDegrees[1:])...) }, docs + ": 7 rows; data/corpus.jsonl has 8 ids"},
		{"other columns", func(f files) { f[queries] = f4(spread(len(queryDegrees), 0)...) }, queries + ": 3 columns; docs.npy has 2"},
		{"an unknown document", func(f files) { f.edit(test, "d5", "d9") }, test + `, line 2: document "d9" is not in data/corpus.jsonl`},
		{"an unknown query", func(f files) { f.edit(test, "q4", "q5") }, test + `, line 2: query "q5" is not in data/queries.jsonl`},
		{"no pair", func(f files) { f["qrels/train.tsv"] = "q1\td4\t0\n"; f.drop(test) }, `qrels/train.tsv: split "all" has no pair with a score above 0`},
		{"an id twice", func(f files) { f.edit("corpus.jsonl", `"d8"`, `"d1"`) }, `corpus.jsonl, line 8: id "d1" is given twice`},
		{"no judgements", func(f files) { f.drop("qrels/train.tsv", test); f["qrels/"] = "" }, "qrels: there is no .tsv file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := sample()
			row.change(f)
			workFolder(t, f).checkUnsoundData(t, row.says)
		})
	}
	w := workFolder(t, sample())
	w.remove(t, "data/"+docs)
	if err := os.Symlink("none.npy", w.path("data/"+docs)); err == nil { // not everyone may make links on Windows
		w.checkUnsoundData(t, docs+": no such file")
	}
}

// checkUnsoundData fails where inspect does not find that, and nothing else, wrong with the data folder, in the words of mine.
func (w workspace) checkUnsoundData(t *testing.T, says string) {
	t.Helper()
	w.checkUnsound(t, "data", says)
	_, _, problems, _ := w.inspected(t, "data")
	if mined := w.quarry(t.Context(), mineLine+" --split all"); mined.code != exitInput || mined.stderr != "quarry: "+strings.Join(problems, "\n")+"\n" {
		t.Errorf("mine exits with %d and says %q; inspect has %q", mined.code, mined.stderr, problems)
	}
}

// TestInspectListsAllProblems: those of both sides of each model, and of each split, with what to do about each.
func TestInspectListsAllProblems(t *testing.T) {
	t.Parallel()
	f := sample()
	f.drop("vectors/a/docs.npy")
	f["vectors/a/queries.npy"] = ""
	f["vectors/b/queries.npy"] = f4(planar(queryDegrees)...)
	f.edit("qrels/train.tsv", "d4", "d9")
	f.edit("qrels/test.tsv", "q4", "q9")
	w := workFolder(t, f)
	_, fields, problems, o := w.inspected(t, "data")
	for i, says := range []string{"vectors/a/docs.npy: ", "vectors/a/queries.npy: ", "vectors/b/queries.npy: 2 columns", "qrels/train.tsv, line 2: ", "qrels/test.tsv, line 2: "} {
		if i >= len(problems) || !strings.HasPrefix(problems[i], "data/"+says) || !strings.Contains(problems[i], "\n  hint: ") {
			t.Fatalf("problems %q; expected %q as number %d", problems, says, i)
		}
	}
	if len(problems) != 5 || fields["a docs"] != "" || fields["b docs"] == "" || o.code != exitInput || o.stderr != "quarry: data: not sound: "+strings.Join(problems, "\n")+"\n" {
		t.Errorf("problems %q, fields %q, exit %d, stderr %q", problems, fields, o.code, o.stderr)
	}
}

func TestInspectFilesThatAreNotSound(t *testing.T) {
	t.Parallel()
	w, good := fitted(t, "")
	swap := func(f *safetensors.File) { // the last component before the first
		x, _ := f.Tensor("variances")
		x.Data = append(bytes.Clone(x.Data[len(x.Data)-8:]), x.Data[:len(x.Data)-8]...)
		for i := range f.Tensors {
			if f.Tensors[i].Name == "variances" {
				f.Tensors[i].Data = x.Data
			}
		}
	}
	notFinite, zero := f4(withRow(planar(documentDegrees), 2, 1, math.NaN())...), f4(withRow(planar(documentDegrees), 5, 0, 0)...)
	for _, row := range []struct{ name, file, says string }{
		{"NaN in the mean", changed(good, func(f *safetensors.File) { setValue(f, "mean", math.NaN()) }), "mean"},
		{"NaN in a component", changed(good, func(f *safetensors.File) { setValue(f, "components", math.NaN()) }), "components, row 0"},
		{"a component that is not of length 1", changed(good, func(f *safetensors.File) { setValue(f, "components", 3) }), "the components are not orthonormal"},
		{"variances out of order", changed(good, swap), "the variances are not descending at component 1"},
		{"NaN in a row", notFinite, "row 2 (the first is 0): "},
		{"no rows", npy(npyHeader("<f4", "False", "(0, 2)"), ""), "there are no rows"},
		{"a zero row", zero, "row 5 (the first is 0): the vector is zero"},
		{"a module that is not the plugin", "\x00asm\x01\x00\x00\x00", "not quarry's plugin"},
		{"half of the plugin", string(plugin.Wasm[:len(plugin.Wasm)/2]), "load the plugin"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w.write(t, files{"x": row.file})
			w.checkUnsound(t, "x", row.says)
		})
	}
	// A file of no known kind has no fields to show.
	for _, row := range []struct{ name, file, says string }{
		{"an empty file", "", "not a projection, part, negatives, manifest, .npy or plugin file"},
		{"a text", "some text that is long enough", "not a projection, part"},
		{"a JSON file of another kind", `{"a":1}`, "not a manifest of format"},
		{"a cut-off projection", good[:len(good)-1], "cut off"},
		{"another safetensors file", string(must(safetensors.Marshal(nil, map[string]string{"format": "pt"}))), `format "pt"`},
		{"a cut-off .npy file", zero[:len(zero)-1], "cut off"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w.write(t, files{"x": row.file})
			o := w.quarry(t.Context(), "inspect ./x")
			if o.code != exitInput || o.stdout != "" || !strings.HasPrefix(o.stderr, "quarry: x") || !strings.Contains(o.stderr, row.says) {
				t.Errorf("exit %d, stdout %q, stderr %q; expected exit %d and %q", o.code, o.stdout, o.stderr, exitInput, row.says)
			}
		})
	}
	w.remove(t, "x")
	if o := w.quarry(t.Context(), "inspect ./x"); o.code != exitInput || !strings.Contains(o.stderr, "x: no such file") {
		t.Errorf("no file: exit %d, stderr %q", o.code, o.stderr)
	}
}
