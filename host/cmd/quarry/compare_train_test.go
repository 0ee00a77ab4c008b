package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/report"
)

// asTrainer makes the test binary a trainer without Python, which does not train: the first relevant document of each test query has rank 2.
// Where its value is "dies", it fails after the first job; where it is "waits", it makes the file waiting and never ends.
const asTrainer = "QUARRY_TEST_AS_TRAINER"

func runAsTrainer() error {
	if os.Args[1] == "-c" { // whether the packages are there
		return nil
	}
	if os.Getenv(asTrainer) == "waits" {
		if err := os.WriteFile("waiting", nil, 0o644); err != nil {
			return err
		}
		time.Sleep(time.Hour)
	}
	lines := bufio.NewScanner(os.Stdin)
	for done := 0; lines.Scan(); done++ {
		if done == 1 && os.Getenv(asTrainer) == "dies" {
			return fmt.Errorf("MemoryError: the trainer dies")
		}
		var job struct {
			ID     string
			Result string
			Test   struct{ Candidates map[string]any }
		}
		file, err := os.ReadFile(lines.Text())
		if err == nil {
			err = json.Unmarshal(file, &job)
		}
		if err != nil {
			return err
		}
		ranks := map[string]int{}
		for query := range job.Test.Candidates {
			ranks[query] = 2
		}
		result, err := json.Marshal(map[string]any{"id": job.ID, "ranks": ranks, "device": "stand-in", "best_mrr_10": 0.5, "best_step": 3})
		if err == nil {
			err = os.WriteFile(job.Result, result, 0o644)
		}
		if err != nil {
			return err
		}
		fmt.Printf("{\"done\": %q}\n", job.ID)
	}
	return nil
}

