package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/pflag"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/run"
	"github.com/quarry-hn/quarry/host/sampler"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// samplerFlags are the parameters of samplers, and of what --rule takes beside a window rule.
type samplerFlags struct {
	ranks       string
	randomShare float64
	batch       int
	k1, b       float64

	keepScores, scores string
	keep               int

	// Once checkSampler has read the flags:
	options sampler.Options
	rule    sampler.Rule
}

func (f *samplerFlags) add(flags *pflag.FlagSet) {
	rule := flags.Lookup("rule")
	rule.Usage += "or a sampler" + samplersHelp() + "\nor several rules, as dual+perc: up to --top negatives of each. A rule may have its parameter, as perc=0.9, and ranks, as topk:11-50\n"
	flags.StringVar(&f.ranks, "ranks", "", "for window rules: take negatives of these ranks alone, as 11-50: the first, or with --seed a sample")
	flags.Float64Var(&f.randomShare, "random-share", sampler.DefaultRandomShare, "for --rule star: share of the negatives that is drawn from all documents")
	flags.IntVar(&f.batch, "batch-size", sampler.DefaultBatch, "for --rule in-batch: pairs in a batch; a pair has the other positives as its negatives, whatever --top")
	flags.Float64Var(&f.k1, "k1", sampler.DefaultK1, "for --rule bm25: how soon further occurrences of a word count for less")
	flags.Float64Var(&f.b, "b", sampler.DefaultB, "for --rule bm25: how much a document's length counts, from 0 to 1")
	flags.StringVar(&f.keepScores, "keep-scores", "", "file to keep the scores of the nearest documents in, of one scan: --scores applies rules to them")
	flags.IntVar(&f.keep, "keep", sampler.DefaultKeep, "for --keep-scores: documents of each pair, the nearest to the query")
	flags.StringVar(&f.scores, "scores", "", "file of --keep-scores, and --projection the one it was made with: window rules take documents out of it, and scan only for pairs that it does not settle")
}

// samplersHelp says what each sampler takes, and where it is from.
func samplersHelp() string {
	var samplers [][2]string
	for _, d := range sampler.Samplers {
		samplers = append(samplers, [2]string{d.Name, d.Help + " (" + d.Source + ")"})
	}
	return listed(samplers)
}

// samples reports whether package sampler does what the flags ask for.
func (c *mineCommand) samples() bool {
	f := &c.sampler
	_, alone := f.rule.Window()
	return !alone || f.ranks != "" || f.keepScores != "" || f.scores != ""
}

