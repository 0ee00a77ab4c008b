package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/compare"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/sampler"
	"github.com/quarry-hn/quarry/host/train"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// compareCommand is a command line of compare.
type compareCommand struct {
	fit      fitFlags
	compute  computeFlags
	options  compare.Options
	training trainFlags

	rules, projection, output string
	given                     []string // NAME=negatives.jsonl
	force                     bool
	earlier                   *comparison // that the output has, where this one goes on from it
}

// comparison is the content of the file that compare writes.
type comparison struct {
	*compare.Report
	Ablation string       `json:"ablation,omitempty"` // what the training varies
	Training *train.Table `json:"training,omitempty"`
}

func (a *app) compareCommand() *cobra.Command {
	var c compareCommand
	cmd := &cobra.Command{
		Use: "compare DIR", Short: "Compare rules on a folder: without training, and with --train", Args: cobra.ExactArgs(1),
		Long: `Compare what rules take as negatives. Without --train it takes seconds. For each rule the table has the share of pairs with a negative,
how hard the negatives are, what the rules have in common, copies of the positive, and how few documents make up the negatives.

The test of hidden positives says how often a rule takes a relevant document for a negative. A third of the judged positives of each
query that has two or more is hidden, as if nobody had judged it. Each rule is mined for the positives that stay, and the hidden ones
that it takes are counted. Each draw hides others.

The negatives of a rule are those of quarry mine with the same options: negatives_sha256 in the output says which.

With --train the same model is then trained with the negatives of each rule, and a second table has MRR@3 and MRR@10 with 95 %
intervals. Beside the rules stand controls: no training, positives only, random negatives, and the positives of other pairs of a batch.
Each run cuts the judged queries anew into training, validation and test, and no document is a positive on two sides. Finished runs are
kept, and the same command goes on from there. Training takes a Python with sentence-transformers: make train-env makes one.`,
		Example: `  quarry compare mydata                                       # all window rules, all splits; writes compare.json
  quarry compare mydata --rules dual,perc=0.9,topk:11-50,bm25,dual+perc
  quarry compare mydata --negatives mine=other.jsonl          # what another miner took, beside the rules
  quarry compare mydata --json | jq '.rules[] | {rule, yield, taken: .hidden_positives.taken_share}'
  quarry compare mydata --train                               # and train: hours without a GPU
  quarry compare mydata --train --trainee cross-encoder --rules dual,capped -o cross-encoder.json
  quarry compare mydata --ablate variance -o variance.json
  quarry compare mydata --train --prepare                     # write the jobs; another machine trains them`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.do(a, cmd, args[0]) },
	}
	flags, o := cmd.Flags(), &c.options
	c.fit.add(flags)
	c.fit.names = slices.DeleteFunc(c.fit.names, func(name string) bool { return name == "seed" }) // it draws too, and goes with --projection
	c.compute.add(flags)
	flags.Lookup("seed").Usage = "what chooses the positives that are hidden, the samples of intervals, what samplers draw, and the first training; and the sample of a fit, and the random subspace of a wide one"
	flags.StringVar(&c.rules, "rules", "", "rules to compare, separated by commas: "+sampler.RuleSyntax()+" (default "+strings.Join(mine.RuleNames(), ",")+
		"; with --train "+strings.Join(train.DefaultRules, ",")+"; with --ablate "+mine.Rules[0].Name+"). Ranks are sampled where --seed is given")
	flags.StringArrayVar(&c.given, "negatives", nil, "negatives that are mined already, as NAME=negatives.jsonl, to compare with the rules; may be given several times")
	flags.StringVar(&o.Split, "split", "all", "pairs to compare on: train, test, another file of qrels/, or all")
	flags.IntVar(&o.Top, "top", message.DefaultTop, "negatives of a pair at most; a hidden positive is taken where it is among them")
	flags.IntVar(&o.Draws, "draws", compare.DefaultDraws, "how often positives are hidden")
	flags.StringVar(&o.Twins, "twins", mining.TwinsExclude, twinsHelp)
	flags.StringVar(&o.Zero, "zero", option.ZeroError, "zero vectors, which have no cosine: error, or skip")
	flags.StringVar(&o.Missing, "missing", "error", "pairs whose query or positive is not there: error, or skip")
	flags.StringVar(&c.projection, "projection", "", "projection file to use (default: fit one, as quarry fit does)")
	flags.StringVarP(&c.output, "output", "o", "compare.json", "file to write")
	flags.BoolVar(&c.force, "force", false, "replace the output where it exists; training runs that are finished stay")
	c.training.add(flags)
	cmd.SetUsageFunc(usageWithGroup("Training", c.training.flags))
	return cmd
}

func (c *compareCommand) do(a *app, cmd *cobra.Command, dir string) error {
	meter := a.newMeter()
	if err := c.complete(cmd, meter); err != nil {
		return err
	}
	if err := c.options.Validate(); err != nil {
		return err
	}
	if err := c.training.check(cmd.Context()); err != nil {
		return err
	}
	if err := c.checkOutput(); err != nil {
		return err
	}
	o := &c.options
	e, data, err := c.compute.openWith(cmd.Context(), meter, o.Memory, dir)
	if err != nil {
		return err
	}
	defer closeEngine(cmd.Context(), e)
	defer data.Close()
	o.Engine, c.training.Mine.Engine = e, e
	if err := c.training.checkData(data); err != nil {
		return err
	}
	if c.projection != "" {
		o.Projection, err = projection.Load(c.projection)
	} else {
		o.Projection, err = compare.Fit(cmd.Context(), data, *o)
	}
	if err != nil {
		return err
	}
	report, err := compare.Compare(cmd.Context(), data, *o)
	if err != nil {
		return err
	}
	found := &comparison{Report: report}
	if !c.training.asked() {
		meter.stop()
		if err := c.write(found); err != nil {
			return err
		}
		return a.summary(found, func(w io.Writer) error {
			return errors.Join(writeComparison(w, report), writtenTo(w, c.output))
		})
	}
	return c.train(a, cmd, meter, data, found)
}

