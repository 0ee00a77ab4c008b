package main

import (
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/negatives"
)

// TestJudgements: a document that a reader marked as relevant is no negative any more, by whatever rule; one marked good still is. The manifest
// names the file. The negatives are those of a folder that has the file among its splits.
func TestJudgements(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"topk", "random --seed 1", "bm25", "topk --positives all", "topk --keep-scores ./out/s --keep 20"} {
		data := sample()
		data.edit("qrels/train.tsv", "q1\td8\t0\n", "") // a document must not be judged twice in qrels/
		w := workFolder(t, data)
		line := "mine ./data --engine native --projection ./out/p --top 3 --rule " + strings.ReplaceAll(rule, "./out/s", "./out/KEPT")
		w.mustRun(t, "fit ./data -o ./out/p")
		w.mustRun(t, strings.ReplaceAll(line, "KEPT", "s1")+" -o ./out/before.jsonl")
		before := must(negatives.Load(w.path("out/before.jsonl")))
		first := before[0]
		wrong, good := first.Negatives[0].ID, first.Negatives[1].ID
		marks := "query-id\tcorpus-id\tscore\n" + first.QueryID + "\t" + wrong + "\t1\n" + first.QueryID + "\t" + good + "\t0\n" + first.QueryID + "\t" + first.PositiveID + "\t1\nq4\td1\t1\n"
		w.write(t, files{"out/marks.tsv": marks, "out/more": "q2\td1\t1\n"})
		w.mustRun(t, strings.ReplaceAll(line, "KEPT", "s2")+" -o ./out/after.jsonl --judgements ./out/marks.tsv --judgements ./out/more")
		after := must(negatives.Load(w.path("out/after.jsonl")))
		has := map[string]bool{}
		for _, n := range after[0].Negatives {
			has[n.ID] = true
		}
		if has[wrong] || !has[good] && !strings.Contains(rule, "random") || len(after) != len(before) {
			t.Errorf("%s: %s was marked relevant and %s was not; the negatives are %+v", rule, wrong, good, after[0].Negatives)
		}
		m, old := must(negatives.LoadManifest(w.path("out/after.manifest.json"))), must(negatives.LoadManifest(w.path("out/before.manifest.json")))
		if m.Inputs["judgements/marks"] == "" || m.Inputs["judgements/more"] == "" || len(m.Inputs) != len(old.Inputs)+2 || m.RunID() == old.RunID() {
			t.Errorf("%s: the manifest has the inputs %v", rule, m.Inputs)
		}

		w.remove(t, "out/more")
		w.mustRun(t, strings.ReplaceAll(line, "KEPT", "s3")+" -o ./out/one.jsonl --judgements ./out/marks.tsv")
		w.write(t, files{"data/qrels/marks.tsv": strings.ReplaceAll(marks, first.QueryID+"\t"+first.PositiveID+"\t1\n", "")})
		w.mustRun(t, strings.ReplaceAll(line, "KEPT", "s4")+" -o ./out/split.jsonl")
		if all := w.tree(t); all["out/one.jsonl"] != all["out/split.jsonl"] {
			t.Errorf("%s: the negatives differ from those of a folder that has the judgements", rule)
		}
	}
}

// TestJudgementsThatAreNotSound: mistakes in files of judgements are told as those of qrels are.
func TestJudgementsThatAreNotSound(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	w.mkdir(t, "out/folder")
	w.mkdir(t, "out/other")
	w.write(t, files{"out/fields.tsv": "q1\td1\n", "out/score.tsv": "q1\td1\tyes\n", "out/twice.tsv": "q1\td1\t1\nq1\td1\t0\n", "out/query.tsv": "q9\td1\t1\n",
		"out/document.tsv": "q1\td1\t1\nq1\td9\t1\n", "out/empty.tsv": "q1\t\t1\n", "out/sound.tsv": "q9\td9\t0\nq1\td1\t1\n", "out/other/sound.tsv": "q1\td2\t1\n"})
	for name, says := range map[string][]string{
		"none.tsv":     {"out/none.tsv", "no such file", "quarry report"},
		"folder":       {"out/folder", "a folder, not a file"},
		"fields.tsv":   {"out/fields.tsv, line 1", "2 columns", "3 separated by tabs"},
		"score.tsv":    {"out/score.tsv, line 1", `"yes"`, "not a number"},
		"twice.tsv":    {"out/twice.tsv, line 2", "judged twice", "keep one"},
		"query.tsv":    {"out/query.tsv, line 1", `query "q9" is not in data/queries.jsonl`, "--missing skip"},
		"document.tsv": {"out/document.tsv, line 2", `document "d9" is not in data/corpus.jsonl`, "--missing skip"},
		"empty.tsv":    {"out/empty.tsv, line 1", "id is empty"},
		"sound.tsv --judgements ./out/other/sound.tsv": {"out/other/sound.tsv", "out/sound.tsv", `"sound"`, "another name"},
	} {
		failure{line: mineLine + " --judgements ./out/" + name, says: says}.run(t, w)
	}
	w.mustRun(t, mineLine+" --judgements ./out/document.tsv --missing skip")
	w.mustRun(t, mineLine+" --judgements ./out/sound.tsv --force")
}
