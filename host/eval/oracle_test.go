package eval

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestOracle measures random runs with many ties, and compares each query's value and the means with those of ir-measures to 1e-12. Some scores
// differ only beyond float32, some queries lack judgements or results, and of some no document is relevant.
func TestOracle(t *testing.T) {
	t.Parallel()
	python := os.Getenv("QUARRY_PYTHON")
	if python == "" {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import ir_measures, pytrec_eval").CombinedOutput(); err != nil {
		t.Skipf("no Python with ir-measures: run `make test`, which sets one up, or set QUARRY_PYTHON (%v %s)", err, out)
	}
	dir := t.TempDir()
	const cases = 8
	for c := range cases {
		run, qrels := randomRun(rand.New(rand.NewPCG(7, uint64(c))))
		write(t, filepath.Join(dir, fmt.Sprintf("%d.run", c)), run)
		write(t, filepath.Join(dir, fmt.Sprintf("%d.qrels", c)), qrels)
	}
	cmd := exec.Command(python, filepath.Join("testdata", "ir_measures_values.py"), dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	var oracle map[string]struct {
		Values map[string]map[string]float64
		Means  map[string]float64
	}
	if err := json.Unmarshal(out, &oracle); err != nil {
		t.Fatal(err)
	}
	metrics := parse(t, "mrr,mrr@3,mrr@10,ndcg,ndcg@3,ndcg@10,recall@5,recall@100,p@1,p@10,map")
	compared := 0
	for c := range cases {
		run, err := LoadRun(filepath.Join(dir, fmt.Sprintf("%d.run", c)))
		if err != nil {
			t.Fatal(err)
		}
		judged, err := LoadQrels(filepath.Join(dir, fmt.Sprintf("%d.qrels", c)))
		if err != nil {
			t.Fatal(err)
		}
		r := Evaluate(run, judged, metrics)
		want := oracle[fmt.Sprint(c)]
		for m, name := range r.Metrics {
			if mean, ok := want.Means[name]; ok && math.Abs(mean-r.Means[m]) > 1e-12 {
				t.Errorf("case %d, %s: %v; ir-measures has %v", c, name, r.Means[m], mean)
			}
			for i, q := range r.Queries {
				// ir-measures gives no value for a query that the run lacks, and counts it as 0 in the means.
				if expected := want.Values[name][q]; math.Abs(expected-r.Values[m][i]) > 1e-12 {
					t.Errorf("case %d, query %s, %s: %v; ir-measures has %v", c, q, name, r.Values[m][i], expected)
				}
				compared++
			}
		}
	}
	if compared < cases*len(metrics) {
		t.Errorf("%d values were compared", compared)
	}
}

// randomRun is a run file and its qrels. Scores are few, so that there are ties; some differ by less than float32 holds.
func randomRun(random *rand.Rand) (run, qrels string) {
	var r, q bytes.Buffer
	for query := range 20 {
		if query%7 != 3 { // else there are no results
			for _, d := range random.Perm(150)[:1+random.IntN(149)] {
				score := 10 + float64(random.IntN(12))/4 + float64(random.IntN(3))*1e-9
				fmt.Fprintf(&r, "q%d Q0 d%d %d %v tag\n", query, d, random.IntN(100), score)
			}
		}
		if query%6 == 4 { // no judgements
			continue
		}
		for _, d := range random.Perm(160)[:1+random.IntN(12)] {
			relevance := random.IntN(4)
			if query%9 == 5 {
				relevance = 0
			}
			fmt.Fprintf(&q, "q%d\t0\td%d\t%d\n", query, d, relevance)
		}
	}
	return r.String(), q.String()
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, names string) []Metric {
	t.Helper()
	metrics, err := ParseMetrics(names)
	if err != nil {
		t.Fatal(err)
	}
	return metrics
}