// train trains once the comparison without training is written and shown, and writes both.
func (c *compareCommand) train(a *app, cmd *cobra.Command, meter *meter, data *dataset.Dataset, found *comparison) (err error) {
	if c.earlier == nil || !reflect.DeepEqual(c.earlier.Report, found.Report) { // an earlier one of other inputs stays
		if err := c.write(found); err != nil {
			return err
		}
	}
	if !a.json {
		if err := a.summary(nil, func(w io.Writer) error { return writeComparison(w, found.Report) }); err != nil {
			return err
		}
	}
	c.training.Projection = c.options.Projection
	found.Training, err = c.training.do(cmd.Context(), data, c.options.Fit)
	if err != nil {
		return whenInterrupted(err, fmt.Sprintf("%s has the comparison without training, and %s the runs that are finished: the same command goes on from there", c.output, c.training.Folder))
	}
	meter.stop()
	if c.training.Prepare {
		return a.summary(struct {
			*comparison
			Prepared string `json:"prepared"`
		}{found, c.training.Folder}, func(w io.Writer) error {
			return errors.Join(writePrepared(w, c.training.Folder), writtenTo(w, c.output))
		})
	}
	found.Ablation = c.training.ablate
	c.force = true // it is ours
	if err := c.write(found); err != nil {
		return err
	}
	return a.summary(found, func(w io.Writer) error {
		fmt.Fprintln(w)
		return errors.Join(found.Training.Write(w), writtenTo(w, c.output))
	})
}

func (c *compareCommand) write(found *comparison) error {
	return atomicfile.Write(c.output, c.force, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(found)
	})
}

// checkOutput fails where the output is there and may not be replaced. A comparison that trains goes on from its own.
func (c *compareCommand) checkOutput() error {
	err := atomicfile.Check(c.output, c.force)
	if !errors.Is(err, option.ErrExists) || !c.training.asked() {
		return err
	}
	file, failed := os.ReadFile(c.output)
	var earlier comparison
	if failed != nil || json.Unmarshal(file, &earlier) != nil || earlier.Report == nil || !c.sameQuestion(&earlier) {
		return err
	}
	c.earlier = &earlier
	return nil
}

// sameQuestion reports whether an earlier comparison answers what this one asks, as far as options say.
func (c *compareCommand) sameQuestion(earlier *comparison) bool {
	o := &c.options
	var rules, asked []string
	for _, r := range earlier.Rules {
		rules = append(rules, r.Rule)
	}
	for _, name := range o.Rules {
		if !slices.Contains(earlier.OnlyTrained, name) {
			asked = append(asked, name)
		}
	}
	for _, g := range o.Given {
		asked = append(asked, g.Name)
	}
	trained := earlier.Training
	return earlier.Format == compare.ReportFormat && earlier.Split == o.Split && earlier.Top == o.Top && earlier.Seed == o.Seed && slices.Equal(rules, asked) &&
		(trained == nil || trained.Trainee == c.training.Trainee && earlier.Ablation == c.training.ablate)
}

// complete makes the options of the flags.
func (c *compareCommand) complete(cmd *cobra.Command, meter *meter) (err error) {
	flags, o := cmd.Flags(), &c.options
	for name, value := range map[string]int{"top": o.Top, "draws": o.Draws} {
		if value == 0 {
			return usageError{fmt.Errorf("--%s is 0; it is above 0", name)}
		}
	}
	if err := c.training.complete(flags, c.output); err != nil {
		return err
	}
	switch {
	case flags.Changed("rules") && c.rules == "":
		return usageError{errors.New("--rules is empty; it names rules, as in dual,perc=0.9")}
	case c.rules != "":
		o.Rules = strings.Split(c.rules, ",")
	case c.training.ablate != "":
		o.Rules = mine.RuleNames()[:1]
	case c.training.on:
		o.Rules = train.DefaultRules
	default:
		o.Rules = mine.RuleNames()
	}
	if c.training.asked() && o.Split != "all" {
		return usageError{fmt.Errorf("--split is %s; training takes the pairs of all splits, and cuts them itself", excerpt.Quote(o.Split))}
	}
	o.Seed = c.fit.seed
	o.Sampler = sampler.Options{Seed: o.Seed, Sampled: flags.Changed("seed")}
	if o.Fit, err = c.fit.options(flags); err != nil {
		return err
	}
	if err := c.fit.checkNotFitted(flags, c.projection); err != nil {
		return err
	}
	if o.Compute, err = c.compute.options(cmd, meter); err != nil {
		return err
	}
	o.Fit.Threads, o.Fit.Memory, o.Fit.Progress, o.Fit.Zero = o.Threads, o.Memory, o.Progress, o.Zero
	if err := c.loadGiven(); err != nil {
		return err
	}
	return c.training.take(o)
}

// loadGiven loads the negatives that are mined already.
func (c *compareCommand) loadGiven() error {
	for _, text := range c.given {
		name, path, ok := strings.Cut(text, "=")
		if !ok || name == "" || path == "" {
			return usageError{fmt.Errorf("--negatives is %s; write NAME=negatives.jsonl", excerpt.Quote(text))}
		}
		pairs, err := negatives.Load(path)
		if err != nil {
			return err
		}
		c.options.Given = append(c.options.Given, compare.Given{Name: name, Path: path, Pairs: pairs})
	}
	return nil
}
