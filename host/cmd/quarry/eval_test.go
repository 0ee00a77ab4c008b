package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// runs adds two run files and their judgements to a folder.
func runs(f files) {
	f["a.run"] = "q1 Q0 d1 1 0.9 a\nq1 Q0 d2 2 0.8 a\nq9 Q0 d2 2 0.8 a\n"
	f["b.run"] = "q1 Q0 d1 1 0.7 b\nq1 Q0 d2 2 0.8 b\nq2 Q0 d3 1 1 b\n"
	f["judged"] = "q1 0 d1 1\nq2 0 d3 1\n"
}

func TestEval(t *testing.T) {
	t.Parallel()
	data := sample()
	runs(data)
	w := workFolder(t, data)
	out := w.mustRun(t, "eval ./data/a.run ./data/judged --against ./data/b.run --metrics mrr,recall@1 --per-query --json")
	var e evaluation
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		t.Fatal(err)
	}
	if e.Metrics["mrr"] != 0.5 || e.Against.Metrics["mrr"] != 0.75 || e.Queries != 2 || e.QueriesWithoutResults != 1 || e.QueriesWithoutJudgement != 1 ||
		e.PerQuery["q1"]["mrr"] != 1 || e.PerQuery["q2"]["recall@1"] != 0 {
		t.Errorf("%s", out)
	}
	if d := e.Differences[0]; d.Metric != "mrr" || d.Mean != -0.25 || d.Interval[0] != nil || d.P != 1 || !d.Exact || d.FirstWins != 1 || d.SecondWins != 1 {
		t.Errorf("%+v", d)
	}
	for line, says := range map[string]string{
		"eval ./data/a.run ./data/judged":                                      "mrr@10      0.5000",
		"eval ./data/a.run ./data/judged --against ./data/b.run --metrics mrr": "-0.2500     unbounded to unbounded  1.0000  1       1",
		"eval ./data/a.run ./data/judged --metrics mrr --per-query":            "q2   mrr 0.0000",
		"eval ./data/b.run ./data/judged --metrics p@1":                        "p@1  0.5000",
	} {
		if out := w.mustRun(t, line); !strings.Contains(out, says) {
			t.Errorf("%s: %s", line, out)
		}
	}
	if out := w.mustRun(t, "eval ./data/a.run ./data/judged -q"); out != "" {
		t.Errorf("-q prints %s", out)
	}
}

func TestEvalRefuses(t *testing.T) {
	t.Parallel()
	runFailures(t, []failure{
		{name: "no run", change: runs, line: "eval ./data/none.run ./data/judged", says: []string{"none.run", "no such file"}},
		{name: "a folder", change: runs, line: "eval ./data ./data/judged", says: []string{"data: it is a folder", "give one TREC run file"}},
		{name: "a folder of qrels", change: runs, line: "eval ./data/a.run ./data/qrels", says: []string{"data/qrels: it is a folder", "give one file, such as ", "data/qrels/test.tsv"}},
		{name: "a data folder", change: runs, line: "eval ./data/a.run ./data", says: []string{"data: it is a folder", "data/qrels/test.tsv"}},
		{name: "no qrels", change: runs, line: "eval ./data/a.run ./data/none", says: []string{"data/none", "no such file"}},
		{name: "swapped", change: runs, line: "eval ./data/judged ./data/a.run", says: []string{"data/a.run, line 1", "6 columns"}},
		{name: "a second run that is none", change: runs, line: "eval ./data/a.run ./data/judged --against ./data/judged", says: []string{"data/judged, line 1", "4 columns; expected 6"}},
		{name: "no metric", change: runs, line: "eval ./data/a.run ./data/judged --metrics err@10", code: exitUsage, says: []string{`"err@10"`, "recall@k"}},
		{name: "no permutations", change: runs, line: "eval ./data/a.run ./data/judged --against ./data/b.run --permutations 0", code: exitUsage, says: []string{"0 permutations"}},
		{name: "one argument", change: runs, line: "eval ./data/a.run", code: exitUsage, says: []string{"accepts 2 arg"}},
	})
}
