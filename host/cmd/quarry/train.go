package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/train"
)

// trainCommand is a command line of train.
type trainCommand struct {
	train.Options
	fit        fitFlags
	compute    computeFlags
	projection string
	rules      []string
	given      []string // name=negatives.jsonl
	ablate     string
	top        int
}

func (a *app) trainCommand() *cobra.Command {
	var c trainCommand
	cmd := &cobra.Command{
		Use: "train DIR", Short: "Train a model with the negatives of each rule, and compare", Args: cobra.ExactArgs(1), Hidden: true,
		Long: `Train the same model with the negatives of each rule, and print MRR@3 and MRR@10 with 95 % intervals. Beside the rules stand controls: no
training, positives only, random negatives, and the positives of other pairs of a batch. Each run cuts the judged queries anew into training,
validation and test, and no document is a positive on two sides. All jobs, TREC runs and results are kept in the output folder, and the same
command goes on from there.

It takes a Python with sentence-transformers: make train-env makes one.`,
		Example: `  quarry train mydata --runs 3 -o training
  quarry train mydata --rules capped,perc=0.9,perc+in-batch --learning-rates 2e-5
  quarry train mydata --negatives bm25=bm25.jsonl --trainee cross-encoder
  quarry train mydata --ablate variance`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.do(a, cmd, args[0]) },
	}
	flags := cmd.Flags()
	c.fit.add(flags)
	c.compute.add(flags)
	flags.StringVarP(&c.Folder, "output", "o", "quarry-train", "folder for jobs, runs, results and table.json")
	flags.BoolVar(&c.Force, "force", false, "train anew what the folder has")
	flags.BoolVar(&c.Prepare, "prepare", false, "write the jobs and train nothing; the folder can be trained on another machine")
	flags.StringVar(&c.projection, "projection", "", "projection file to use (default: fit one)")
	flags.StringSliceVar(&c.rules, "rules", nil, "rules to train with, as capped, perc=0.9 or perc+in-batch (default "+strings.Join(train.DefaultRules, ",")+")")
	flags.StringArrayVar(&c.given, "negatives", nil, "a rule's negatives that are mined already, as NAME=negatives.jsonl; several times for several rules. Mine them with --split all")
	flags.IntVar(&c.top, "top", 0, "negatives of a pair at most (default 5)")
	flags.StringVar(&c.ablate, "ablate", "", "vary one thing instead: "+strings.Join(train.Ablations, ", "))
	flags.StringVar(&c.Python, "python", "", "Python to train with (default $"+train.PythonVariable+", or that of make train-env)")
	flags.StringVar(&c.Trainee, "trainee", train.BiEncoder, "what is trained: bi-encoder or cross-encoder")
	flags.StringVar(&c.Model, "model", "", "folder of the model that is trained (default all-MiniLM-L6-v2; for a cross-encoder, one that is made of it on the corpus' titles and texts)")
	flags.IntVar(&c.Seeds, "runs", 3, "runs of each rule, each with its own seed and its own cut of the queries")
	flags.Uint64Var(&c.Seed, "train-seed", 0, "seed of the first run")
	flags.Float64SliceVar(&c.LearningRates, "learning-rates", []float64{2e-5, 5e-5}, "learning rates; each rule has the one that validates best")
	flags.IntVar(&c.TrainPairs, "train-pairs", 1000, "training pairs at most")
	flags.IntVar(&c.Epochs, "epochs", 3, "times that each pair is trained on")
	flags.IntVar(&c.Batch, "batch", 16, "pairs of a step")
	flags.IntVar(&c.PerStep, "per-step", 1, "negatives of a pair in a step; each epoch takes the next ones")
	flags.IntVar(&c.Layers, "layers", 0, "train the last layers of the model only, so many; a bi-encoder computes what the others give once for each text (default all)")
	flags.BoolVar(&c.Half, "half", false, "compute in bfloat16, which GPUs and some processors do several times as fast")
	flags.IntVar(&c.Workers, "workers", 1, "trainings at once; several fill a GPU that one leaves idle")
	flags.IntVar(&c.MaxTokens, "max-tokens", 128, "tokens of a text, or of a query with its document for a cross-encoder")
	flags.Float64Var(&c.Margin, "margin-loss", 0, "margin of Eq. 7 (default: above each rule's own gap before training)")
	flags.IntVar(&c.Validation, "validation-queries", 200, "validation queries at most")
	flags.IntVar(&c.Test, "test-queries", 0, "test queries of a run at most (default all)")
	flags.IntVar(&c.Candidates, "candidates", 50, "nearest documents of a query that a cross-encoder ranks")
	flags.BoolVar(&c.PoolOnly, "pool-only", false, "test a bi-encoder on the candidates of all test queries, not on all documents; faster, and easier than the whole corpus")
	flags.BoolVar(&c.NoDual, "no-dual-pairs", false, "do not train each rule on the pairs of dual too")
	return cmd
}

func (c *trainCommand) do(a *app, cmd *cobra.Command, dir string) (err error) {
	if err := c.read(); err != nil {
		return err
	}
	fit, err := c.fit.options(cmd.Flags())
	if err != nil {
		return err
	}
	if err := c.fit.checkNotFitted(cmd.Flags(), c.projection); err != nil {
		return err
	}
	meter := a.newMeter()
	compute, err := c.compute.options(cmd, meter)
	if err != nil {
		return err
	}
	e, data, err := c.compute.openWith(cmd.Context(), meter, compute.Memory, dir)
	if err != nil {
		return err
	}
	defer closeEngine(cmd.Context(), e)
	defer data.Close()
	compute.Engine, c.Progress = e, compute.Progress
	c.Mine = mining.Options{Compute: compute, Top: c.top}
	fitAsMined(&fit, &c.Mine)
	if c.projection != "" {
		c.Projection, err = projection.Load(c.projection)
	} else {
		c.Projection, err = projection.Fit(cmd.Context(), data, fit)
	}
	if err != nil {
		return err
	}
	table, err := c.compare(cmd, data, fit)
	if err != nil {
		return err
	}
	meter.stop()
	if table == nil {
		return a.summary(map[string]string{"prepared": c.Folder}, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "prepared: in %s, python python/quarry_train.py --list jobs/order trains\n", c.Folder)
			return err
		})
	}
	return a.summary(table, table.Write)
}

// read reads the rules, and the negatives that are mined already.
func (c *trainCommand) read() error {
	for _, text := range c.rules {
		r, err := train.ParseRule(text)
		if err != nil {
			return err
		}
		c.Rules = append(c.Rules, r)
	}
	for _, text := range c.given {
		name, path, ok := strings.Cut(text, "=")
		if !ok {
			return usageError{fmt.Errorf("--negatives is %q; write NAME=negatives.jsonl", text)}
		}
		pairs, err := negatives.Load(path)
		if err != nil {
			return err
		}
		c.More = append(c.More, train.Source{Name: name, Pairs: pairs})
	}
	return nil
}

func (c *trainCommand) compare(cmd *cobra.Command, data *dataset.Dataset, fit projection.FitOptions) (*train.Table, error) {
	if c.ablate != "" {
		return train.Ablate(cmd.Context(), data, c.Options, c.ablate, fit)
	}
	return train.Compare(cmd.Context(), data, c.Options)
}
