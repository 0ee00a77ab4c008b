package main

import (
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/negatives"
)

// TestSamplerUsage is mistakes in the flags of samplers. Nothing is read or written.
func TestSamplerUsage(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	for _, row := range []usageRow{
		{" --rule adore", []string{"needs a trainer", "star"}},
		{" --rule bogus", []string{`rule is "bogus"`, "dual, topk", "random, bm25, star, in-batch"}},
		{" --rule dual+bogus", []string{`"bogus"`, "one of dual", "random"}},
		{" --rule random --perc 0.9", []string{"--perc is for --rule perc or capped", "random"}},
		{" --rule random+dual --k1 1", []string{"--k1 is for --rule bm25", "random+dual"}},
		{" --rule random --b 1", []string{"--b is for --rule bm25"}},
		{" --rule bm25 --k1=-1", []string{"k1 is -1", "0 to 1000"}},
		{" --rule bm25 --b 1.5", []string{"b is 1.5", "0 to 1"}},
		{" --rule random --batch-size 4", []string{"--batch-size is for --rule in-batch"}},
		{" --rule in-batch --batch-size 1", []string{"batch size is 1", "2 to 4097"}},
		{" --rule in-batch --batch-size 0", []string{"--batch-size is 0"}},
		{" --rule in-batch --top 3", []string{"--top", "--batch-size"}},
		{" --rule topk --random-share 0.5", []string{"--random-share is for --rule star"}},
		{" --rule star --random-share 2", []string{"random share is 2", "0 to 1"}},
		{" --rule random --ranks 1-5", []string{"ranks are of a window rule", "random"}},
		{" --rule perc=0.9 --perc 0.8", []string{"--perc and --rule perc=0.9 both give perc: choose one"}},
		{" --rule perc=2 --top 5000", []string{"perc is 2", "top is 5000"}},
		{" --rule perc+in-batch", []string{"no other rule is added", "trainer"}},
		{" --rule topk:5-1", []string{"ranks go from 5 to 1"}},
		{" --rule random:1-5", []string{"ranks are of a window rule"}},
		{" --ranks=", []string{"--ranks is empty"}},
		{" --ranks 5", []string{`--ranks: "5" is no range`, "11-50"}},
		{" --ranks 5-x", []string{`--ranks: "5-x" is no range`}},
		{" --ranks 5-6-7", []string{`--ranks: "5-6-7" is no range`}},
		{" --ranks 0-5", []string{"ranks go from 0 to 5"}},
		{" --ranks 6-5", []string{"ranks go from 6 to 5"}},
		{" --ranks 1-5000", []string{"1 to 4096"}},
		{" --rule random --counts", []string{"counts", "one window rule"}},
		{" --rule random --positives all", []string{"positives is all"}},
		{" --rule random --resume", []string{"--resume"}},
		{" --rule random --part-documents 5", []string{"--part-documents"}},
		{" --keep 5", []string{"--keep is for --keep-scores"}},
		{" --keep-scores ./out/s --keep 0", []string{"--keep is 0", "1 to 4096"}},
		{" --keep-scores=", []string{"empty"}},
		{" --scores=", []string{"empty"}},
		{" --scores ./out/s", []string{"--scores needs --projection"}},
		{" --scores ./out/s --keep-scores ./out/k", []string{"choose one"}},
		{" --keep-scores ./out/n.jsonl", []string{"out/n.jsonl", "twice"}},
		{" --keep-scores ./out/s --resume", []string{"--resume"}},
		{" --keep-scores ./out/s --counts", []string{"counts"}},
		{" --keep-scores ./out/s --positives all", []string{"positives is all"}},
		{" --rule random --top 5000", []string{"top is 5000"}},
	} {
		failure{line: mineLine + row.line, code: exitUsage, says: row.says}.run(t, w)
	}
	failure{line: "job init ./data --shards 2 --bucket ./out/b --job j --engine native --rule random", code: exitUsage, says: []string{`rule is "random"`, "dual, topk"}}.run(t, w)
	help := w.mustRun(t, "mine --help")
	for _, says := range []string{"Zhan et al. (2021), STAR", "Karpukhin et al. (2020), BM25", "dual+perc", "--ranks"} {
		if !strings.Contains(help, says) {
			t.Errorf("--help does not say %q", says)
		}
	}
}

