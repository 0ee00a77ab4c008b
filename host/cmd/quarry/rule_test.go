package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/run"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// TestNewRule adds a rule to the table, and to nothing else: a band below the positive, with a parameter of its own. Flags, help, mining, manifest
// and summary follow from the row.
func TestNewRule(t *testing.T) {
	rules := mine.Rules
	t.Cleanup(func() { mine.Rules = rules })
	band := &mine.Parameter{Name: "band", Default: 0.1, Min: 0, Max: 2, MinExcluded: true, Help: "s(Q,D) lies within band below s(Q,PD)"}
	mine.Rules = append(slices.Clone(rules), mine.Definition{
		Name: "banded", Parameters: []*mine.Parameter{band}, Help: "a little further from the query than the positive is",
		Window: func(v []float64) (floor, cap *mine.Bound) { return &mine.Bound{A: 1, B: -v[0]}, &mine.Bound{A: 1} },
		Values: func(floor, _ *mine.Bound) []float64 {
			if floor == nil {
				return nil
			}
			return []float64{-floor.B}
		},
	})
	w := workFolder(t, sample())
	help := w.mustRun(t, "mine --help")
	for _, says := range []string{"banded         a little further", "--band", "for --rule banded: s(Q,D) lies within", "(default 0.1)"} {
		if !strings.Contains(help, says) {
			t.Errorf("--help does not say %q:\n%s", says, help)
		}
	}
	failure{line: mineLine + " --rule banded --band 0", code: exitUsage, says: []string{"band is 0", "above 0 to 2"}}.run(t, w)
	failure{line: mineLine + " --band 0.5", code: exitUsage, says: []string{"--band is for --rule banded", "dual"}}.run(t, w)

	var summary run.Summary
	if err := json.Unmarshal([]byte(w.mustRun(t, "mine ./data -o ./out/wide.jsonl --engine native --rule topk --top 100 --json")), &summary); err != nil {
		t.Fatal(err)
	}
	all := w.readNegatives(t, "out/wide.jsonl")
	if err := json.Unmarshal([]byte(w.mustRun(t, "mine ./data -o ./out/banded.jsonl --projection ./out/projection.safetensors --engine native --rule banded --band 0.5 --top 100 --json")), &summary); err != nil {
		t.Fatal(err)
	}
	if summary.Rule.Name != "banded" || *summary.Rule.Floor != [2]float64{1, -0.5} || *summary.Rule.Cap != [2]float64{1, 0} || summary.Rule.Eq6 {
		t.Errorf("the summary has the rule %+v", summary.Rule)
	}
	taken, left := 0, 0
	for i, p := range w.readNegatives(t, "out/banded.jsonl") {
		var want []string
		for _, n := range all[i].Negatives {
			if s, sQPD := 1-n.DQD, 1-p.DQPD; s > sQPD-0.5 && s <= sQPD {
				want = append(want, n.ID)
				taken++
			} else {
				left++
			}
		}
		var got []string
		for _, n := range p.Negatives {
			got = append(got, n.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("pair %d has the negatives %v; of all documents %v lie in the band", i, got, want)
		}
	}
	if taken == 0 || left == 0 {
		t.Fatalf("%d documents lie in the band and %d do not: it shows nothing", taken, left)
	}
	m, err := negatives.LoadManifest(w.path("out/banded.manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.CheckRule(); err != nil {
		t.Errorf("the manifest's rule is not taken for that of its name: %v", err)
	}
}
