package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// TestAudit audits mined negatives, of which one was judged relevant since, and one not relevant. It is dropped, and export reads what is kept.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	w.mustRun(t, mineLine+" --rule topk --top 3")
	pairs := w.readNegatives(t, "out/n.jsonl")
	relevant := pairs[0].Negatives[1].ID
	w.write(t, files{"data/qrels/later.tsv": pairs[0].QueryID + "\t" + relevant + "\t1\n"})
	before := w.tree(t)
	var s audited
	if err := json.Unmarshal([]byte(w.mustRun(t, "audit ./out/n.jsonl ./data --json")), &s); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range pairs {
		n += len(p.Negatives)
	}
	if f := s.Findings[1]; s.Negatives != n || len(s.Findings) != n || s.Reasons["judged"] != 2 || f.ID != relevant || f.Score != 1 || s.Above["0.8"] < 1 || s.Kept != nil {
		t.Errorf("%+v", s)
	}
	w.checkUnchanged(t, before)
	out := w.mustRun(t, "audit ./out/n.jsonl ./data --drop-above 0.99 -o ./out/kept.jsonl")
	for _, says := range []string{"It is judged relevant to this query (1).", "1 negatives with a score above 0.99 were dropped", "out/kept.jsonl"} {
		if !strings.Contains(out, says) {
			t.Errorf("it does not say %q: %s", says, out)
		}
	}
	kept := w.readNegatives(t, "out/kept.jsonl")
	if len(kept) != len(pairs) || len(kept[0].Negatives) != len(pairs[0].Negatives)-1 || kept[0].Negatives[1].ID != pairs[0].Negatives[2].ID {
		t.Errorf("%+v", kept)
	}
	w.mustRun(t, "export ./out/kept.jsonl ./data -o ./out/triplets.jsonl")
	if lines := strings.Count(w.read(t, "out/triplets.jsonl"), "\n"); lines != n-1 {
		t.Errorf("%d triplets, expected %d", lines, n-1)
	}
	if o := w.quarry(t.Context(), "audit ./out/n.jsonl ./data --drop-above 0.99 -o ./out/kept.jsonl"); o.code != exitExists {
		t.Errorf("the output exists: exit %d, %s", o.code, o.stderr)
	}
	if out := w.mustRun(t, "audit ./out/n.jsonl ./data --drop-above 0 -o ./out/kept.jsonl --force -q"); out != "" {
		t.Errorf("-q prints %s", out)
	}
}

// TestPairsWithoutNegatives: what audit and export say counts them apart.
func TestPairsWithoutNegatives(t *testing.T) {
	t.Parallel()
	w := workFolder(t, sample())
	w.write(t, files{"n.jsonl": `{"query_id":"q1","positive_id":"d4","d_q_pd":0.1,"negatives":[{"id":"d1","rank":1,"d_q_d":0.1,"d_pd_d":0.1},{"id":"d2","rank":2,"d_q_d":0.1,"d_pd_d":0.1}]}
{"query_id":"q2","positive_id":"d5","d_q_pd":0.1,"negatives":[{"id":"d1","rank":1,"d_q_d":0.1,"d_pd_d":0.1}]}
{"query_id":"q3","positive_id":"d7","d_q_pd":0.1,"negatives":[],"none":"window"}
`})
	for line, says := range map[string][]string{
		"audit ./n.jsonl ./data --drop-above 1 -o ./out/kept.jsonl":              {"3 negatives of 2 pairs; 1 pairs have none", "3, of 2 pairs, are kept in out/kept.jsonl, with the 1 pairs that had none"},
		"export ./n.jsonl ./data -o ./out/t.jsonl":                               {"3 triplets of 2 pairs in out/t.jsonl\n1 pairs have no negative to write and were left out\n"},
		"export ./n.jsonl ./data -o ./out/n.jsonl --format n-tuple":              {"1 lines of n-tuple of 1 pairs", "1 pairs have fewer than 2 negatives: 1 were dropped, 0 were kept\n  hint: --short keep"},
		"export ./n.jsonl ./data -o ./out/f.jsonl --format flagembedding --json": {`"pairs": 3`, `"without_negatives": 1`},
	} {
		out := w.mustRun(t, line)
		for _, part := range says {
			if !strings.Contains(out, part) {
				t.Errorf("%s does not say %q:\n%s", line, part, out)
			}
		}
	}
	if out := w.mustRun(t, "export ./n.jsonl ./data -o ./out/d.jsonl --format n-tuple --short drop"); strings.Contains(out, "hint") {
		t.Errorf("a hint to keep what is dropped as asked: %s", out)
	}
}

func TestAuditRefuses(t *testing.T) {
	t.Parallel()
	const line = `{"query_id":"q1","positive_id":"d4","d_q_pd":0.1,"negatives":[{"id":"d99","rank":1,"d_q_d":0.1,"d_pd_d":0.1}]}` + "\n"
	foreign := func(f files) { f["n.jsonl"] = line }
	fine := func(f files) { f["n.jsonl"] = strings.Replace(line, "d99", "d1", 1) }
	runFailures(t, []failure{
		{name: "another folder's", change: foreign, line: "audit ./data/n.jsonl ./data", says: []string{"data/corpus.jsonl", `"d99"`, "mined from"}},
		{name: "no negatives", change: foreign, line: "audit ./data/queries.jsonl ./data", says: []string{"data/queries.jsonl, line 1", "quarry mine"}},
		{name: "swapped", change: fine, line: "audit ./data ./data/n.jsonl", says: []string{"data: it is a folder", "quarry mine wrote; a data folder comes after it"}},
		{name: "no file", line: "audit ./data/n.jsonl ./data", says: []string{"n.jsonl", "no such file"}},
		{name: "no folder", change: fine, line: "audit ./data/n.jsonl ./none", says: []string{"none", "no such file"}},
		{name: "an output alone", change: fine, line: "audit ./data/n.jsonl ./data -o ./out/k.jsonl", code: exitUsage, says: []string{"--output", "--drop-above"}},
		{name: "a limit above 1", change: fine, line: "audit ./data/n.jsonl ./data -o ./out/k.jsonl --drop-above 1.5", code: exitUsage, says: []string{"1.5", "0 to 1"}},
		{name: "a limit that is no number", change: fine, line: "audit ./data/n.jsonl ./data -o ./out/k.jsonl --drop-above NaN", code: exitUsage, says: []string{"NaN"}},
		{name: "no folder for the output", change: fine, line: "audit ./data/n.jsonl ./data -o ./gone/k.jsonl --drop-above 0.5", code: exitWrite, says: []string{"gone"}},
		{name: "vectors that are no numbers", change: func(f files) {
			fine(f)
			f["vectors/a/docs.npy"] = f4(withRow(planar(documentDegrees), 3, math.NaN(), 0)...)
		}, line: "audit ./data/n.jsonl ./data", says: []string{"vectors/a/docs.npy, row 3"}},
	})
}
