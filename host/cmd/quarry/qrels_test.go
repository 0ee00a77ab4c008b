package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestQrelsThatAreNotSound(t *testing.T) {
	t.Parallel()
	const train = "qrels/train.tsv"
	add := func(line string) func(files) { return func(f files) { f[train] += line + "\n" } }
	set := func(content string) func(files) { return func(f files) { f[train] = content } }
	runFailures(t, []failure{
		{name: "no folder", change: func(f files) { f.drop(train, "qrels/test.tsv") }, says: []string{"data/qrels", "qrels/train.tsv", "query-id, corpus-id, score"}},
		{name: "no file", change: func(f files) { f.drop(train, "qrels/test.tsv"); f["qrels/"] = "" }, says: []string{"data/qrels", "no .tsv", "query-id, corpus-id, score"}},
		{name: "files of another kind", change: func(f files) { f.drop("qrels/test.tsv"); f.rename(train, "qrels/train.csv") }, says: []string{"data/qrels/train.csv", "<split>.tsv", "texts.json"}},
		{name: "a file of another kind too", change: func(f files) { f["qrels/dev.txt"] = f[train] }, says: []string{"data/qrels/dev.txt", "<split>.tsv", "texts.json"}},
		{name: "a line of two fields", change: add("q4\td1"), says: []string{"data/qrels/train.tsv, line 6", "2 columns", "expected 3", "separated by tabs"}},
		{name: "a line of four fields", change: add("q4\t0\td1\t1"), says: []string{"data/qrels/train.tsv, line 6", "4 columns", "expected 3"}},
		{name: "spaces for tabs", change: add("q4 d1 1"), says: []string{"data/qrels/train.tsv, line 6", "1 columns", "separated by tabs"}},
		{name: "a score that is no number", change: add("q4\td1\tyes"), says: []string{"data/qrels/train.tsv, line 6", `"yes"`, "not a number"}},
		{name: "a score that is NaN", change: add("q4\td1\tNaN"), says: []string{"data/qrels/train.tsv, line 6", `"NaN"`}},
		{name: "an infinite score", change: add("q4\td1\tinf"), says: []string{"data/qrels/train.tsv, line 6", `"inf"`}},
		{name: "an empty score", change: add("q4\td1\t"), says: []string{"data/qrels/train.tsv, line 6", `""`, "not a number"}},
		{name: "an empty id", change: add("q4\t\t1"), says: []string{"data/qrels/train.tsv, line 6", "id is empty"}},
		// The first line may be a header. A judgement with a bad score is not a header, and must not be skipped as one.
		{name: "a bad score in the first line", change: set("q1\td4\tone\nq2\td5\t1\n"), says: []string{"data/qrels/train.tsv, line 1", `"one"`, "not a number"}},
		{name: "an infinite score in the first line", change: set("q1\td4\tinf\nq2\td5\t1\n"), says: []string{"data/qrels/train.tsv, line 1", `"inf"`}},
		{name: "spaces for tabs in the first line", change: set("q1 d4 1\n"), says: []string{"data/qrels/train.tsv, line 1", "3 columns", "separated by tabs"}},
		{name: "a line of three columns", change: set("q1 0 d4 1\nq1\td5\t1\n"), says: []string{"data/qrels/train.tsv, line 2", "3 columns", "expected 4"}},
		{name: "a pair twice with another score", change: add("q1\td4\t2"), says: []string{"data/qrels/train.tsv, line 6", `"q1"`, `"d4"`, "first in data/qrels/train.tsv, line 2", "1 there and 2 here", "keep one"}},
		{name: "a pair twice with other scores", change: add("q1\td8\t1"), says: []string{"data/qrels/train.tsv, line 6", `"d8"`, "first in data/qrels/train.tsv, line 4"}},
		{name: "a pair in two files with two scores", change: add("q4\td5\t2"), says: []string{"data/qrels/train.tsv, line 6", `"q4"`, "first in data/qrels/test.tsv, line 2"}},
		{name: "a query that is not there", change: add("q9\td1\t1"), says: []string{"data/qrels/train.tsv, line 6", `query "q9" is not in data/queries.jsonl`, "--missing skip"}},
		{name: "a positive that is not there", change: add("q4\td9\t1"), says: []string{"data/qrels/train.tsv, line 6", `document "d9" is not in data/corpus.jsonl`, "--missing skip"}},
		{name: "ids of the other side", change: add("d1\tq4\t1"), says: []string{"data/qrels/train.tsv, line 6", `"d1" is not in data/queries.jsonl`}},
		{name: "an id with a space", change: add("q4 \td1\t1"), says: []string{"data/qrels/train.tsv, line 6", `"q4 "`}},
		{name: "all pairs missing", change: set("q9\td1\t1\nq4\td9\t1\n"), line: mineLine + " --missing skip", says: []string{"data/qrels/train.tsv", "no pair", "2", "missing"}},
		{name: "scores of 0 only", change: set("q1\td4\t0\nq2\td5\t-1\n"), says: []string{"data/qrels/train.tsv", "no pair", "score above 0"}},
		{name: "a header only", change: set("query-id\tcorpus-id\tscore\n"), says: []string{"data/qrels/train.tsv", "no pair"}},
		{name: "an empty file", change: set(""), says: []string{"data/qrels/train.tsv", "no pair"}},
		{name: "a folder for the file", change: func(f files) { f.drop("qrels/test.tsv"); f.rename(train, train+"/x") }, says: []string{"data/qrels/train.tsv", "a folder"}},
		{name: "unknown split", line: mineLine + " --split dev", code: exitUsage, says: []string{"qrels/dev.tsv", "train, test or all"}},
		{name: "no train", change: func(f files) { f.drop(train) }, code: exitUsage, says: []string{"qrels/train.tsv", "test or all"}},
	})
}