// TestMineBySampler mines by samplers from the command line: with a projection and without, and beside what is there.
func TestMineBySampler(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	out := w.mustRun(t, "mine ./data -o ./out/n.jsonl --engine native --rule random --top 2 --seed 3")
	if !strings.Contains(out, "rule random") || !strings.Contains(out, "projection.safetensors") {
		t.Errorf("the summary:\n%s", out)
	}
	m := must(negatives.LoadManifest(w.path("out/n.manifest.json")))
	if m.Rule.ManifestSampling == nil || *m.Rule.Seed != 3 || m.Negatives == "" {
		t.Errorf("the manifest's rule is %+v", m.Rule)
	}
	const line = "mine ./data --engine native --projection ./out/projection.safetensors "
	w.mustRun(t, line+"-o ./out/again.jsonl --rule random --top 2 --seed 3") // a seed beside a projection is the sampler's
	all := w.tree(t)
	if all["out/n.jsonl"] == "" || all["out/n.jsonl"] != all["out/again.jsonl"] {
		t.Error("the same seed gives other negatives")
	}
	w.mustRun(t, "inspect ./out/n.jsonl")
	failure{line: line + "-o ./out/n.jsonl --rule bm25", code: exitExists, says: []string{"out/n.jsonl", "--force"}}.run(t, w)
	if out := w.mustRun(t, line+"-o ./out/n.jsonl --rule dual --ranks 2-9 --force --json"); !strings.Contains(out, `"ranks"`) {
		t.Errorf("the summary lacks the ranks:\n%s", out)
	}
	failure{line: line + "-o ./out/m.jsonl --rule dual --seed 3", code: exitUsage, says: []string{"--seed is for fitting"}}.run(t, w)

	// A rule may have what flags give it.
	w.mustRun(t, line+"-o ./out/perc.jsonl --rule perc --perc 0.8")
	w.mustRun(t, line+"-o ./out/own.jsonl --rule perc=0.8 --resume")
	w.mustRun(t, line+"-o ./out/ranks.jsonl --rule topk --ranks 2-9")
	w.mustRun(t, line+"-o ./out/colon.jsonl --rule topk:2-9")
	all = w.tree(t)
	for flag, own := range map[string]string{"perc": "own", "ranks": "colon"} {
		for _, end := range []string{".jsonl", ".manifest.json"} {
			if all["out/"+flag+end] == "" || all["out/"+flag+end] != all["out/"+own+end] {
				t.Errorf("out/%s%s is not what the flag gives", own, end)
			}
		}
	}

	// What an earlier run left beside the outputs is of another run.
	w.mkdir(t, "out/p.jsonl.parts")
	failure{line: line + "-o ./out/p.jsonl --rule random", code: exitExists, says: []string{"out/p.jsonl.parts", "cut short"}}.run(t, w)
	w.mustRun(t, line+"-o ./out/p.jsonl --rule random --force")
	if _, there := w.tree(t)["out/p.jsonl.parts"]; there {
		t.Error("what the earlier run left is still there")
	}

	data := sample()
	onlyIDs(data)
	data.write(t, w.path("bare"))
	const bare = "mine ./bare --engine native --projection ./out/projection.safetensors -o ./out/bare.jsonl "
	failure{line: bare + "--rule bm25", says: []string{"bare", "no texts, only ids"}}.run(t, w)
	w.mustRun(t, bare+"--rule random --top 2 --seed 3")
	if all := w.tree(t); all["out/bare.jsonl"] != all["out/again.jsonl"] {
		t.Error("the negatives differ from those of the folder with texts")
	}
}

// TestKeepScores keeps scores, and applies rules to them from the command line: what is written is what mining writes.
func TestKeepScores(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	if out := w.mustRun(t, mineLine+" --rule capped --keep-scores ./out/s --keep 100"); !strings.Contains(out, "out/s") {
		t.Errorf("the summary does not name the file:\n%s", out)
	}
	const line = "mine ./data --engine native --projection ./out/projection.safetensors "
	w.mustRun(t, line+"-o ./out/capped.jsonl --rule capped")
	w.mustRun(t, line+"-o ./out/dual.jsonl")
	w.mustRun(t, line+"-o ./out/again.jsonl --scores ./out/s")
	w.mustRun(t, line+"-o ./out/sum.jsonl --scores ./out/s --rule dual+capped+random")
	all := w.tree(t)
	for kept, mined := range map[string]string{"n": "capped", "again": "dual"} {
		for _, end := range []string{".jsonl", ".manifest.json"} {
			if all["out/"+kept+end] == "" || all["out/"+kept+end] != all["out/"+mined+end] {
				t.Errorf("out/%s%s is not what a scan gives", kept, end)
			}
		}
	}
	failure{line: line + "-o ./out/x.jsonl --scores ./out/s --split test", code: exitUsage, says: []string{"of another run", "keep them again"}}.run(t, w)
	failure{line: line + "-o ./out/x.jsonl --scores ./out/n.jsonl", says: []string{"out/n.jsonl", "not kept scores"}}.run(t, w)
	failure{line: line + "-o ./out/x.jsonl --scores ./out/absent", says: []string{"out/absent", "--keep-scores"}}.run(t, w)
	failure{line: line + "-o ./out/x.jsonl --keep-scores ./out/s", code: exitExists, says: []string{"out/s", "--force"}}.run(t, w)

	// Where too few are kept, the rest is scanned for.
	w.mustRun(t, line+"-o ./out/few.jsonl --keep-scores ./out/few --keep 1 --rule topk")
	w.mustRun(t, line+"-o ./out/topk.jsonl --rule topk")
	w.mustRun(t, line+"-o ./out/fewsum.jsonl --scores ./out/few --rule dual+capped+random")
	all = w.tree(t)
	for kept, mined := range map[string]string{"few": "topk", "fewsum": "sum"} {
		for _, end := range []string{".jsonl", ".manifest.json"} {
			if all["out/"+kept+end] == "" || all["out/"+kept+end] != all["out/"+mined+end] {
				t.Errorf("out/%s%s is not what a scan gives", kept, end)
			}
		}
	}
}
