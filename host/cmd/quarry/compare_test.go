package main

import (
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/compare"
	"github.com/quarry-hn/quarry/host/negatives"
)

// compareLine compares rules on the folder of workFolder.
const compareLine = "compare ./data -o ./out/c.json --engine native"

// withTwoPositives is a folder in which q1 has two judged positives.
func withTwoPositives() files {
	f := sample()
	f["qrels/train.tsv"] += "q1\td3\t1\n"
	return f
}

// TestCompare: the file and --json are the same, the negatives are those of quarry mine, and the tables name what was
// measured. Neither the engine nor the number of threads changes a byte.
func TestCompare(t *testing.T) {
	t.Parallel()
	compilePlugin(t)
	w := workFolder(t, withTwoPositives())
	text := w.mustRun(t, compareLine+" --json --rules dual,perc=0.9,topk --draws 4")
	var r compare.Report
	decodeStrictly(t, text, &r)
	if file := w.read(t, "out/c.json"); file != text {
		t.Errorf("the file is\n%s\nand the output is\n%s", file, text)
	}
	if r.Format != compare.ReportFormat || r.Split != "all" || len(r.Rules) != 3 || r.MultiPositiveQueries != 1 || r.Rules[2].HiddenPositives.Draws != 4 {
		t.Errorf("the report is %+v", r)
	}
	for i, flags := range []string{"--rule dual", "--rule perc --perc 0.9", "--rule topk"} {
		w.mustRun(t, mineLine+" --force --split all "+flags)
		var m negatives.Manifest
		decodeStrictly(t, w.read(t, "out/n.manifest.json"), &m)
		if of := r.Rules[i]; of.NegativesID != m.Negatives || r.Projection != m.Projection.SHA256 {
			t.Errorf("%s: negatives %s, and quarry mine gives %s", of.Rule, of.NegativesID, m.Negatives)
		}
	}
	for _, flags := range []string{" --engine wasm --threads 1", " --projection ./out/projection.safetensors"} {
		if again := w.mustRun(t, "compare ./data -o ./out/c.json --json --rules dual,perc=0.9,topk --draws 4 --force"+flags); again != text {
			t.Errorf("with%s the output is\n%s", flags, again)
		}
	}
	table := w.mustRun(t, compareLine+" --force --rules dual,perc=0.9")
	for _, part := range []string{"5 pairs of split all, 4 queries, 8 documents", "perc=0.9", "hidden positives: 1, of 1 queries", "10 draws", "taken in the top 5", "written: out/c.json"} {
		if !strings.Contains(table, part) {
			t.Errorf("the tables lack %q:\n%s", part, table)
		}
	}
	if quiet := w.mustRun(t, compareLine+" --force -q"); quiet != "" {
		t.Errorf("--quiet prints\n%s", quiet)
	}
}

// TestCompareUnmeasured: where nothing can be hidden the table says so, and JSON has null.
func TestCompareUnmeasured(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	if table := w.mustRun(t, compareLine); !strings.Contains(table, "hidden positives: no query of split all has two judged positives") {
		t.Errorf("the tables are\n%s", table)
	}
	if !strings.Contains(w.read(t, "out/c.json"), `"hidden_positives": null`) {
		t.Error("JSON has no null")
	}
}

// TestCompareFailures: mistakes in the command line, in the folder, and an output that exists.
func TestCompareFailures(t *testing.T) {
	t.Parallel()
	rows := []failure{
		{line: "compare", says: []string{"1 arg", "0"}},
		{line: compareLine + " --rules bogus --draws 2000", says: []string{`rule is "bogus"`, "dual, topk", "draws is 2000"}},
		{line: compareLine + " --rules=", says: []string{"--rules is empty"}},
		{line: compareLine + " --rules dual,perc=3", says: []string{"perc is 3", "above 0 to 1"}},
		{line: compareLine + " --top 0", says: []string{"--top is 0"}},
		{line: compareLine + " --draws 0", says: []string{"--draws is 0"}},
		{line: compareLine + " --engine bogus", says: []string{`--engine is "bogus"`}},
		{line: compareLine + " --projection p --variance 0.9", says: []string{"--variance is for fitting"}},
		{line: "compare ./data -o -", says: []string{"--output", "./-"}},
		{line: compareLine + " --split dev", says: []string{"qrels/dev.tsv", "train, test or all"}},
		{line: compareLine + " --memory 16MiB", says: []string{"too little memory", "at least"}},
	}
	for i := range rows {
		rows[i].code = exitUsage
	}
	rows = append(rows,
		failure{line: "compare ./none -o ./out/c.json --engine native", says: []string{"none"}},
		failure{line: compareLine + " --projection ./none", says: []string{"none", "quarry fit"}},
		failure{line: compareLine, change: func(f files) { f["qrels/train.tsv"] += "q9\td1\t1\n" }, says: []string{`"q9"`, "--missing skip"}},
		failure{line: "compare ./data -o ./data/corpus.jsonl --engine native", code: exitExists, says: []string{"data/corpus.jsonl", "--force"}},
		failure{line: "compare ./data -o ./none/c.json --engine native", code: exitWrite, says: []string{"none"}},
	)
	for i := range rows {
		rows[i].name = rows[i].line
	}
	runFailures(t, rows)
}

// TestCompareHelp has examples and names all flags.
func TestCompareHelp(t *testing.T) {
	t.Parallel()
	help := newWorkspace(t).mustRun(t, "compare --help")
	for _, part := range []string{"Examples:\n  quarry compare", "--rules", "--draws", "--seed", "--projection", "--force"} {
		if !strings.Contains(help, part) {
			t.Errorf("help lacks %q", part)
		}
	}
}
