package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/quarry-hn/quarry/host/compare"
	"github.com/quarry-hn/quarry/host/run"
)

// writeComparison writes a comparison as tables.
func writeComparison(w io.Writer, r *compare.Report) error {
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
	for _, name := range r.OnlyTrained {
		fmt.Fprintf(w, "\n%s has no negatives before training, so it is in none of these tables\n", name)
	}
	return writeHidden(w, t, r)
}

// writtenTo says what was written.
func writtenTo(w io.Writer, path string) error {
	_, err := fmt.Fprintf(w, "\nwritten: %s\n", path)
	return err
}

// writePrepared says what to do with a folder of jobs.
func writePrepared(w io.Writer, folder string) error {
	_, err := fmt.Fprintf(w, "\nprepared: python python/quarry_train.py --list jobs/order trains in %s, on any machine; then the same command without --prepare reads the results\n", folder)
	return err
}

// writeHidden writes how the test of hidden positives came out, in t, whose columns are aligned, for the table.
func writeHidden(w io.Writer, t *tabwriter.Writer, r *compare.Report) error {
	if r.Unmeasured != "" {
		_, err := fmt.Fprintf(w, "\nhidden positives: %s\n", r.Unmeasured)
		return err
	}
	fmt.Fprintf(w, "\nhidden positives: %d, of %d queries that have two judged positives or more, in each of %d draws\n", r.HiddenPositives, r.MultiPositiveQueries,
		r.Rules[0].HiddenPositives.Draws) // the first is a rule that is mined
	fmt.Fprintf(t, "rule\ttaken in the top %d\tsd\t95 %% interval\ttaken first\tsd\t95 %% interval\tof negatives\t\n", r.Top)
	for _, of := range r.Rules {
		h := of.HiddenPositives
		if h == nil {
			fmt.Fprintf(t, "%s\t-\t-\t-\t-\t-\t-\t-\t\n", of.Rule)
			continue
		}
		fmt.Fprintf(t, "%s\t%.1f %%\t%s\t%s\t%.1f %%\t%s\t%s\t%s\t\n", of.Rule, 100*h.TakenShare, shareText(h.TakenSD), intervalText(h.TakenInterval),
			100*h.FirstShare, shareText(h.FirstSD), intervalText(h.FirstInterval), shareText(h.OfNegatives))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, of := range r.Rules {
		if of.Unmeasured != "" {
			fmt.Fprintf(w, "%s: %s\n", of.Rule, of.Unmeasured)
		}
	}
	return nil
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