// trainFolder is a workspace with the demo's data, and with ./python, which is a trainer, ./dying, which fails, and
// ./waiting, which never ends.
func trainFolder(t *testing.T) workspace {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the trainer is a shell script")
	}
	w := newWorkspace(t)
	minedDemo(t).write(t, w.path("demo"))
	w.mkdir(t, "out")
	for name, does := range map[string]string{"python": "trains", "dying": "dies", "waiting": "waits"} {
		script := fmt.Sprintf("#!/bin/sh\n%s=%s exec '%s' \"$@\"\n", asTrainer, does, must(os.Executable()))
		if err := os.WriteFile(w.path(name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// trainLine compares two rules on the demo and trains with each.
const trainLine = "compare ./demo/data -o ./out/c.json --engine native --projection ./demo/projection.safetensors --draws 2 --runs 1 --learning-rates 2e-5"

// trained is what the tests look at of compare.json.
type trained struct {
	Rules []struct {
		Rule        string
		Negatives   int
		NegativesID string `json:"negatives_sha256"`
	}
	Ablation string
	Training *struct {
		Trainee string
		Rules   []struct{ Rule, Pairs string }
	}
}

func (w workspace) readTrained(t *testing.T, name string) (c trained, rows string) {
	t.Helper()
	if err := json.Unmarshal([]byte(w.read(t, name)), &c); err != nil {
		t.Fatal(err)
	}
	if c.Training != nil {
		for _, r := range c.Training.Rules {
			if r.Pairs == "all" {
				rows += " " + r.Rule
			}
		}
	}
	return c, rows
}

// TestCompareTrains: the trainer dies, and the comparison without training is there. The same command goes on, and writes both tables, which
// quarry report reads. A third one trains nothing.
func TestCompareTrains(t *testing.T) {
	t.Parallel()
	w := trainFolder(t)
	const line = trainLine + " --train --rules dual,random,capped,in-batch"
	o := w.quarry(t.Context(), line+" --python ./dying")
	if o.code != exitFailure || !strings.Contains(o.stderr, "MemoryError: the trainer dies") || !strings.Contains(o.stdout, "pairs of split all") {
		t.Fatalf("exit %d, %s\n%s", o.code, o.stderr, o.stdout)
	}
	first := w.read(t, "out/c.json")
	if c, _ := w.readTrained(t, "out/c.json"); len(c.Rules) != 3 || c.Training != nil {
		t.Errorf("before training the file is\n%s", first)
	}
	w.mustRun(t, "compare ./demo/data -o ./out/alone.json --engine native --projection ./demo/projection.safetensors --draws 2 --rules dual,random,capped,in-batch")
	if alone := w.read(t, "out/alone.json"); alone != first {
		t.Errorf("without training the file is\n%s\nexpected\n%s", alone, first)
	}

	text := w.mustRun(t, line+" --python ./python")
	for _, part := range []string{"pairs with", "in-batch has no negatives before training", "hidden positives", "bi-encoder of all-MiniLM-L6-v2 on stand-in", "written: out/c.json"} {
		if !strings.Contains(text, part) {
			t.Errorf("the tables lack %q:\n%s", part, text)
		}
	}
	c, rows := w.readTrained(t, "out/c.json")
	if len(c.Rules) != 3 || c.Training.Trainee != "bi-encoder" || rows != " none positives in-batch random dual capped" {
		t.Errorf("the file has %+v", c)
	}
	read, err := report.LoadComparison(w.path("out/c.json"))
	if err != nil || len(read.Rules) != 3 || len(read.Trainings) != 1 || read.Trainings[0].Rows[0].MRR10.Mean != 0.5 {
		t.Errorf("quarry report reads %+v, %v", read, err)
	}

	// Nothing is left to train, so the trainer that dies is not asked to.
	before := w.tree(t)
	if printed := w.mustRun(t, line+" --python ./dying --json"); printed != w.within(before["out/c.json"]) {
		t.Errorf("--json prints\n%s\nand the file is\n%s", printed, before["out/c.json"])
	}
	if after := w.tree(t); after["out/c.json"] != before["out/c.json"] {
		t.Error("the third command gives another file")
	}

	// A comparison of another question stays, and --force replaces it.
	for _, other := range []string{" --train --rules dual", " --train --rules dual,random,capped,in-batch --top 3", " --train --trainee cross-encoder --rules dual,random,capped,in-batch",
		" --ablate length --rules dual,random,capped,in-batch"} {
		if o := w.quarry(t.Context(), trainLine+other+" --prepare"); o.code != exitExists && o.code != exitUsage || !strings.Contains(o.stderr, "out/c.json") && o.code == exitExists {
			t.Errorf("%s: exit %d, %s", other, o.code, o.stderr)
		}
	}
	w.mustRun(t, trainLine+" --train --rules dual --python ./python --force -q")
	if c, rows := w.readTrained(t, "out/c.json"); len(c.Rules) != 1 || rows != " none positives in-batch random dual" {
		t.Errorf("with --force the file has %+v", c)
	}
}

// TestCompareInterrupted: where training is interrupted, the user is told what is there.
func TestCompareInterrupted(t *testing.T) {
	t.Parallel()
	w := trainFolder(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(w.path("out/c.training/waiting")); err == nil {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	o := w.quarry(ctx, trainLine+" --train --rules dual --python ./waiting")
	if o.code != exitInterrupted || !strings.Contains(o.stderr, "out/c.json has the comparison without training, and out/c.training the runs that are finished: the same command goes on") {
		t.Errorf("exit %d, %s", o.code, o.stderr)
	}
	if c, _ := w.readTrained(t, "out/c.json"); len(c.Rules) != 1 || c.Training != nil {
		t.Errorf("the file has %+v", c)
	}
	w.mustRun(t, trainLine+" --train --rules dual --python ./python")
}

// TestComparePrepares writes jobs, which need no Python; the command picks up what another machine trains. The jobs have the negatives of the
// rules, of a file, and of the sampler.
func TestComparePrepares(t *testing.T) {
	t.Parallel()
	w := trainFolder(t)
	w.mustRun(t, "mine ./demo/data -o ./out/n.jsonl --engine native --projection ./demo/projection.safetensors --split all --rule perc --perc 0.8")
	const line = trainLine + " --train --rules dual,bm25,topk:11-50,perc=0.8,adore,perc+in-batch --negatives mine=./out/n.jsonl --train-folder ./out/jobs"
	line2 := strings.ReplaceAll(line, "mine=./out", "mine="+w.path("out"))
	out := w.mustRun(t, line2+" --prepare --python ./none --json")
	if !strings.Contains(out, `"prepared": "out/jobs"`) || strings.Contains(out, `"training"`) {
		t.Errorf("--json prints\n%s", out)
	}
	if !strings.Contains(w.read(t, "out/jobs/jobs/order"), "jobs/") {
		t.Error("there are no jobs")
	}
	c, _ := w.readTrained(t, "out/c.json")
	m := must(negatives.LoadManifest(w.path("out/n.manifest.json")))
	if len(c.Rules) != 6 || c.Rules[3].NegativesID != m.Negatives || c.Rules[5].Rule != "mine" || c.Rules[5].NegativesID != m.Negatives {
		t.Errorf("the file has %+v", c)
	}
	w.mustRun(t, line2+" --python ./python")
	if _, rows := w.readTrained(t, "out/c.json"); rows != " none positives in-batch random dual bm25 topk:11-50 perc=0.8 adore perc+in-batch mine" {
		t.Errorf("the rows are%s", rows)
	}
}

// TestCompareAblates varies the number of training pairs of the paper's rule.
func TestCompareAblates(t *testing.T) {
	t.Parallel()
	w := trainFolder(t)
	w.mustRun(t, trainLine+" --ablate train-size --python ./python")
	if c, rows := w.readTrained(t, "out/c.json"); len(c.Rules) != 1 || c.Ablation != "train-size" || rows != " none dual, 100 pairs dual, 250 pairs dual, 500 pairs dual, 1000 pairs" {
		t.Errorf("the file has %+v", c)
	}
	if _, there := w.tree(t)["out/c.training/table.json"]; !there {
		t.Error("the jobs are not beside the output")
	}
}

// TestCompareTrainFailures: mistakes in the flags of training are told before anything is read.
func TestCompareTrainFailures(t *testing.T) {
	t.Parallel()
	const none = " --python ./none"
	rows := []failure{
		{line: compareLine + " --runs 3", says: []string{"--runs is for training", "--train or --ablate"}},
		{line: compareLine + " --prepare", says: []string{"--prepare is for training"}},
		{line: compareLine + " --train --rules best" + none, says: []string{`"best"`, "dual, topk"}},
		{line: compareLine + " --train --trainee decoder" + none, says: []string{"bi-encoder, cross-encoder"}},
		{line: compareLine + " --ablate weather", says: []string{`"weather"`, "variance, models, train-size, length"}},
		{line: compareLine + " --ablate=", says: []string{"--ablate"}},
		{line: compareLine + " --train --ablate length", says: []string{"choose one"}},
		{line: compareLine + " --train" + none, says: []string{"make train-env", "--python"}},
		{line: compareLine + " --train --model=", says: []string{"--model is empty"}},
		{line: compareLine + " --train --runs 0", says: []string{"--runs is 0"}},
		{line: compareLine + " --train --runs=-1" + none, says: []string{"runs is -1"}},
		{line: compareLine + " --train --split test", says: []string{"--split", "all splits"}},
		{line: compareLine + " --train --rules random,in-batch", says: []string{"controls alone"}},
		{line: compareLine + " --train --prepare --trainee cross-encoder --rules adore,dual", says: []string{"adore", "for a bi-encoder"}},
		{line: compareLine + " --rules adore,dual", says: []string{"adore", "--train", "star"}},
		{line: compareLine + " --ablate train-size --rules adore", says: []string{"adore", "--train"}},
		{line: compareLine + " --rules in-batch", says: []string{"in-batch", "name one more"}},
		{line: compareLine + " --train --prepare --rules adore", says: []string{"adore", "name one more"}},
		{line: compareLine + " --negatives bm25.jsonl", says: []string{"NAME=negatives.jsonl"}},
	}
	for i := range rows {
		rows[i].code = exitUsage
	}
	rows = append(rows,
		failure{line: compareLine + " --negatives a=none.jsonl", says: []string{"none.jsonl", "quarry mine"}},
		failure{line: compareLine + " --train --prepare", change: onlyIDs, says: []string{"no texts, only ids"}},
	)
	for i := range rows {
		rows[i].name = rows[i].line
	}
	runFailures(t, rows)
}

// TestCompareSamplers compares what samplers take: it is what quarry mine takes with the same seed.
func TestCompareSamplers(t *testing.T) {
	t.Parallel()
	w := workFolder(t, withTwoPositives())
	w.mustRun(t, "compare ./data -o ./out/c.json --engine native --top 2 --seed 3 --draws 2 --rules random,bm25,star,topk:2-6,dual+perc=0.9,perc+in-batch,in-batch")
	c, _ := w.readTrained(t, "out/c.json")
	for i, flags := range []string{"random", "bm25", "star", "topk --ranks 2-6", "dual+perc --perc 0.9", "perc"} {
		seed := " --seed 3"
		if flags == "bm25" || strings.Contains(flags, "perc") {
			seed = ""
		}
		w.mustRun(t, mineLine+" --force --split all --top 2 --rule "+flags+seed)
		if m := must(negatives.LoadManifest(w.path("out/n.manifest.json"))); c.Rules[i].NegativesID != m.Negatives {
			t.Errorf("%s: the negatives are not those of quarry mine", c.Rules[i].Rule)
		}
	}
	if !strings.Contains(w.read(t, "out/c.json"), `"only_trained": [`) {
		t.Error("the file does not say that in-batch is for training alone")
	}
}
