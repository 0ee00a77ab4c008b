package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
)

// mineSummary is what mine says it did.
type mineSummary struct {
	Tallies     host.Tallies          `json:"tallies"`
	Rule        host.ManifestRule     `json:"rule"`
	Split       string                `json:"split"`
	Projection  *fitSummary           `json:"projection"`
	Distances   map[string]*quantiles `json:"distances"`
	Examples    []example             `json:"examples,omitempty"`
	Written     []string              `json:"written"`
	NegativesID string                `json:"negatives_sha256"`
}

// quantiles describe a set of distances.
type quantiles struct {
	Count   int     `json:"count"`
	Min     float64 `json:"min"`
	Quarter float64 `json:"q25"`
	Median  float64 `json:"median"`
	Third   float64 `json:"q75"`
	Max     float64 `json:"max"`
}

func newQuantiles(values []float64) *quantiles {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	at := func(q float64) float64 { return values[int(q*float64(len(values)-1)+0.5)] }
	return &quantiles{Count: len(values), Min: at(0), Quarter: at(0.25), Median: at(0.5), Third: at(0.75), Max: at(1)}
}

// example is a pair with its first negative, with texts.
type example struct {
	Query    string  `json:"query"`
	Positive string  `json:"positive"`
	Negative string  `json:"negative"`
	DQPD     float64 `json:"d_q_pd"`
	DQD      float64 `json:"d_q_d"`
	DPDD     float64 `json:"d_pd_d"`
}

func newMineSummary(folder *dataset.Dataset, p *host.Projection, r *host.Result, written []string) *mineSummary {
	s := &mineSummary{Tallies: r.Tallies, Rule: r.Manifest.Rule, Split: r.Manifest.Split, Projection: projectionSummary(p), Written: written,
		NegativesID: r.Manifest.Negatives, Distances: map[string]*quantiles{}}
	var dQPD, dQD, dPDD []float64
	var with []host.Pair
	for _, pair := range r.Pairs {
		dQPD = append(dQPD, pair.DQPD)
		for i, n := range pair.Negatives {
			dQD, dPDD = append(dQD, n.DQD), append(dPDD, n.DPDD)
			if i == 0 {
				with = append(with, pair)
			}
		}
	}
	s.Distances["d_q_pd"], s.Distances["d_q_d"], s.Distances["d_pd_d"] = newQuantiles(dQPD), newQuantiles(dQD), newQuantiles(dPDD)
	s.Examples = examples(folder, with)
	return s
}

// examples shows three pairs, spread over all: the first, the middle one and the last. There are none where there is no text.
func examples(folder *dataset.Dataset, with []host.Pair) (shown []example) {
	if !folder.HasTexts() || len(with) == 0 {
		return nil
	}
	picked := []host.Pair{with[0]}
	if len(with) > 2 {
		picked = append(picked, with[len(with)/2])
	}
	if len(with) > 1 {
		picked = append(picked, with[len(with)-1])
	}
	texts, err := host.TextsOf(folder, picked)
	if err != nil {
		return nil // the negatives are written; that a text cannot be shown does not make the run a failure
	}
	for _, p := range picked {
		n := p.Negatives[0]
		shown = append(shown, example{Query: texts.Queries[p.QueryID].Text, Positive: texts.Document(p.PositiveID, ". "),
			Negative: texts.Document(n.ID, ". "), DQPD: p.DQPD, DQD: n.DQD, DPDD: n.DPDD})
	}
	return shown
}

func (s *mineSummary) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	c := s.Tallies
	fmt.Fprintf(t, "mined\t%d pairs of split %s against %d documents, rule %s, %d components\n", c.Pairs, s.Split, c.Documents, s.Rule.Name, s.Projection.Components)
	fmt.Fprintf(t, "negatives\t%d, for %d pairs (%.1f %%)\n", c.Negatives, c.WithNegatives, percent(c.WithNegatives, c.Pairs))
	if c.NoneWindow > 0 {
		fmt.Fprintf(t, "none\t%d pairs: no document in the rule's window%s\n", c.NoneWindow, eq5(s.Rule))
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
			fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t\n", d.name, q.Min, q.Quarter, q.Median, q.Third, q.Max)
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
	_, err := fmt.Fprintf(w, "\nwritten: %s\n", join(s.Written))
	return err
}

func eq5(r host.ManifestRule) string {
	if r.Name == "dual" {
		return " (none is nearer to the query than the positive, Eq. 5)"
	}
	return ""
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }

func join(items []string) string { return strings.Join(items, ", ") }

// shorten cuts a text at a word, to n characters.
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

// word is text as a shell takes it for one word.
func word(text string) string {
	special := func(r rune) bool {
		return !(unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-./:=@%+,", r))
	}
	if text != "" && !strings.ContainsFunc(text, special) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
