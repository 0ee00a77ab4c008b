package main

import (
	"math"
	"os"
	"strings"
	"testing"
)

// writing is a command and one of the files it writes.
type writing struct{ line, file string }

// Command lines of minedFolder. transformLine projects its vectors, exportLine exports its negatives, and statsLine mines
// and writes statistics.
const (
	transformLine = "transform ./data --projection ./p.safetensors -o ./out --engine native"
	exportLine    = "export ./n.jsonl ./data -o ./out/t.jsonl"
	statsLine     = mineLine + " --stats ./out/s.json"
)

// writings are all files that commands write.
var writings = []writing{
	{mineLine, "out/n.jsonl"},
	{mineLine, "out/n.manifest.json"},
	{mineLine, "out/projection.safetensors"},
	{statsLine, "out/s.json"},
	{"fit ./data -o ./out/p.safetensors", "out/p.safetensors"},
	{transformLine, "out/docs.npy"},
	{transformLine, "out/queries.npy"},
	{exportLine, "out/t.jsonl"},
}

// minedFolder is workFolder with a projection and negatives beside the data, for transform and export.
func minedFolder(t *testing.T) workspace {
	t.Helper()
	w := workFolder(t, sample())
	w.mustRun(t, "mine ./data -o ./n.jsonl --engine native")
	w.rename(t, "projection.safetensors", "p.safetensors")
	return w
}

// spoil breaks the inputs, so that all work on them fails with exit 3. A command that fails with another code failed
// before the work.
func (w workspace) spoil(t *testing.T) {
	t.Helper()
	w.write(t, files{"n.jsonl": "x", "data/vectors/b/docs.npy": f4(withRow(spread(8, 0), 0, math.NaN(), 0, 0)...)})
}

func TestOutputsThatExist(t *testing.T) {
	t.Parallel()
	for _, row := range writings {
		t.Run(row.line+"/"+row.file, func(t *testing.T) {
			w := minedFolder(t)
			w.write(t, files{row.file: "old"})
			w.spoil(t)
			says := []string{row.file + " exists already", "--force"}
			if row.line == mineLine && row.file == "out/projection.safetensors" {
				says = append(says, "cannot be used", "another folder") // its name follows from the folder
			}
			failure{line: row.line, code: exitExists, says: says}.run(t, w)
			mistaken := row.line + " --threads 0"
			if o := w.quarry(t.Context(), mistaken); row.line == mineLine && o.code != exitUsage {
				t.Errorf("quarry %s: exit %d; a mistake in the line comes first", mistaken, o.code)
			}
			failure{line: row.line + " --force"}.run(t, w) // work that fails replaces nothing
		})
		t.Run(row.line+"/"+row.file+" --force", func(t *testing.T) {
			w := minedFolder(t)
			w.mustRun(t, row.line)
			want := w.tree(t)
			w.write(t, files{row.file: "old"})
			w.mustRun(t, row.line+" --force")
			if row.file == "out/s.json" { // it has times
				if want[row.file] = w.tree(t)[row.file]; want[row.file] == "old" {
					t.Error("the file is the old one")
				}
			}
			w.checkUnchanged(t, want)
		})
	}
}

// TestInputsBeforeOutputs: what is wrong with the inputs is told where all outputs are there, too.
func TestInputsBeforeOutputs(t *testing.T) {
	t.Parallel()
	const (
		given  = mineLine + " --projection ./out/projection.safetensors"
		fit    = "fit ./data -o ./out/projection.safetensors"
		noData = "give the folder that holds"
	)
	for _, row := range []failure{
		{line: strings.Replace(mineLine, "./data", "./nosuch", 1), says: []string{"nosuch", noData}},
		{line: strings.Replace(given, "./data", "./nosuch", 1), says: []string{"nosuch", noData}},
		{line: strings.Replace(fit, "./data", "./nosuch", 1), says: []string{"nosuch", noData}},
		{line: mineLine + " --models nosuch", code: exitUsage, says: []string{`no model "nosuch"`}},
		{line: fit + " --models nosuch", code: exitUsage, says: []string{`no model "nosuch"`}},
		{line: mineLine + " --rule random --models nosuch", code: exitUsage, says: []string{`no model "nosuch"`}},
		{line: mineLine + " --split nosuch", code: exitUsage, says: []string{"qrels/nosuch.tsv"}},
		{line: mineLine + " --rule random --split nosuch", code: exitUsage, says: []string{"qrels/nosuch.tsv"}},
		{line: given + " --split nosuch", code: exitUsage, says: []string{"qrels/nosuch.tsv"}},
		{line: mineLine, change: func(data files) { data.drop("vectors/a/queries.npy") }, says: []string{"vectors/a/queries"}},
		{line: given, change: func(data files) { data.drop("vectors/a/queries.npy") }, says: []string{"vectors/a/queries"}},
		{line: fit, change: func(data files) { data.drop("vectors/a/docs.npy") }, says: []string{"vectors/a/docs"}},
		{line: mineLine + " --rule bm25", change: onlyIDs, says: []string{"no texts, only ids"}},
		{line: mineLine, code: exitExists, says: []string{"out/n.jsonl exists already", "another name"}},
		{line: fit, code: exitExists, says: []string{"out/projection.safetensors exists already", "another name"}},
	} {
		t.Run(row.line, func(t *testing.T) {
			w := workFolder(t, sample())
			w.mustRun(t, mineLine)
			if row.change != nil {
				if err := os.RemoveAll(w.path("data")); err != nil {
					t.Fatal(err)
				}
				data := sample()
				row.change(data)
				data.write(t, w.path("data"))
			}
			row.run(t, w)
		})
	}
}

