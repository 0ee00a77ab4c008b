package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/audit"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/negatives"
)

// auditCommand is a command line of audit.
type auditCommand struct {
	compute computeFlags
	output  string
	above   float64
	force   bool
	drops   bool // --drop-above was given
}

// audited is what the audit command prints as JSON.
type audited struct {
	Of         string           `json:"negatives_sha256"` // of the file that was audited
	Pairs      int              `json:"pairs"`
	With       int              `json:"pairs_with_negatives"`
	Queries    int              `json:"queries"`
	Negatives  int              `json:"negatives"`
	Above      map[string]int   `json:"above"` // negatives by score
	Reasons    map[string]int   `json:"reasons"`
	Thresholds audit.Thresholds `json:"thresholds"`
	Calibrated string           `json:"calibrated_on"`
	Kept       *keptNegatives   `json:"kept,omitempty"`
	Findings   []audit.Finding  `json:"findings"`
}

// keptNegatives says what a file has without the negatives that were dropped.
type keptNegatives struct {
	ID        string   `json:"negatives_sha256"` // of the file
	DropAbove float64  `json:"drop_above"`
	Dropped   int      `json:"dropped"`
	Negatives int      `json:"negatives"`
	Pairs     int      `json:"pairs"`
	With      int      `json:"pairs_with_negatives"`
	Emptied   int      `json:"pairs_left_out"`
	Written   []string `json:"written"`
}

// scoreSteps are the scores above which negatives are counted.
var scoreSteps = []float64{0.2, 0.5, 0.8}

// mostShown is how many negatives the text lists.
const mostShown = 20

