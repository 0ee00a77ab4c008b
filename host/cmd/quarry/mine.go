package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/run"
	"github.com/quarry-hn/quarry/host/sampler"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// mineCommand is a command line of mine.
type mineCommand struct {
	mine    mineFlags
	sampler samplerFlags
	fit     fitFlags
	compute computeFlags

	data, projection, output, stats string
	judgements                      []string // files
	force, resume                   bool
	partDocuments                   int
}

func (a *app) mineCommand() *cobra.Command {
	var c mineCommand
	cmd := &cobra.Command{
		Use: "mine DIR", Short: "Mine hard negatives: fit, project, mine, write", Args: cobra.ExactArgs(1),
		Long: `Mine hard negatives for the pairs of a split. Without --projection the command fits one first, as the flags of fit say, and writes
it beside the output as projection.safetensors. Where that file is there already and is of the same fit, of the same vectors by the
same flags, the command uses it. negatives.manifest.json, also beside the output, says all that the result depends on: the same
manifest means the same negatives, on any machine, with any engine and any number of threads.`,
		Example: `  quarry mine mydata                                          # the paper's rule, train split, 5 a pair
  quarry mine mydata --split all --top 20 --counts
  quarry mine mydata --rule capped -o capped.jsonl            # another rule, with the projection that is there
  quarry mine mydata --memory 1GiB --resume                   # in bounded memory; the same command goes on where it was cut short
  quarry mine mydata --rule perc --ranks 11-50 --seed 7       # a sample of those ranks
  quarry mine mydata --rule dual+perc+random --seed 7         # the negatives of each rule
  quarry mine mydata --rule bm25 -o bm25.jsonl
  quarry mine mydata --judgements judgements.tsv --force      # again, without what a reader marked as false
  quarry mine mydata --rule topk --keep-scores scores.safetensors
  quarry mine mydata --projection projection.safetensors --scores scores.safetensors --rule perc -o perc.jsonl  # without a scan
  quarry mine mydata --json | jq .tallies`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.data = args[0]
			return c.do(a, cmd)
		},
	}
	flags := cmd.Flags()
	c.mine.add(flags)
	c.sampler.add(flags)
	c.fit.add(flags)
	c.compute.add(flags)
	flags.StringArrayVar(&c.judgements, "judgements", nil, "file of judgements beside those of qrels/, such as the marks that quarry report's page saves; may be given several times."+
		" A document judged relevant there is never mined as the query's negative, and no pair is made of it")
	flags.StringVar(&c.projection, "projection", "", "projection file to use (default: projection.safetensors beside the output where it is of the same fit, and otherwise fit one)")
	flags.StringVarP(&c.output, "output", "o", "negatives.jsonl", "file to write")
	flags.StringVar(&c.stats, "stats", "", "file to write times, engine, threads and memory to, as JSON")
	flags.BoolVar(&c.force, "force", false, "replace outputs that exist, and start anew where a run was cut short")
	flags.BoolVar(&c.resume, "resume", false, "go on from what a run left which was cut short, of its fit and its parts; start where there is nothing, and do nothing where all is done")
	flags.IntVar(&c.partDocuments, "part-documents", 0, "documents to mine for each part that is kept (default: about half a minute's work)")
	return cmd
}

