package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/compare"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/run"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// compareCommand is a command line of compare.
type compareCommand struct {
	fit     fitFlags
	compute computeFlags
	options compare.Options

	rules, projection, output string
	force                     bool
}

func (a *app) compareCommand() *cobra.Command {
	var c compareCommand
	cmd := &cobra.Command{
		Use: "compare DIR", Short: "Compare rules on a folder, without training", Args: cobra.ExactArgs(1),
		Long: `Compare what rules take as negatives, in seconds and without training a model. For each rule the table has the share of pairs with a
negative, how hard the negatives are, what the rules have in common, copies of the positive, and how few documents make up the
negatives.

The test of hidden positives says how often a rule takes a relevant document for a negative. A third of the judged positives of each
query that has two or more is hidden, as if nobody had judged it. Each rule is mined for the positives that stay, and the hidden ones
that it takes are counted. Each draw hides others.

The negatives of a rule are those of quarry mine with the same options: negatives_sha256 in the output says which.`,
		Example: `  quarry compare mydata                                       # all rules, all splits; writes compare.json
  quarry compare mydata --rules dual,margin=0.05,margin=0.1,perc=0.9 --split train
  quarry compare mydata --projection projection.safetensors --draws 100 --seed 7
  quarry compare mydata --json | jq '.rules[] | {rule, yield, taken: .hidden_positives.taken_share}'`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.do(a, cmd, args[0]) },
	}
	flags, o := cmd.Flags(), &c.options
	c.fit.add(flags)
	c.fit.names = slices.DeleteFunc(c.fit.names, func(name string) bool { return name == "seed" }) // it draws too, and goes with --projection
	c.compute.add(flags)
	flags.Lookup("seed").Usage = "what chooses the positives that are hidden and the samples of intervals; and the sample of a fit, and the random subspace of a wide one"
	flags.StringVar(&c.rules, "rules", strings.Join(mine.RuleNames(), ","), "rules to compare, each by its name or with the value of its parameter: perc=0.9")
	flags.StringVar(&o.Split, "split", "all", "pairs to compare on: train, test, another file of qrels/, or all")
	flags.IntVar(&o.Top, "top", message.DefaultTop, "negatives of a pair at most; a hidden positive is taken where it is among them")
	flags.IntVar(&o.Draws, "draws", compare.DefaultDraws, "how often positives are hidden")
	flags.StringVar(&o.Zero, "zero", option.ZeroError, "zero vectors, which have no cosine: error, or skip")
	flags.StringVar(&o.Missing, "missing", "error", "pairs whose query or positive is not there: error, or skip")
	flags.StringVar(&c.projection, "projection", "", "projection file to use (default: fit one, as quarry fit does)")
	flags.StringVarP(&c.output, "output", "o", "compare.json", "file to write")
	flags.BoolVar(&c.force, "force", false, "replace the output where it exists")
	return cmd
}

func (c *compareCommand) do(a *app, cmd *cobra.Command, dir string) error {
	meter := a.newMeter()
	if err := c.complete(cmd, meter); err != nil {
		return err
	}
	o := c.options
	if err := o.Validate(); err != nil {
		return err
	}
	if err := atomicfile.Check(c.output, c.force); err != nil {
		return err
	}
	e, data, err := c.compute.openWith(cmd.Context(), meter, o.Memory, dir)
	if err != nil {
		return err
	}
	defer closeEngine(cmd.Context(), e)
	defer data.Close()
	o.Engine = e
	if c.projection != "" {
		if o.Projection, err = projection.Load(c.projection); err != nil {
			return err
		}
	}
	report, err := compare.Compare(cmd.Context(), data, o)
	if err != nil {
		return err
	}
	meter.stop()
	err = atomicfile.Write(c.output, c.force, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(report)
	})
	if err != nil {
		return err
	}
	return a.summary(report, func(w io.Writer) error { return writeComparison(w, report, c.output) })
}

// complete makes the options of the flags.
func (c *compareCommand) complete(cmd *cobra.Command, meter *meter) (err error) {
	flags, o := cmd.Flags(), &c.options
	for name, value := range map[string]int{"top": o.Top, "draws": o.Draws} {
		if value == 0 {
			return usageError{fmt.Errorf("--%s is 0; it is above 0", name)}
		}
	}
	if c.rules == "" {
		return usageError{errors.New("--rules is empty; it names rules, as in dual,perc=0.9")}
	}
	o.Rules, o.Seed = strings.Split(c.rules, ","), c.fit.seed
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
	return nil
}

