package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/run"
)

// writeSummary writes what a run gave: tallies, distances, examples and the files that were written.
func writeSummary(w io.Writer, s *run.Summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	c := s.Tallies
	fmt.Fprintf(t, "mined\t%d pairs of split %s against %d documents, rule %s, %d components\n", c.Pairs, s.Split, c.Documents, ruleText(s.Rule), s.Projection.Components)
	if s.Found != "" {
		fmt.Fprintf(t, "projection\t%s, which was there: of the same fit\n", s.Found)
	}
	fmt.Fprintf(t, "negatives\t%d, for %d pairs (%.1f %%)\n", c.Negatives, c.WithNegatives, percent(c.WithNegatives, c.Pairs))
	if c.NoneWindow > 0 {
		fmt.Fprintf(t, "none\t%d pairs: %s\n", c.NoneWindow, emptyWindowNote(s.Rule))
	}
	if c.NoneEq6 > 0 {
		fmt.Fprintf(t, "none\t%d pairs: every document in the window is nearer to the positive (Eq. 6)\n", c.NoneEq6)
	}
	for _, skipped := range []struct {
		n   int64
		why string
	}{{int64(c.SkippedMissing), "pairs: query or positive missing"}, {int64(c.SkippedZero), "pairs: query or positive is a zero vector"}, {c.ZeroDocuments, "documents: zero vectors"}} {
		if skipped.n > 0 {
			fmt.Fprintf(t, "skipped\t%d %s\n", skipped.n, skipped.why)
		}
	}
	if c.Twins > 0 {
		fmt.Fprintf(t, "twins\t%d documents equal a positive in text or vectors; they are not its queries' negatives\n", c.Twins)
	}
	if s.NearCopies > 0 {
		fmt.Fprintf(t, "near copies\t%d negatives have s(PD,D) above %v: they may be their positives with a few words changed\n", s.NearCopies, run.NearCopy)
	}
	if s.Projection.PCA != "none" {
		fmt.Fprintf(t, "variance\t%.2f %% of the concatenated vectors' is kept\n", 100*s.Projection.Captured/s.Projection.Total)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	fmt.Fprintln(t, "cosine distance\tmin\t25 %\tmedian\t75 %\tmax\t")
	for _, d := range []struct{ key, name string }{{"d_q_pd", "query to positive"}, {"d_q_d", "query to negative"}, {"d_pd_d", "positive to negative"}} {
		if q := s.Distances[d.key]; q != nil {
			fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t\n", d.name, q.Min, q.Q25, q.Median, q.Q75, q.Max)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i, e := range s.Examples {
		fmt.Fprintf(w, "\nexample %d\n", i+1)
		fmt.Fprintf(w, "  query            %s\n", shorten(e.Query, 88))
		fmt.Fprintf(w, "  positive  %.3f  %s\n", e.DQPD, shorten(e.Positive, 88))
		fmt.Fprintf(w, "  negative  %.3f  %s\n", e.DQD, shorten(e.Negative, 88))
	}
	if note := trainingNotes[s.Rule.Name]; note != "" {
		fmt.Fprintf(w, "\nto train on: %s (docs/EVIDENCE.md).\nquarry compare says for these data which negatives are false, and with --train which ones help.\n", note)
	}
	_, err := fmt.Fprintf(w, "\nwritten: %s\n", join(s.Written))
	return err
}

// trainingNotes say what models gained from the negatives of rules that another rule was better than, in the runs of docs/EVIDENCE.md.
var trainingNotes = map[string]string{
	"dual": "where we trained, a re-ranker gained nothing from dual's negatives and 9 points of MRR@10 from\n" +
		"those of --rule capped, and a bi-encoder 7 and 8",
	"topk": "where we trained, a re-ranker gained 4 points of MRR@10 from topk's negatives and 9 from those\n" +
		"of --rule capped, and a bi-encoder 7 and 8",
}

// ruleText names a rule, with the ranks that its negatives are of.
func ruleText(r negatives.ManifestRule) string {
	if r.ManifestSampling != nil && r.Ranks != nil {
		return fmt.Sprintf("%s, ranks %d-%d", r.Name, r.Ranks[0], r.Ranks[1])
	}
	return r.Name
}

// emptyWindowNote says why pairs have no negatives. Where the rule's floor is s(Q,PD), as that of the paper's rule is, that is Eq. 5.
func emptyWindowNote(r negatives.ManifestRule) string {
	switch {
	case r.ManifestSampling != nil:
		return "there was no document to take"
	case r.Floor != nil && *r.Floor == [2]float64{1, 0}:
		return "no document in the rule's window (none is nearer to the query than the positive, Eq. 5)"
	}
	return "no document in the rule's window"
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }

func join(items []string) string { return strings.Join(items, ", ") }

// shorten cuts a text to at most n characters, at the end of a word where there is one in the second half.
func shorten(text string, n int) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) <= n {
		return string(runes)
	}
	cut := string(runes[:n-1])
	if at := strings.LastIndex(cut, " "); at > n/2 {
		cut = cut[:at]
	}
	return cut + "…"
}

// shellWord is text as a shell takes it for one word.
func shellWord(text string) string {
	special := func(r rune) bool {
		return !(unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-./:=@%+,", r))
	}
	if text != "" && !strings.ContainsFunc(text, special) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