// TestPairsAreLookedAtFirst breaks the pairs, and a vector that fitting would read. The message is of the pairs: they are
// checked before the fit, which takes minutes where there are many documents.
func TestPairsAreLookedAtFirst(t *testing.T) {
	t.Parallel()
	bad := func(f files) { f["vectors/b/docs.npy"] = f4(withRow(spread(8, 0), 7, math.NaN(), 0, 0)...) }
	runFailures(t, []failure{
		{name: "unknown split", change: bad, line: mineLine + " --split dev", code: exitUsage, says: []string{"qrels/dev.tsv"}},
		{name: "missing query", change: func(f files) { bad(f); f["qrels/train.tsv"] += "q9\td1\t1\n" }, says: []string{"data/qrels/train.tsv, line 6", `"q9"`}},
	})
}

// TestMissingSkip leaves out what is missing, counts it, and mines the rest as if the lines were not there.
func TestMissingSkip(t *testing.T) {
	t.Parallel()
	data := sample()
	w := workFolder(t, data)
	w.mustRun(t, mineLine)
	data["qrels/train.tsv"] += "q9\td1\t1\nq4\td9\t1\nq9\td9\t1\nq9\td8\t0\n"
	data.write(t, w.path("data"))
	// The last of the lines is no pair, for its score is 0.
	s := w.mineJSON(t, "mine ./data -o ./out/skip.jsonl --engine native --missing skip --projection ./out/projection.safetensors")
	if s.Tallies.SkippedMissing != 3 || s.Tallies.Pairs != 3 {
		t.Errorf("%d pairs, %d skipped; expected 3 and 3", s.Tallies.Pairs, s.Tallies.SkippedMissing)
	}
	all := w.tree(t)
	if all["out/skip.jsonl"] != all["out/n.jsonl"] {
		t.Error("the negatives differ from those without the lines that were skipped")
	}
	var manifest struct {
		Missing string
		Tallies struct {
			Skipped int `json:"skipped_pairs_missing"`
		}
	}
	if err := json.Unmarshal([]byte(all["out/skip.manifest.json"]), &manifest); err != nil || manifest.Missing != "skip" || manifest.Tallies.Skipped != 3 {
		t.Errorf("the manifest says %+v, %v", manifest, err)
	}
}

// TestSplits mines one split or another: train by default, all in the order of the files with train first, whatever
// their names.
func TestSplits(t *testing.T) {
	t.Parallel()
	data := sample()
	data["qrels/dev.tsv"] = "q4\td8\t1\nq1\td7\t1\n"
	w := workFolder(t, data)
	for split, want := range map[string]string{
		"":               "q1-d4 q2-d5 q3-d7",
		" --split train": "q1-d4 q2-d5 q3-d7",
		" --split test":  "q4-d5",
		" --split dev":   "q4-d8 q1-d7",
		" --split all":   "q1-d4 q2-d5 q3-d7 q4-d8 q1-d7 q4-d5",
	} {
		w.mustRun(t, mineLine+" --force"+split)
		var got []string
		for _, p := range w.readNegatives(t, "out/n.jsonl") {
			got = append(got, p.QueryID+"-"+p.PositiveID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("mine%s: %v, expected %s", split, got, want)
		}
	}
}

// TestJudgementsThatAreNoNegatives looks at which documents are left out: positives of the query in any split, and the
// document with the query's own id. A judgement of 0 leaves nothing out.
func TestJudgementsThatAreNoNegatives(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(files)
		flags  string
		want   string // the negatives of q1
	}{
		{"as it is", func(files) {}, "", "d2 d3 d1"},
		{"judged 0", func(f files) { f["qrels/test.tsv"] += "q1\td3\t0\n" }, "", "d2 d3 d1"},
		{"positive in the same split", func(f files) { f["qrels/train.tsv"] += "q1\td3\t1\n" }, "", "d2 d1"},
		{"positive in another split", func(f files) { f["qrels/test.tsv"] += "q1\td2\t1\n" }, "", "d3 d1"},
		{"the query itself", func(f files) { selfQuery(f) }, "", "d3 d1"},
		{"the query itself, kept", func(f files) { selfQuery(f) }, " --self keep", "q1 d3 d1"},
		{"two of three", func(files) {}, " --top 2", "d2 d3"},
		// The positives d4 and d3 are 30 and 11 from q1. A document farther than d3 is no candidate. d2 is nearer to q1
		// (8) than to d3 (19).
		{"all positives", func(f files) { f["qrels/train.tsv"] += "q1\td3\t1\n" }, " --positives all", "d2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			data := sample()
			row.change(data)
			w := workFolder(t, data)
			w.mustRun(t, mineLine+" --no-pca --models a"+row.flags)
			var got []string
			for _, n := range w.readNegatives(t, "out/n.jsonl")[0].Negatives {
				got = append(got, n.ID)
			}
			if strings.Join(got, " ") != row.want {
				t.Errorf("negatives of q1: %v, expected %s", got, row.want)
			}
		})
	}
}

// selfQuery gives document d2 the id of query q1.
func selfQuery(f files) { f.edit("corpus.jsonl", `"d2"`, `"q1"`) }
