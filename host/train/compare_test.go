package train

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/sampler"
)

// The variables that make this test binary a trainer without Python, which dies after some jobs where it is told to.
const (
	standInVariable = "QUARRY_TEST_TRAINER"
	dieVariable     = "QUARRY_TEST_TRAINER_DIES"
)

func TestMain(m *testing.M) {
	if os.Getenv(standInVariable) != "" {
		if !slices.Contains(os.Args, "-c") { // FindPython asks for packages: they are here
			standIn()
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// standIn does what quarry_train.py does, but for the training: the first relevant document has rank 1 with capped, and 2 with all else.
func standIn() {
	dies, _ := strconv.Atoi(os.Getenv(dieVariable))
	lines := bufio.NewScanner(os.Stdin)
	for done := 0; lines.Scan(); done++ {
		b, err := os.ReadFile(lines.Text())
		if err != nil {
			panic(err)
		}
		var j job
		if err := json.Unmarshal(b, &j); err != nil {
			panic(err)
		}
		if dies > 0 && done == dies {
			fmt.Fprintln(os.Stderr, "MemoryError: the stand-in dies")
			os.Exit(1)
		}
		r := result{ID: j.ID, Ranks: map[string]int{}, Device: "stand-in", Best: 0.5, Step: 3, Last: 0.4}
		if j.LearningRate == 5e-5 {
			r.Best = 0.6
		}
		for q := range j.Test.Candidates {
			r.Ranks[q] = 2
			if j.Name == "quarry.capped" {
				r.Ranks[q] = 1
			}
		}
		if b, err = json.Marshal(r); err == nil {
			err = os.WriteFile(j.Result, b, 0o644)
		}
		if err != nil {
			panic(err)
		}
		fmt.Printf("{\"done\": %q}\n", j.ID)
	}
}

// demoOptions are options for the demo's data, with the stand-in as Python.
func demoOptions(t *testing.T) (*dataset.Dataset, Options) {
	t.Helper()
	data, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = data.Close() })
	p, err := projection.Fit(t.Context(), data, projection.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	native, err := engine.LoadNative(t.Context(), engine.WasmOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = native.Close(context.Background()) })
	python, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(standInVariable, "1")
	rules, err := ParseRules([]string{"dual", "capped"})
	if err != nil {
		t.Fatal(err)
	}
	return data, Options{Folder: filepath.Join(t.TempDir(), "training"), Python: python, Projection: p, Rules: rules,
		Mine: mining.Options{Compute: mining.Compute{Engine: native}}}
}

// TestCompareGoesOn kills the trainer after five jobs. The comparison fails and says what it was; the next one trains what is missing and
// nothing else, and the one after that nothing.
func TestCompareGoesOn(t *testing.T) {
	data, o := demoOptions(t)
	t.Setenv(dieVariable, "5")
	_, err := Compare(t.Context(), data, o)
	if err == nil || !strings.Contains(err.Error(), "MemoryError: the stand-in dies") {
		t.Fatalf("the trainer died, and the error is %v", err)
	}
	finished := results(t, o.Folder)
	if len(finished) != 5 {
		t.Fatalf("%d results are kept; want 5", len(finished))
	}
	t.Setenv(dieVariable, "")
	trained := 0
	o.Progress = func(stage string, done, _ int64) {
		if stage == "train" {
			trained = int(done)
		}
	}
	table, err := Compare(t.Context(), data, o)
	if err != nil {
		t.Fatal(err)
	}
	all := results(t, o.Folder)
	if trained != len(all)-5 {
		t.Errorf("%d runs were trained; 5 of %d were finished", trained, len(all))
	}
	for name, content := range finished {
		if all[name] != content {
			t.Errorf("the finished run %s was made again", name)
		}
	}
	trained = 0
	if _, err := Compare(t.Context(), data, o); err != nil || trained != 0 {
		t.Errorf("%d runs were trained though all are finished (%v)", trained, err)
	}
	checkTable(t, table)
}

// checkTable holds the table against what the stand-in does: capped gains half a point of MRR on every query, all else nothing.
func checkTable(t *testing.T, table *Table) {
	t.Helper()
	var names []string
	for _, r := range table.Rows {
		names = append(names, r.Rule+" "+r.Pairs)
		switch gain := r.Gain[None]; {
		case r.Rule == None:
			if gain != nil {
				t.Errorf("no training is held against itself")
			}
		case r.Rule == "capped":
			if r.MRR10.Mean != 1 || gain.MRR10.Mean != 0.5 || r.Rate != 5e-5 {
				t.Errorf("%s: MRR@10 %v, gain %v, rate %v; want 1, 0.5, 5e-05", r.Rule, r.MRR10.Mean, gain.MRR10.Mean, r.Rate)
			}
		case gain.MRR10.Mean != 0 || gain.Verdict != CannotTell:
			t.Errorf("%s %s gains %v over none, %s", r.Rule, r.Pairs, gain.MRR10.Mean, gain.Verdict)
		}
	}
	want := []string{"none all", "positives all", "positives dual", "in-batch all", "in-batch dual", "random all", "random dual", "dual all", "capped all", "capped dual"}
	if !slices.Equal(names, want) {
		t.Errorf("rows %q; want %q", names, want)
	}
	var text strings.Builder
	if err := table.Write(&text); err != nil || !strings.Contains(text.String(), "+50.0") {
		t.Errorf("the table says (%v):\n%s", err, text.String())
	}
	if b, err := json.Marshal(table); err != nil || !strings.Contains(string(b), `"rule":"capped"`) {
		t.Errorf("as JSON: %v %s", err, b)
	}
}

func results(t *testing.T, folder string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "runs", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(path)] = string(b)
	}
	return found
}