func (a *app) auditCommand() *cobra.Command {
	var c auditCommand
	cmd := &cobra.Command{
		Use: "audit NEGATIVES DIR", Short: "Look for negatives that are relevant all the same, and leave them out", Args: cobra.ExactArgs(2),
		Long: `Look for false negatives: documents that were mined as negatives of a query and are relevant to it. Each negative gets reasons in
words and a score from 0 to 1, how likely it is a false one. The signals are: it is nearer to the positive than positives of one query are
to each other; few documents are nearer to the positive; its text is nearly that of a positive; every single model prefers it to the
positive; it has as many of the query's words; it is judged relevant to another query that is near, or to another query of the same
positive; it stands next to the positive in its page; it is a negative of many queries. DIR has the texts, judgements and vectors that the negatives were mined from.

The score is a logistic regression of these signals, fitted on hidden positives of scifact: scores of other data put negatives in order, and
are not probabilities there. A document that is judged for the query has 1 or 0, and a near-duplicate of a positive 0.95 at least. With
--drop-above, the negatives with a higher score are left out of the file that --output names; pairs that lose all of them are left out.`,
		Example: `  quarry audit negatives.jsonl mydata
  quarry audit negatives.jsonl mydata --drop-above 0.5 -o kept.jsonl && quarry export kept.jsonl mydata
  quarry audit negatives.jsonl mydata --json | jq '.findings[] | select(.score > 0.8)'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.drops = cmd.Flags().Changed("drop-above")
			if err := c.check(cmd.Flags().Changed("output")); err != nil {
				return err
			}
			return c.do(a, cmd, args[0], args[1])
		},
	}
	c.compute.add(cmd.Flags())
	cmd.Flags().Float64Var(&c.above, "drop-above", 0, "write --output without the negatives whose score is above this, from 0 to 1 (default: write nothing)")
	cmd.Flags().StringVarP(&c.output, "output", "o", "kept.jsonl", "file to write, with --drop-above")
	cmd.Flags().BoolVar(&c.force, "force", false, "replace the output where it exists")
	return cmd
}

func (c *auditCommand) check(output bool) error {
	switch {
	case output && !c.drops:
		return usageError{errors.New("--output is what --drop-above keeps: give --drop-above too")}
	case !(c.above >= 0 && c.above <= 1):
		return usageError{fmt.Errorf("--drop-above is %v; it goes from 0 to 1", c.above)}
	case !c.drops:
		return nil
	}
	return atomicfile.Check(c.output, c.force)
}

func (c *auditCommand) do(a *app, cmd *cobra.Command, file, dir string) error {
	m := a.newMeter()
	compute, err := c.compute.options(cmd, m)
	if err != nil {
		return err
	}
	pairs, sum, err := negatives.LoadSum(file)
	if err != nil {
		return err
	}
	e, data, err := c.compute.openWith(cmd.Context(), m, compute.Memory, dir)
	if err != nil {
		return err
	}
	defer closeEngine(cmd.Context(), e)
	defer data.Close()
	compute.Engine = e
	report, err := audit.Run(cmd.Context(), data, pairs, audit.Options{Compute: compute})
	m.stop()
	if err != nil {
		return err
	}
	s := newAudited(report, pairs)
	s.Of = sum
	if c.drops {
		kept, err := report.Keep(pairs, c.above)
		if err != nil {
			return err
		}
		s.Kept = &keptNegatives{DropAbove: c.above, Dropped: kept.Dropped, Negatives: len(report.Findings) - kept.Dropped, Pairs: len(kept.Pairs), With: withNegatives(kept.Pairs), Emptied: kept.Emptied,
			Written: []string{c.output}}
		hash := sha256.New()
		err = atomicfile.Write(c.output, c.force, func(w io.Writer) error {
			return (&negatives.Result{Pairs: kept.Pairs}).WriteNegatives(io.MultiWriter(w, hash))
		})
		if err != nil {
			return err
		}
		s.Kept.ID = hex.EncodeToString(hash.Sum(nil))
	}
	return a.summary(s, s.print)
}

// withNegatives counts the pairs that have a negative.
func withNegatives(pairs []negatives.Pair) (n int) {
	for _, p := range pairs {
		if len(p.Negatives) > 0 {
			n++
		}
	}
	return n
}

func newAudited(r *audit.Report, pairs []negatives.Pair) *audited {
	s := &audited{Pairs: len(pairs), With: withNegatives(pairs), Queries: r.Queries, Negatives: len(r.Findings), Above: map[string]int{}, Reasons: r.Reasons, Thresholds: r.Thresholds,
		Calibrated: audit.Calibrated.On, Findings: r.Findings}
	for _, step := range scoreSteps {
		n := 0
		for _, f := range r.Findings {
			if f.Score > step {
				n++
			}
		}
		s.Above[fmt.Sprint(step)] = n
	}
	return s
}

func (s *audited) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%d negatives of %d pairs; %d pairs have none\n", s.Negatives, s.With, s.Pairs-s.With)
	for _, step := range scoreSteps {
		fmt.Fprintf(t, "score above %v\t%d\n", step, s.Above[fmt.Sprint(step)])
	}
	for _, name := range audit.ReasonNames {
		fmt.Fprintf(t, "%s\t%d\n", strings.ReplaceAll(name, "_", " "), s.Reasons[name])
	}
	highest := slices.Clone(s.Findings)
	slices.SortStableFunc(highest, func(a, b audit.Finding) int { return cmp.Compare(b.Score, a.Score) })
	highest = highest[:min(len(highest), mostShown)]
	if len(highest) > 0 {
		fmt.Fprintf(t, "\nThe %d with the highest scores:\n", len(highest))
	}
	for _, f := range highest {
		fmt.Fprintf(t, "%.2f\tquery %s\tpositive %s\tnegative %s\n", f.Score, f.QueryID, f.PositiveID, f.ID)
		for _, reason := range f.Reasons {
			fmt.Fprintf(t, "\t- %s\n", reason)
		}
	}
	if k := s.Kept; k != nil {
		fmt.Fprintf(t, "\n%d negatives with a score above %v were dropped; %d, of %d pairs, are kept in %s, with the %d pairs that had none; %d pairs lost all their negatives and were left out\n",
			k.Dropped, k.DropAbove, k.Negatives, k.With, k.Written[0], k.Pairs-k.With, k.Emptied)
	}
	return t.Flush()
}
