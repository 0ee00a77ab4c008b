package train

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// trainPython is the Python with sentence-transformers. The test is skipped where there is none.
func trainPython(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("Python takes half a minute: this is for the long run")
	}
	given := os.Getenv(PythonVariable)
	if given == "" {
		given = filepath.Join("..", "..", environment)
	}
	python, err := FindPython(t.Context(), given)
	if err != nil {
		t.Skipf("nothing is trained here: %v", err)
	}
	return python
}

// words are what the planted texts are made of: a query's word ask7 means a document's word doc7.
const words = 12

// plant writes a comparison's folder with a tiny model of random weights. Every document has two of the words, and there is a query for
// each. It returns what both are numbered by.
func plant(t *testing.T, python string) (folder string, ids []string) {
	t.Helper()
	folder = t.TempDir()
	if out, err := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "tiny_model.py"), filepath.Join(folder, "model"), fmt.Sprint(words)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var queries, documents []string
	for a := range words {
		for b := range a {
			id := fmt.Sprintf("%02d-%02d", a, b)
			ids = append(ids, id)
			queries = append(queries, fmt.Sprintf(`{"id":"q%s","text":"ask%d ask%d"}`, id, a, b))
			documents = append(documents, fmt.Sprintf(`{"id":"d%s","text":"doc%d doc%d"}`, id, b, a))
		}
	}
	for name, lines := range map[string][]string{documentsFile: documents, queriesFile: queries} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder, ids
}

// plantedJob trains on 40 queries and tests on others. The signal for a bi-encoder is that a query's words mean a document's words. That
// for a cross-encoder is one word, doc3, which the relevant document alone of a query's ten candidates has. As noise, any document is the
// relevant one.
func plantedJob(trainee string, ids []string, noise bool, epochs int) *job {
	random := rand.New(rand.NewPCG(5, 6))
	j := &job{Kind: kindTrain, Name: "test", Trainee: trainee, Model: "model", Documents: documentsFile, Queries: queriesFile,
		Relevant: map[string][]string{}, Validation: rankPart{Candidates: map[string][]string{}}, Test: rankPart{Candidates: map[string][]string{}},
		Slack: slack[trainee], InBatch: trainee == BiEncoder, Epochs: epochs, Batch: 8, PerStep: 1, MaxTokens: 16, Validations: validations,
		LearningRate: 5e-3, WarmUpShare: 0.1, Seed: 1}
	marked := func(id string) bool { return strings.Contains(id, "03") }
	some := func(ok func(string) bool) string {
		for {
			if id := ids[random.IntN(len(ids))]; ok(id) {
				return "d" + id
			}
		}
	}
	for n, i := range random.Perm(len(ids)) {
		q, positive := "q"+ids[i], "d"+ids[i]
		switch {
		case noise:
			positive = some(func(string) bool { return true })
		case trainee == CrossEncoder:
			positive = some(marked)
		}
		others := []string{}
		for len(others) < 9 {
			others = append(others, some(func(id string) bool { return "d"+id != positive && (noise || trainee == BiEncoder || !marked(id)) }))
		}
		j.Relevant[q] = []string{positive}
		switch {
		case n < 40:
			j.Train = append(j.Train, trainPair{Query: q, Positive: positive, Negatives: others[:5]})
		case n < 50:
			j.Validation.Candidates[q] = append(others, positive)
		default:
			j.Test.Candidates[q] = append(others, positive)
		}
	}
	return j
}

// TestTrainerLearns trains a tiny model of random weights. Where there is a signal, it finds documents of queries that it was not trained
// on; where there is none, it finds no more than before. Four validations an epoch are there, and the best of them is kept.
func TestTrainerLearns(t *testing.T) {
	t.Parallel()
	python := trainPython(t)
	folder, ids := plant(t, python)
	var jobs []*job
	for _, noise := range []bool{false, true} {
		jobs = append(jobs, plantedJob(BiEncoder, ids, noise, 0), plantedJob(BiEncoder, ids, noise, 20), plantedJob(CrossEncoder, ids, noise, 0), plantedJob(CrossEncoder, ids, noise, 8))
	}
	got := runAll(t, python, folder, jobs)
	for i := 0; i < len(jobs); i += 2 {
		trainee, noise := jobs[i].Trainee, i >= 4
		before, after := meanReciprocal(got[i].Ranks), meanReciprocal(got[i+1].Ranks)
		t.Logf("%s, noise %v: MRR@10 %.2f before, %.2f after; margin %.2f", trainee, noise, before, after, got[i+1].Margin)
		switch {
		case len(got[i].Ranks) != len(jobs[i].Test.Candidates) || before > 0.6:
			t.Errorf("%s: %d ranks, MRR@10 %.2f untrained", trainee, len(got[i].Ranks), before)
		case !noise && after < before+0.25:
			t.Errorf("%s: the planted signal was not learnt: MRR@10 %.2f before, %.2f after", trainee, before, after)
		case noise && after > before+0.2:
			t.Errorf("%s: noise was learnt: MRR@10 %.2f before, %.2f after", trainee, before, after)
		}
		checkHistory(t, folder, jobs[i+1])
	}
}