// TestMineAgain mines once more beside what is there: by window rules and samplers, the negatives and the manifest are
// those of --projection, the projection stays, and the summary says so. A fit with other flags is refused.
func TestMineAgain(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	first := w.mustRun(t, mineLine)
	const line, given = "mine ./data --engine native ", " --projection ./out/projection.safetensors"
	for name, flags := range map[string]string{"capped": "--rule capped", "random": "--rule random", "ranks": "--rule topk:2-9"} {
		out := w.mustRun(t, line+flags+" -o ./out/"+name+".jsonl")
		if says := "projection  out/projection.safetensors, which was there: of the same fit\n"; !strings.Contains(out, says) || strings.Contains(first, "which was there") {
			t.Errorf("%s: the summary lacks %q, or the first has it:\n%s", flags, says, out)
		}
		if !strings.HasSuffix(out, "written: out/"+name+".jsonl, out/"+name+".manifest.json\n") {
			t.Errorf("%s: the summary ends otherwise:\n%s", flags, out)
		}
		w.mustRun(t, line+flags+given+" --force -o ./out/given.jsonl")
		all := w.tree(t)
		for _, end := range []string{".jsonl", ".manifest.json"} {
			if all["out/"+name+end] == "" || all["out/"+name+end] != all["out/given"+end] {
				t.Errorf("out/%s%s is not what --projection gives", name, end)
			}
		}
	}
	if out := w.mustRun(t, line+"--rule perc -o ./out/perc.jsonl --json --stats ./out/s.json"); !strings.Contains(out, `"projection_found"`) {
		t.Errorf("the summary in JSON lacks the projection:\n%s", out)
	}
	if s := w.read(t, "out/s.json"); strings.Contains(s, "projection.safetensors") || !strings.Contains(s, "perc.jsonl") {
		t.Errorf("the statistics name the projection as written:\n%s", s)
	}
	for flags, says := range map[string]string{"--components 2": "fit.PCA", "--rule random --seed 7": "fit.Seed is 7 and was 0"} {
		failure{line: line + flags + " -o ./out/x.jsonl", code: exitExists, says: []string{"projection.safetensors exists already", says, "--projection", "--force"}}.run(t, w)
	}
	w.write(t, files{"data/vectors/b/docs.npy": f4(spread(len(documentDegrees), 1)...)})
	failure{line: line + "-o ./out/x.jsonl", code: exitExists, says: []string{"its vectors were others", "--projection", "--force"}}.run(t, w)
}

// TestOutputsThatCannotBe: a folder is in the place of an output. The command fails before it does any work, with --force
// and without.
func TestOutputsThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, row := range writings {
		for _, force := range []string{"", " --force"} {
			t.Run(row.line+force+"/"+row.file, func(t *testing.T) {
				w := minedFolder(t)
				w.write(t, files{row.file + "/x": "old"})
				w.spoil(t)
				failure{line: row.line + force, code: exitWrite, says: []string{"cannot write " + row.file, "folder"}}.run(t, w)
			})
		}
	}
	for _, row := range []failure{
		{line: "mine ./data -o ./nosuch/n.jsonl --engine native", says: []string{"cannot write nosuch/", "no such file", "make the folder nosuch first"}},
		{line: "mine ./data -o ./p.safetensors/n.jsonl --engine native", says: []string{"cannot write p.safetensors/", "not a directory"}},
		{line: mineLine + " --stats ./nosuch/s.json", says: []string{"cannot write nosuch/s.json", "no such file"}},
		{line: "fit ./data -o ./nosuch/p.safetensors", says: []string{"cannot write nosuch/p.safetensors", "no such file"}},
		{line: "export ./n.jsonl ./data -o ./nosuch/t.jsonl", says: []string{"cannot write nosuch/t.jsonl", "no such file"}},
		// transform and demo make their folder. They cannot where a file has its name.
		{line: "transform ./data --projection ./p.safetensors -o ./n.jsonl --engine native", says: []string{"cannot write", "n.jsonl", "not a directory"}},
		{line: "demo -o ./n.jsonl --engine native", says: []string{"cannot write", "n.jsonl", "not a directory"}},
	} {
		t.Run(row.line, func(t *testing.T) {
			w := minedFolder(t)
			w.spoil(t)
			row.code = exitWrite
			row.run(t, w)
		})
	}
}