// checkSampler reads the flags of samplers. It fails where one is not for the rule that is asked for.
func (c *mineCommand) checkSampler(flags *pflag.FlagSet) (err error) {
	f := &c.sampler
	if f.rule, err = sampler.ParseRule(c.mine.rule); err != nil {
		f.rule = sampler.Rule{}
		return nil // validate tells what is wrong with it, and all else that is wrong
	}
	dealt := f.rule.InBatch
	for _, own := range []struct{ flag, rule string }{{"random-share", "star"}, {"batch-size", "in-batch"}, {"k1", "bm25"}, {"b", "bm25"}} {
		if flags.Changed(own.flag) && !f.rule.Has(own.rule) && !(dealt && own.rule == "in-batch") {
			return usageError{fmt.Errorf("--%s is for --rule %s, and the rule is %s", own.flag, own.rule, excerpt.Text(c.mine.rule))}
		}
	}
	switch {
	case flags.Changed("ranks") && f.ranks == "":
		return usageError{errors.New("--ranks is empty; it names a range, as 11-50")}
	case flags.Changed("scores") && f.scores == "", flags.Changed("keep-scores") && f.keepScores == "":
		return usageError{errors.New("--scores or --keep-scores is empty; each names a file")}
	case flags.Changed("keep") && f.keepScores == "":
		return usageError{errors.New("--keep is for --keep-scores, which is not given")}
	case f.keep < 1 || f.keep > abi.MaxTop:
		return usageError{fmt.Errorf("--keep is %d; it goes from 1 to %d", f.keep, abi.MaxTop)}
	case f.scores != "" && f.keepScores != "":
		return usageError{errors.New("--scores and --keep-scores: choose one")}
	case f.scores != "" && c.projection == "":
		return usageError{errors.New("--scores needs --projection: the one that the scores were made with")}
	case !c.samples():
		return nil
	}
	switch {
	case c.resume:
		return usageError{errors.New("--resume is for one window rule without --ranks and kept scores: nothing else keeps parts to go on from")}
	case c.partDocuments != 0:
		return usageError{errors.New("--part-documents is for one window rule without --ranks and kept scores: nothing else keeps parts")}
	case c.mine.counts:
		return usageError{errors.New("--counts is for one window rule without --ranks and kept scores: counts are of a scan by it")}
	case flags.Changed("top") && dealt:
		return usageError{errors.New("--top is not for --rule in-batch: --batch-size says how many negatives there are")}
	}
	if f.ranks != "" || f.rule.Draws() {
		// What the seed of a sampler draws has nothing to do with fitting, so it may be given beside a fitted projection.
		c.fit.names = slices.DeleteFunc(c.fit.names, func(name string) bool { return name == "seed" })
	}
	f.options = sampler.Options{Seed: c.fit.seed, Sampled: flags.Changed("seed"), RandomShare: &f.randomShare, Batch: f.batch, K1: &f.k1, B: &f.b}
	if f.batch == 0 {
		return usageError{fmt.Errorf("--batch-size is 0; it goes from 2 to %d", sampler.MaxBatch)}
	}
	if f.ranks == "" {
		return nil
	}
	if f.options.Ranks, err = sampler.ParseRanks(f.ranks); err != nil {
		return usageError{fmt.Errorf("--ranks: %w", err)}
	}
	return nil
}

// validate reports all that is wrong with what to mine.
func (c *mineCommand) validate(o mining.Options) error {
	if c.samples() {
		return c.sampler.options.Validate(o)
	}
	return o.Validate()
}

// sample makes a run of a sampler: it fits a projection where none is given or there already, draws, and writes the outputs.
func (c *mineCommand) sample(ctx context.Context, data *dataset.Dataset, r run.Run) (done *run.Done, err error) {
	if err := c.checkInputs(data, r); err != nil {
		return nil, err
	}
	found, err := r.UseFitted(data)
	if err != nil {
		return nil, err
	}
	done = &run.Done{Projection: r.Projection, Found: found, Parts: 1}
	if done.Projection == nil {
		if done.Projection, err = projection.Fit(ctx, data, r.Fit); err != nil {
			return nil, err
		}
	}
	o := c.sampler.options
	if c.sampler.scores != "" {
		if o.Scores, err = sampler.LoadScores(c.sampler.scores); err != nil {
			return nil, err
		}
	}
	if c.sampler.keepScores != "" {
		if o.Scores, err = sampler.KeepScores(ctx, data, done.Projection, r.Mine, c.sampler.keep); err != nil {
			return nil, err
		}
	}
	if done.Result, err = sampler.Sample(ctx, data, done.Projection, r.Mine, o); err != nil {
		return nil, err
	}
	if r.Summarize {
		done.Summary = run.Summarize(data, done.Projection, done.Result, c.written(r.Outputs))
		done.Summary.Found = found
	}
	return done, c.save(r.Outputs, done, o.Scores)
}

// written lists the files that a run writes.
func (c *mineCommand) written(outputs run.Outputs) []string {
	if c.sampler.keepScores == "" {
		return outputs.Paths()
	}
	return append(outputs.Paths(), c.sampler.keepScores)
}

// save writes the outputs, and then gives the file of kept scores its name.
func (c *mineCommand) save(outputs run.Outputs, done *run.Done, scores *mine.Part) (err error) {
	if c.sampler.keepScores == "" {
		return outputs.Save(done.Result, done.Projection)
	}
	file, err := scores.Marshal()
	if err != nil {
		return err
	}
	kept, err := atomicfile.Create(c.sampler.keepScores, c.force, func(w io.Writer) error {
		_, err := w.Write(file)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Discard()) }()
	if err := outputs.Save(done.Result, done.Projection); err != nil {
		return err
	}
	return kept.Commit()
}