// writeComparison writes a comparison as tables.
func writeComparison(w io.Writer, r *compare.Report, written string) error {
	fmt.Fprintf(w, "%d pairs of split %s, %d queries, %d documents; %d negatives a pair at most\n\n", r.Pairs, r.Split, r.Queries, r.Documents, r.Top)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "rule\tpairs with\tnegatives\ts(Q,D) - s(Q,PD)\t\t\ts(PD,D)\t\t\tnear-\tequal\ttop 1 % of\t")
	fmt.Fprintln(t, "\ta negative\ta pair\t25 %\tmedian\t75 %\t25 %\tmedian\t75 %\tcopies\ttexts\tdocuments\t")
	for _, of := range r.Rules {
		fmt.Fprintf(t, "%s\t%.1f %%\t%.2f\t%s\t%s\t%s\t%s\t%s\t\n", of.Rule, 100*of.Yield, of.NegativesPerPair, quartiles(of.Gap), quartiles(of.SPDD),
			shareText(of.NearCopies.Share), shareText(of.NearCopies.EqualShare), shareText(of.ChosenOften.TopPercentHas))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nnear-copies: negatives with s(PD,D) above %v; equal texts: those with the positive's text; top 1 %%: the share of\nall negatives that the most chosen documents make up\n",
		r.Rules[0].NearCopies.Above)
	fmt.Fprintf(w, "\nof a rule's negatives of a pair, the share that another rule takes too\n")
	writeOverlap(t, r)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nmost chosen: %s\n", mostChosen(r))
	if err := writeHidden(w, t, r); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nwritten: %s\n", written)
	return err
}

// writeHidden writes how the test of hidden positives came out, in t, whose columns are aligned, for the table.
func writeHidden(w io.Writer, t *tabwriter.Writer, r *compare.Report) error {
	if r.Unmeasured != "" {
		_, err := fmt.Fprintf(w, "\nhidden positives: %s\n", r.Unmeasured)
		return err
	}
	fmt.Fprintf(w, "\nhidden positives: %d, of %d queries that have two judged positives or more, in each of %d draws\n", r.HiddenPositives, r.MultiPositiveQueries,
		r.Rules[0].HiddenPositives.Draws)
	fmt.Fprintf(t, "rule\ttaken in the top %d\tsd\t95 %% interval\ttaken first\tsd\t95 %% interval\tof negatives\t\n", r.Top)
	for _, of := range r.Rules {
		h := of.HiddenPositives
		fmt.Fprintf(t, "%s\t%.1f %%\t%s\t%s\t%.1f %%\t%s\t%s\t%s\t\n", of.Rule, 100*h.TakenShare, shareText(h.TakenSD), intervalText(h.TakenInterval),
			100*h.FirstShare, shareText(h.FirstSD), intervalText(h.FirstInterval), shareText(h.OfNegatives))
	}
	return t.Flush()
}

// writeOverlap writes what the rules have in common: a row for each rule, and a column for each.
func writeOverlap(w io.Writer, r *compare.Report) {
	fmt.Fprint(w, "\t")
	for _, of := range r.Rules {
		fmt.Fprintf(w, "%s\t", of.Rule)
	}
	fmt.Fprintln(w)
	for _, of := range r.Rules {
		fmt.Fprintf(w, "%s\t", of.Rule)
		for _, other := range r.Rules {
			fmt.Fprintf(w, "%s\t", shareText(of.Overlap[other.Rule]))
		}
		fmt.Fprintln(w)
	}
}

// mostChosen names the document that each rule chooses most often.
func mostChosen(r *compare.Report) string {
	var all []string
	for _, of := range r.Rules {
		if most := of.ChosenOften.Most; len(most) > 0 {
			all = append(all, fmt.Sprintf("%s %s (%d queries)", of.Rule, shorten(most[0].ID, 40), most[0].Queries))
		}
	}
	return strings.Join(all, ", ")
}

// quartiles are three cells of a table.
func quartiles(q *run.Quantiles) string {
	if q == nil {
		return "-\t-\t-"
	}
	return fmt.Sprintf("%.3f\t%.3f\t%.3f", q.Q25, q.Median, q.Q75)
}

// shareText is a share in percent; a dash where there is none.
func shareText(share *float64) string {
	if share == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100**share)
}

func intervalText(i [2]float64) string { return fmt.Sprintf("%.1f to %.1f %%", 100*i[0], 100*i[1]) }