// TestOutputsThatAreLinks: --force replaces a link, and its target stays as it is. A link to a folder counts as a folder.
func TestOutputsThatAreLinks(t *testing.T) {
	t.Parallel()
	w := minedFolder(t)
	for link, to := range map[string]string{"out/t.jsonl": "../p.safetensors", "out/broken": "nosuch", "out/folder": "../data"} {
		if err := os.Symlink(to, w.path(link)); err != nil {
			t.Skip("no links here: ", err)
		}
	}
	before := w.read(t, "p.safetensors")
	for _, name := range []string{"out/t.jsonl", "out/broken"} {
		line := "export ./n.jsonl ./data -o ./" + name
		if o := w.quarry(t.Context(), line); o.code != exitExists {
			t.Errorf("quarry %s: exit %d, expected %d", line, o.code, exitExists)
		}
		w.mustRun(t, line+" --force")
		if info := must(os.Lstat(w.path(name))); !info.Mode().IsRegular() || info.Size() == 0 {
			t.Errorf("%s is not the file: %v, %d bytes", name, info.Mode(), info.Size())
		}
	}
	if o := w.quarry(t.Context(), "export ./n.jsonl ./data -o ./out/folder --force"); o.code != exitWrite {
		t.Errorf("a link to a folder: exit %d, expected %d", o.code, exitWrite)
	}
	if w.read(t, "p.safetensors") != before {
		t.Error("what the link led to was changed")
	}
}

// TestDemoTwice: demo succeeds where its files are there with the same bytes. Where one of them differs, it fails and
// writes nothing.
func TestDemoTwice(t *testing.T) {
	t.Parallel()
	compilePlugin(t)
	w := newWorkspace(t)
	const line = "demo -o ./d --engine native"
	first := w.mustRun(t, line)
	want := w.tree(t)
	if len(want) != 12 {
		t.Errorf("demo wrote %d files, expected 4 of texts and judgements, 4 of vectors and 4 of results", len(want))
	}
	lines := []string{"demo -o ./d --engine wasm --threads 1", line + " --force", line}
	names := []string{"d/data/corpus.jsonl", "d/negatives.jsonl", "d/projection.safetensors"}
	if testing.Short() { // each demo fits
		lines, names = lines[:2], names[:1]
	}
	for _, again := range lines {
		if w.mustRun(t, again) != first {
			t.Errorf("quarry %s says other things than the first time", again)
		}
		w.checkUnchanged(t, want)
	}
	for _, name := range names {
		if err := os.RemoveAll(w.path("d")); err != nil {
			t.Fatal(err)
		}
		w.write(t, files{name: "mine"})
		failure{line: line, code: exitExists, says: []string{name + " exists already", "--force"}}.run(t, w)
		w.mustRun(t, line+" --force")
		w.checkUnchanged(t, want)
	}
}

// TestDemoNext runs the command that demo ends with.
func TestDemoNext(t *testing.T) {
	t.Chdir(t.TempDir())
	w := here
	_, next, ok := strings.Cut(w.mustRun(t, "demo -o ./d --engine native"), "next:    quarry ")
	if !ok {
		t.Fatal("demo names no next command")
	}
	w.mustRun(t, strings.TrimSpace(next)+" --engine native")
	if b, err := os.ReadFile("d/capped.jsonl"); err != nil || len(b) == 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// TestExportToStandardOutput gives the file's bytes and nothing else.
func TestExportToStandardOutput(t *testing.T) {
	t.Parallel()
	w := minedFolder(t)
	w.mustRun(t, exportLine)
	want := w.tree(t)
	if got := w.mustRun(t, "export ./n.jsonl ./data -o - --json"); got != want["out/t.jsonl"] || got == "" {
		t.Errorf("%d bytes, expected %d", len(got), len(want["out/t.jsonl"]))
	}
	w.checkUnchanged(t, want)
}
