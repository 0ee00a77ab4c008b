package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// mineFlags are what to mine.
type mineFlags struct {
	split, rule     string
	margin, perc    float64
	top             int
	counts          bool
	positives, self string
	zero, missing   string
}

func (f *mineFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.split, "split", "train", "pairs to mine: train, test, another file of qrels/, or all (train first); a query's positives of every split are none of its negatives")
	flags.StringVar(&f.rule, "rule", "dual", "which documents are negatives: dual (the paper's: nearer to the query than the positive is, and nearer to the query than to the positive), topk, margin, perc, capped")
	flags.Float64Var(&f.margin, "margin", mine.DefaultMargin, "for --rule margin: s(Q,D) is at most s(Q,PD) - margin")
	flags.Float64Var(&f.perc, "perc", mine.DefaultPerc, "for --rule perc and capped: s(Q,D) is at most perc * s(Q,PD)")
	flags.IntVar(&f.top, "top", 5, "negatives of a pair at most")
	flags.BoolVar(&f.counts, "counts", false, "count all documents in the rule's window and all candidates, exactly; slower")
	flags.StringVar(&f.positives, "positives", host.PositivesEach, "with several positives: each is mined alone, or all must satisfy the rule")
	flags.StringVar(&f.self, "self", host.SelfExclude, "a document with the query's own id: exclude, or keep")
	flags.StringVar(&f.zero, "zero", host.ZeroError, "zero vectors, which have no cosine: error, or skip")
	flags.StringVar(&f.missing, "missing", host.MissingError, "pairs whose query or positive is not there: error, or skip")
}

func (f *mineFlags) options(flags *pflag.FlagSet) (host.MineOptions, error) {
	if flags.Changed("top") && f.top == 0 {
		return host.MineOptions{}, usageError{errors.New("--top is 0; it is above 0")}
	}
	if flags.Changed("perc") && f.perc == 0 {
		return host.MineOptions{}, usageError{errors.New("--perc is 0; it is above 0")}
	}
	for _, of := range []struct {
		flag  string
		rules []string
	}{{"margin", []string{"margin"}}, {"perc", []string{"perc", "capped"}}} {
		if flags.Changed(of.flag) && slices.Contains(mine.Rules, f.rule) && !slices.Contains(of.rules, f.rule) {
			return host.MineOptions{}, usageError{fmt.Errorf("--%s is for --rule %s, and the rule is %s", of.flag, strings.Join(of.rules, " or "), f.rule)}
		}
	}
	return host.MineOptions{Split: f.split, Rule: f.rule, Margin: &f.margin, Perc: f.perc, Top: f.top, Counts: f.counts,
		Positives: f.positives, Self: f.self, Zero: f.zero, Missing: f.missing}, nil
}

func (a *app) mineCommand() *cobra.Command {
	var f mineFlags
	var fit fitFlags
	var run runFlags
	var projection, output, stats string
	var force, resume bool
	var partDocuments int
	cmd := &cobra.Command{
		Use: "mine DIR", Short: "Mine hard negatives: fit, project, mine, write", Args: cobra.ExactArgs(1),
		Long: `Mine hard negatives for the pairs of a split. Without --projection one is fitted first, as the flags of fit say, and
written beside the output as projection.safetensors. negatives.manifest.json, beside the output too, says what the
result depends on: the same manifest means the same negatives, whatever machine, engine or number of threads.`,
		Example: `  quarry mine mydata                                          # the paper's rule, train split, 5 a pair
  quarry mine mydata --split all --top 20 --counts
  quarry mine mydata --projection projection.safetensors --rule capped -o capped.jsonl
  quarry mine mydata --memory 1GiB --resume                   # in bounded memory; run again, it goes on
  quarry mine mydata --json | jq .tallies`,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags := cmd.Flags()
			o, err := f.options(flags)
			if err != nil {
				return err
			}
			fitOptions, err := fit.options(flags)
			if err != nil {
				return err
			}
			if name := fit.given(flags); name != "" && projection != "" {
				return usageError{fmt.Errorf("--%s is for fitting, and --projection gives a fitted one", name)}
			}
			outputs := host.OutputsBeside(output, projection == "", force)
			if err := differ(append(outputs.Paths(), stats)); err != nil {
				return err
			}
			e, err := run.open(cmd)
			if err != nil {
				return err
			}
			defer closeEngine(cmd.Context(), e)
			meter := a.newMeter()
			if o.RunOptions, err = run.options(e, meter); err != nil {
				return err
			}
			o.PartDocuments = partDocuments
			fitOptions.Threads, fitOptions.Zero, fitOptions.Progress, fitOptions.Memory = run.threads, f.zero, meter.progress(), o.Memory
			if err := errors.Join(o.Validate(), fitOptions.Validate()); err != nil {
				return err
			}
			if !resume {
				if err := outputs.Check(); err != nil {
					return err
				}
			}
			if stats != "" {
				if err := atomicfile.Check(stats, force || resume); err != nil {
					return err
				}
			}
			folder, err := beir.Open(args[0])
			if err != nil {
				return err
			}
			defer folder.Close()
			r := host.Run{Fit: fitOptions, Mine: o, Outputs: outputs, Resume: resume}
			if projection != "" {
				if r.Projection, err = host.LoadProjection(projection); err != nil {
					return err
				}
			}
			done, err := r.Do(cmd.Context(), folder)
			if err != nil {
				return err
			}
			if done.Finished {
				meter.stop()
				return a.summary(struct {
					Finished bool     `json:"finished_already"`
					Outputs  []string `json:"outputs"`
				}{true, outputs.Paths()}, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "finished already: %s\n", strings.Join(outputs.Paths(), ", "))
					return err
				})
			}
			s := newMineSummary(folder, done.Projection, done.Result, outputs.Paths())
			if stats != "" {
				err := atomicfile.Write(stats, force || resume, newRunStats(args[0], e, run.threads, outputs.Paths(), meter.stop(), done).write)
				if err != nil {
					return err
				}
			}
			meter.stop()
			return a.summary(s, func(w io.Writer) error { return s.write(w) })
		},
	}
	f.add(cmd.Flags())
	fit.add(cmd.Flags())
	run.add(cmd.Flags())
	cmd.Flags().StringVar(&projection, "projection", "", "projection file to use (default: fit one)")
	cmd.Flags().StringVarP(&output, "output", "o", "negatives.jsonl", "file to write")
	cmd.Flags().StringVar(&stats, "stats", "", "file to write times, engine, threads and memory to, as JSON")
	cmd.Flags().BoolVar(&force, "force", false, "replace outputs that exist, and start anew where a run was cut short")
	cmd.Flags().BoolVar(&resume, "resume", false, "go on with what a run that was cut short left beside the output; start where there is nothing, do nothing where all is done")
	cmd.Flags().IntVar(&partDocuments, "part-documents", 0, "documents to mine for each part that is kept (default what takes half a minute or so)")
	return cmd
}

// differ fails where one file would be written twice; the last is that of --stats, which may be empty.
func differ(outputs []string) error {
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