// runAll runs jobs and returns their results.
func runAll(t *testing.T, python, folder string, jobs []*job) (all []*result) {
	t.Helper()
	for _, dir := range []string{"jobs", "runs", "python"} {
		if err := os.MkdirAll(filepath.Join(folder, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeSources(folder); err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if err := j.seal(); err != nil {
			t.Fatal(err)
		}
		if err := writeJSON(folder, j.file(), j); err != nil {
			t.Fatal(err)
		}
	}
	done := 0
	if err := runJobs(t.Context(), python, folder, 2, jobs, func() { done++ }); err != nil || done != len(jobs) {
		t.Fatalf("%d jobs of %d are done: %v", done, len(jobs), err)
	}
	for _, j := range jobs {
		r, err := j.finished(folder)
		if err != nil || r == nil {
			t.Fatalf("%v, %v", r, err)
		}
		all = append(all, r)
	}
	return all
}

// checkHistory: the untrained state and four states an epoch were validated, and the best of them, the first of equal ones, is the one that
// was tested.
func checkHistory(t *testing.T, folder string, j *job) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, j.Result))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		History []struct {
			Step int
			MRR  float64 `json:"mrr_10"`
		}
		Best float64 `json:"best_mrr_10"`
		Step int     `json:"best_step"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.History) < 1+validations*j.Epochs || r.History[0].Step != 0 {
		t.Errorf("%d validations, the first at step %d, in %d epochs", len(r.History), r.History[0].Step, j.Epochs)
	}
	best := r.History[0]
	for _, h := range r.History {
		if h.MRR > best.MRR {
			best = h
		}
	}
	if best.Step != r.Step || best.MRR != r.Best {
		t.Errorf("the best state is that of step %d, and %d was kept", best.Step, r.Step)
	}
	run, err := os.ReadFile(filepath.Join(folder, j.Run))
	if line := strings.Fields(string(run)); err != nil || len(line) < 6 || line[1] != "Q0" || line[5] != "test" {
		t.Errorf("the TREC run is %.60q (%v)", run, err)
	}
}

func meanReciprocal(ranks map[string]int) (mean float64) {
	for _, rank := range ranks {
		mean += reciprocal(rank, 10) / float64(len(ranks))
	}
	return mean
}

// TestTrainerParts runs the tests of the Python sources: losses against those of sentence-transformers, ties, a margin below the gap, and a
// cross-encoder made of titles.
func TestTrainerParts(t *testing.T) {
	t.Parallel()
	python := trainPython(t)
	model := filepath.Join(t.TempDir(), "model")
	for _, args := range [][]string{{"tiny_model.py", model, fmt.Sprint(words)}, {"test_trainer.py", model}} {
		args[0] = filepath.Join("testdata", args[0])
		if out, err := exec.CommandContext(t.Context(), python, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// TestZeroLoss: a margin below the rule's gap leaves no loss, and the table says so.
func TestZeroLoss(t *testing.T) {
	t.Parallel()
	zero := 0.0
	j := &job{Train: []trainPair{{}}}
	s := &Source{Name: "far"}
	row := part{"", func(string) bool { return true }}.row(&corpus{}, group{source: s, pairs: PairsAll, runs: []*run{{source: s, job: j, result: &result{Active: &zero}}}})
	table := &Table{Rows: []Row{row}}
	table.note(&Options{Seeds: 3})
	if row.ZeroLoss != 1 || row.Untrained != 1 || len(table.Notes) != 1 || !strings.Contains(table.Notes[0], "the loss is zero") {
		t.Errorf("%+v, notes %q", row, table.Notes)
	}
	if math.IsNaN(row.MRR10.Mean) {
		t.Error("a row without test queries has no mean that is a number")
	}
}