func (c *mineCommand) do(a *app, cmd *cobra.Command) error {
	r, err := c.run(cmd.Flags())
	if err != nil {
		return err
	}
	meter := a.newMeter()
	if r.Mine.Compute, err = c.compute.options(cmd, meter); err != nil {
		return err
	}
	r.Mine.PartDocuments = c.partDocuments
	fitAsMined(&r.Fit, &r.Mine)
	if err := errors.Join(c.validate(r.Mine), r.Fit.Validate()); err != nil {
		return err
	}
	if isFetched(c.data) {
		if err := c.checkOutputs(r.Outputs); err != nil {
			return err
		}
	}
	e, data, err := c.compute.openWith(cmd.Context(), meter, r.Mine.Memory, c.data)
	if err != nil {
		return err
	}
	defer closeEngine(cmd.Context(), e)
	defer data.Close()
	for _, path := range c.judgements {
		if err := judge(data, path); err != nil {
			return err
		}
	}
	r.Mine.Engine, r.Summarize = e, a.shows()
	if c.projection != "" {
		if r.Projection, err = projection.Load(c.projection); err != nil {
			return err
		}
	}
	if err := c.checkOutputs(r.Outputs); err != nil {
		return cmp.Or(c.checkInputs(data, r), err)
	}
	do := r.Do
	if c.samples() {
		do = func(ctx context.Context, data *dataset.Dataset) (*run.Done, error) { return c.sample(ctx, data, r) }
	}
	done, err := do(cmd.Context(), data)
	if err != nil {
		return err
	}
	seconds := meter.stop()
	if done.Finished {
		return a.finishedAlready(r.Outputs)
	}
	if done.Found != "" {
		r.Outputs.Projection = "" // it was not written
	}
	if err := c.writeStats(e, r.Outputs, seconds, done); err != nil {
		return err
	}
	return a.summary(done.Summary, func(w io.Writer) error { return writeSummary(w, done.Summary) })
}

// run returns the run that the flags ask for: what to mine and to fit, and where to write.
func (c *mineCommand) run(flags *pflag.FlagSet) (r run.Run, err error) {
	if r.Mine, err = c.mine.options(flags); err != nil {
		return r, err
	}
	if err := c.checkSampler(flags); err != nil {
		return r, err
	}
	if r.Fit, err = c.fit.options(flags); err != nil {
		return r, err
	}
	if err := c.fit.checkNotFitted(flags, c.projection); err != nil {
		return r, err
	}
	r.Outputs, r.Resume = run.OutputsBeside(c.output, c.projection == "", c.force), c.resume
	return r, checkDistinct(append(c.written(r.Outputs), c.stats))
}

// checkInputs fails where mining would refuse the inputs, as far as that is known before there is work to lose.
func (c *mineCommand) checkInputs(data *dataset.Dataset, r run.Run) error {
	if c.samples() {
		if err := sampler.CheckTexts(data, c.sampler.rule); err != nil {
			return err
		}
		r.Mine.Rule = mine.Rules[0].Name // whose inputs are those of every sampler
	}
	return r.CheckInputs(data)
}

// checkOutputs fails where an output may not be written, before there is work to lose.
func (c *mineCommand) checkOutputs(outputs run.Outputs) error {
	if !c.resume {
		if err := outputs.CheckAnew(); err != nil {
			return err
		}
	}
	if c.sampler.keepScores != "" {
		if err := atomicfile.Check(c.sampler.keepScores, c.force); err != nil {
			return err
		}
	}
	if c.stats == "" {
		return nil
	}
	return atomicfile.Check(c.stats, c.force || c.resume)
}

func (c *mineCommand) writeStats(e engine.Engine, outputs run.Outputs, seconds map[string]float64, done *run.Done) error {
	if c.stats == "" {
		return nil
	}
	return atomicfile.Write(c.stats, c.force || c.resume, newRunStats(c.data, e, c.compute.threads, outputs.Paths(), seconds, done).write)
}

// finishedAlready prints the summary of a run that had nothing to do: an earlier run had written everything.
func (a *app) finishedAlready(outputs run.Outputs) error {
	s := struct {
		Finished bool     `json:"finished_already"`
		Outputs  []string `json:"outputs"`
	}{true, outputs.Paths()}
	return a.summary(s, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "finished already: %s\n", strings.Join(outputs.Paths(), ", "))
		return err
	})
}

// checkDistinct fails where two outputs are the same file. The last one is that of --stats, which may be empty.
func checkDistinct(outputs []string) error {
	seen := map[string]bool{}
	for i, path := range outputs {
		if path = filepath.Clean(path); seen[path] {
			name := "--output"
			if i == len(outputs)-1 {
				name = "--stats"
			}
			return usageError{fmt.Errorf("%s: %s would be written twice", name, path)}
		}
		seen[path] = true
	}
	return nil
}