// TestPairsOfDual: on the pairs of dual every rule trains on the pairs that dual trains on, however few may be trained on.
func TestPairsOfDual(t *testing.T) {
	data, o := demoOptions(t)
	o.TrainPairs = 12
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	c, err := o.read(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	dual, err := o.mine(t.Context(), data, o.Projection, sampler.Rule{Name: dualRule}, 0)
	if err != nil {
		t.Fatal(err)
	}
	runs, _, err := o.plan(c, []Source{{Name: dualRule, Pairs: dual}, {Name: InBatch, InBatch: true}})
	if err != nil {
		t.Fatal(err)
	}
	trained := map[[2]any][]trainPair{}
	for _, r := range runs {
		pairs := slices.Clone(r.job.Train)
		for i := range pairs {
			pairs[i].Negatives = nil
		}
		trained[[2]any{r.source.Name + " " + r.pairs, r.seed}] = pairs
	}
	for seed := range o.Seeds {
		all, of, other := trained[[2]any{"in-batch all", seed}], trained[[2]any{"dual all", seed}], trained[[2]any{"in-batch dual", seed}]
		if len(all) != 12 || len(of) == 0 || len(of) == 12 || !reflect.DeepEqual(of, other) {
			t.Errorf("seed %d: 12 pairs are trained on, dual has a negative for some of them: %d, %v and %v", seed, len(all), of, other)
		}
	}
}

// TestPlan holds the jobs against what a comparison promises.
func TestPlan(t *testing.T) {
	data, o := demoOptions(t)
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	c, err := o.read(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	o.Mine.Top = 3
	drawn, err := o.mine(t.Context(), data, o.Projection, sampler.Rule{Name: Random}, 0)
	if err != nil {
		t.Fatal(err)
	}
	sources := []Source{{Name: None}, {Name: Random, Pairs: drawn}}
	runs, _, err := o.plan(c, sources)
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 3*(1+2) {
		t.Fatalf("%d runs; want none and two learning rates, under three seeds", len(runs))
	}
	for _, r := range runs {
		positives := map[string]bool{}
		for _, pair := range r.job.Train {
			for _, d := range c.relevant[pair.Query] {
				positives[d] = true
			}
			if len(pair.Negatives) != 3 || slices.Contains(c.relevant[pair.Query], pair.Negatives[0]) {
				t.Errorf("pair %v: three negatives were asked for, none of them relevant", pair)
			}
		}
		for _, part := range []rankPart{r.job.Validation, r.job.Test} {
			for q := range part.Candidates {
				for _, d := range c.relevant[q] {
					if positives[d] {
						t.Errorf("seed %d: %s is a positive in training, and of query %s outside", r.seed, d, q)
					}
				}
			}
		}
		if (r.source.Name == None) != (r.job.Epochs == 0) {
			t.Errorf("%s trains %d epochs", r.source.Name, r.job.Epochs)
		}
	}
	if again, _, err := o.plan(c, sources); err != nil || again[1].job.ID != runs[1].job.ID {
		t.Errorf("the same plan has other jobs (%v)", err)
	}
	o.Epochs++
	if other, _, err := o.plan(c, sources); err != nil || other[1].job.ID == runs[1].job.ID {
		t.Errorf("another number of epochs has the same job (%v)", err)
	}
}

func TestBadOptions(t *testing.T) {
	data, good := demoOptions(t)
	empty := t.TempDir()
	for name, row := range map[string]struct {
		change func(*Options)
		kind   error
		says   string
	}{
		"trainee":           {func(o *Options) { o.Trainee = "decoder" }, option.ErrOption, "bi-encoder, cross-encoder"},
		"runs":              {func(o *Options) { o.Seeds = -1 }, option.ErrOption, "runs is -1"},
		"learning rate":     {func(o *Options) { o.LearningRates = []float64{0} }, option.ErrOption, "learning rate is 0"},
		"a control":         {func(o *Options) { o.More = []Source{{Name: Random}} }, option.ErrOption, `"random"`},
		"adore":             {func(o *Options) { o.Rules, o.Trainee = []sampler.Rule{{Name: "adore", Dynamic: 200}}, CrossEncoder }, option.ErrOption, "it is for a bi-encoder"},
		"twice":             {func(o *Options) { o.Rules = append(o.Rules, o.Rules[0]) }, option.ErrOption, `"dual"`},
		"folder":            {func(o *Options) { o.Folder = "" }, option.ErrOption, "folder"},
		"python":            {func(o *Options) { o.Python = filepath.Join(empty, "python") }, option.ErrOption, "make train-env"},
		"python that fails": {func(o *Options) { o.Python = "false" }, option.ErrOption, "does not have sentence-transformers"},
		"model":             {func(o *Options) { o.Model = empty }, os.ErrNotExist, "config.json"},
	} {
		o := good
		o.Rules = slices.Clone(good.Rules)
		row.change(&o)
		if _, err := Compare(t.Context(), data, o); !errors.Is(err, row.kind) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v; it should say %q", name, err, row.says)
		}
	}
	if _, err := Ablate(t.Context(), data, good, "weather", projection.FitOptions{}); !errors.Is(err, option.ErrOption) {
		t.Errorf("an unknown ablation: %v", err)
	}
}

// TestResultsThatAreNotSound: a result that another program wrote is refused with its path, and never read as one.
func TestResultsThatAreNotSound(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	j := job{Kind: kindTrain, Test: rankPart{Candidates: map[string][]string{"q": {"d"}}}}
	if err := errors.Join(j.seal(), os.MkdirAll(filepath.Join(folder, "runs"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for content, says := range map[string]string{
		"{": "no result", `{"id":"other"}`: `job "other"`, `{"id":"` + j.ID + `","ranks":{}}`: `query "q"`,
	} {
		if err := os.WriteFile(filepath.Join(folder, j.Result), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		problem := (*dataset.Error)(nil)
		if _, err := j.finished(folder); !errors.As(err, &problem) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; it should say %q", content, err, says)
		}
	}
}

func TestCompareIsInterrupted(t *testing.T) {
	data, o := demoOptions(t)
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = func(stage string, _, _ int64) {
		if stage == "train" {
			cancel()
		}
	}
	if _, err := Compare(ctx, data, o); !errors.Is(err, context.Canceled) {
		t.Errorf("the context ended, and the error is %v", err)
	}
}
