package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/quarry-hn/quarry/host/compare"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/train"
)

// trainFlags say whether quarry compare trains, and how.
type trainFlags struct {
	train.Options
	on     bool
	ablate string
	flags  *pflag.FlagSet // these, among all of the command
}

func (f *trainFlags) add(flags *pflag.FlagSet) {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.SortFlags = false // what is needed most comes first
	own.BoolVar(&f.on, "train", false, "train the model with the negatives of each rule, and compare")
	own.StringVar(&f.ablate, "ablate", "", "train, and vary one thing: "+strings.Join(train.Ablations, ", "))
	own.StringVar(&f.Trainee, "trainee", train.BiEncoder, "what is trained: bi-encoder or cross-encoder")
	own.StringVar(&f.Model, "model", "", "folder of the model that is trained (default all-MiniLM-L6-v2; for a cross-encoder, one that is made of it on the corpus' titles and texts)")
	own.IntVar(&f.Seeds, "runs", 3, "runs of each rule, each with its own seed and its own cut of the queries")
	own.StringVar(&f.Python, "python", "", "Python to train with (default $"+train.PythonVariable+", or that of make train-env)")
	own.StringVar(&f.Folder, "train-folder", "", "folder for jobs, runs and results (default beside the output: compare.training)")
	own.BoolVar(&f.Prepare, "prepare", false, "write the jobs and train nothing; the folder can be trained on another machine")
	own.IntVar(&f.TrainPairs, "train-pairs", 1000, "training pairs at most")
	own.IntVar(&f.Epochs, "epochs", 3, "times that each pair is trained on")
	own.IntVar(&f.Batch, "batch-size", 16, "pairs of a step")
	own.IntVar(&f.PerStep, "per-step", 1, "negatives of a pair in a step; each epoch takes the next ones")
	own.Float64SliceVar(&f.LearningRates, "learning-rates", []float64{2e-5, 5e-5}, "`rates` to try; each rule has the one that validates best")
	own.Float64Var(&f.Margin, "margin-loss", 0, "margin of Eq. 7 (default above the median of each rule's own gaps before training)")
	own.IntVar(&f.Layers, "layers", 0, "train so many of the model's last layers only; a bi-encoder computes what the others give once for each text (default all)")
	own.BoolVar(&f.Half, "half", false, "compute in bfloat16, which GPUs and some processors do several times as fast")
	own.IntVar(&f.Workers, "workers", 1, "trainings at once; several fill a GPU that one leaves idle")
	own.IntVar(&f.MaxTokens, "max-tokens", 128, "tokens of a text, or of a query with its document for a cross-encoder")
	own.IntVar(&f.Validation, "validation-queries", 200, "validation queries at most")
	own.IntVar(&f.Test, "test-queries", 0, "test queries of a run at most (default all)")
	own.IntVar(&f.Candidates, "candidates", 50, "nearest documents of a query that a cross-encoder ranks")
	own.BoolVar(&f.PoolOnly, "pool-only", false, "test a bi-encoder on the candidates of all test queries, not on all documents; faster, and easier than the whole corpus")
	own.BoolVar(&f.NoDual, "no-dual-pairs", false, "do not train each rule on the pairs of dual too")
	flags.AddFlagSet(own)
	f.flags = own
}

// asked reports whether the command trains.
func (f *trainFlags) asked() bool { return f.on || f.ablate != "" }

// complete checks the flags against one another, and fills in the folder, which stands beside the output.
func (f *trainFlags) complete(flags *pflag.FlagSet, output string) (err error) {
	switch {
	case flags.Changed("ablate") && !slices.Contains(train.Ablations, f.ablate):
		return usageError{fmt.Errorf("--ablate is %s; it is one of %s", excerpt.Quote(f.ablate), strings.Join(train.Ablations, ", "))}
	case f.on && f.ablate != "":
		return usageError{errors.New("--train and --ablate: choose one")}
	}
	f.flags.VisitAll(func(flag *pflag.Flag) {
		switch {
		case !flags.Changed(flag.Name) || err != nil || flag.Name == "train":
		case !f.asked():
			err = usageError{fmt.Errorf("--%s is for training: give --train or --ablate too", flag.Name)}
		case flag.Value.Type() == "int" && flag.Value.String() == "0" && flag.DefValue != "0":
			err = usageError{fmt.Errorf("--%s is 0; it is 1 or more", flag.Name)}
		case flag.Value.Type() == "string" && flag.Value.String() == "":
			err = usageError{fmt.Errorf("--%s is empty", flag.Name)}
		}
	})
	if f.Folder == "" {
		f.Folder = strings.TrimSuffix(output, filepath.Ext(output)) + ".training"
	}
	return err
}

// take makes the options of training of those of the comparison, which tells the negatives that it finds.
func (f *trainFlags) take(o *compare.Options) error {
	f.Seed, f.Progress, f.Sampler = o.Seed, o.Progress, o.Sampler
	f.Mine = mining.Options{Compute: o.Compute, Top: o.Top, Twins: o.Twins, Zero: o.Zero, Missing: o.Missing}
	rules, err := train.ParseRules(o.Rules)
	if err != nil {
		return nil // the comparison's own check tells it, with all else that is wrong
	}
	for _, r := range rules {
		switch {
		case r.Dynamic > 0 && !f.on:
			return usageError{fmt.Errorf("rule %s draws negatives while an encoder is trained: it is for --train; star draws from the nearest without training", r.Name)}
		case r.Name != train.Random && r.Name != train.InBatch: // those are controls anyway
			f.More = append(f.More, train.Source{Name: r.Name, InBatch: r.InBatch, Dynamic: r.Dynamic})
		}
	}
	for _, g := range o.Given {
		f.More = append(f.More, train.Source{Name: g.Name})
	}
	switch {
	case f.ablate != "" && len(o.Given) > 0:
		return usageError{errors.New("--negatives is for --train: an ablation mines by its rules")}
	case f.ablate != "":
		f.Rules, f.More = rules, nil
	case f.on && len(f.More) == 0:
		return usageError{errors.New("--rules has controls alone, which every training has: name one more rule, as dual")}
	case f.on:
		o.Found = f.keep
	}
	return nil
}

// keep keeps the negatives that a rule has, to train with.
func (f *trainFlags) keep(name string, found *negatives.Result) {
	for i := range f.More {
		if f.More[i].Name == name {
			f.More[i].Pairs = found.Pairs
		}
	}
}

// check finds what training would refuse, before there is work to lose.
func (f *trainFlags) check(ctx context.Context) error {
	if !f.asked() {
		return nil
	}
	if err := f.Validate(); err != nil || f.Prepare {
		return err
	}
	_, err := train.FindPython(ctx, f.Python)
	return err
}

// checkData fails where a data set cannot be trained on.
func (f *trainFlags) checkData(data *dataset.Dataset) error {
	if !f.asked() || data.HasTexts() {
		return nil
	}
	_, err := data.Documents.Texts.OfIDs(nil)
	_, other := data.Queries.Texts.OfIDs(nil)
	return errors.Join(err, other)
}

// do trains. The table is nil where Prepare is on.
func (f *trainFlags) do(ctx context.Context, data *dataset.Dataset, fit projection.FitOptions) (*train.Table, error) {
	if f.ablate != "" {
		return train.Ablate(ctx, data, f.Options, f.ablate, fit)
	}
	return train.Compare(ctx, data, f.Options)
}
