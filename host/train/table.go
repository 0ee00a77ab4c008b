package train

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Verdicts of a comparison.
const (
	Better     = "better"
	Worse      = "worse"
	CannotTell = "cannot tell"
)

// Table is what a comparison found.
type Table struct {
	Data       string   `json:"data"`
	Trainee    string   `json:"trainee"`
	Model      string   `json:"model"`
	Device     string   `json:"device"`
	Seeds      int      `json:"seeds"`
	Components int      `json:"components"` // groups of queries that share positives
	Test       float64  `json:"test_queries"`
	Documents  string   `json:"ranked_documents"` // what the test ranks
	Rows       []Row    `json:"rules"`
	Notes      []string `json:"notes"`
}

// Row is a rule's line: means over test queries and seeds. Gains are paired on queries.
type Row struct {
	Rule      string               `json:"rule"`
	Pairs     string               `json:"pairs"`               // PairsAll or PairsDual
	Documents string               `json:"documents,omitempty"` // by length: short or long
	Rate      float64              `json:"learning_rate,omitempty"`
	Trained   float64              `json:"training_pairs"`  // mean over seeds
	Untrained int                  `json:"untrained_kept"`  // seeds whose best state was the untrained one
	ZeroLoss  int                  `json:"zero_loss"`       // seeds where no term of Eq. 7 had a loss before training: the margin is below the gap
	LastState float64              `json:"last_state_loss"` // validation MRR@10 of the last state less the best's
	MRR3      Interval             `json:"mrr_3"`
	MRR10     Interval             `json:"mrr_10"`
	Gain      map[string]*Contrast `json:"gain,omitempty"` // over none, and over random and dual where they are there
}

// Contrast is the difference of two rules, in MRR.
type Contrast struct {
	MRR3    Interval `json:"mrr_3"`
	MRR10   Interval `json:"mrr_10"`
	P       float64  `json:"p"`    // of no difference in MRR@10
	Holm    float64  `json:"holm"` // P, adjusted for all rules that are held against the same one
	Verdict string   `json:"verdict"`
}

// references are what rules are held against.
var references = []string{None, Random, dualRule}

// group is the runs of one row, one for each seed, at the learning rate that validated best.
type group struct {
	source *Source
	pairs  string
	rate   float64
	runs   []*run
}

// tabulate makes the table of finished runs.
func (o *Options) tabulate(name string, c *corpus, sources []Source, runs []*run) *Table {
	t := &Table{Data: name, Trainee: o.Trainee, Model: o.Model, Seeds: o.Seeds, Components: len(c.components), Notes: []string{}}
	if t.Model == "" {
		t.Model = "all-MiniLM-L6-v2"
	}
	switch {
	case o.Trainee == CrossEncoder:
		t.Documents = fmt.Sprintf("the %d nearest of each query", o.Candidates)
	case o.PoolOnly:
		t.Documents = fmt.Sprintf("the %d nearest of all test queries", o.Candidates)
	default:
		t.Documents = "all documents"
	}
	devices := map[string]bool{}
	for _, r := range runs {
		devices[r.result.Device] = true
		if r.source.Name == None {
			t.Test += float64(len(r.result.Ranks)) / float64(o.Seeds)
		}
	}
	t.Device = strings.Join(sorted(devices), ", ")
	for _, part := range o.parts(c) {
		t.Rows = append(t.Rows, part.rows(c, groups(sources, runs))...)
	}
	t.note(o)
	return t
}

// groups chooses each rule's learning rate, by the mean of its best validations over all seeds. The first of equal ones is taken.
func groups(sources []Source, runs []*run) (all []group) {
	for i := range sources {
		for _, pairs := range []string{PairsAll, PairsDual} {
			byRate := map[float64][]*run{}
			for _, r := range runs {
				if r.source == &sources[i] && r.pairs == pairs {
					byRate[r.rate] = append(byRate[r.rate], r)
				}
			}
			best, g := -1.0, group{source: &sources[i], pairs: pairs}
			for _, rate := range slices.Sorted(maps.Keys(byRate)) {
				validated := 0.0
				for _, r := range byRate[rate] {
					validated += r.result.Best
				}
				if validated > best {
					best, g.rate, g.runs = validated, rate, byRate[rate]
				}
			}
			if g.runs != nil {
				all = append(all, g)
			}
		}
	}
	return all
}

// part is some of the test queries.
type part struct {
	name string
	has  func(query string) bool
}

// rows are the rows of all groups on one part of the test queries, with contrasts.
func (p part) rows(c *corpus, all []group) (rows []Row) {
	for _, g := range all {
		rows = append(rows, p.row(c, g))
	}
	for _, reference := range references {
		at := slices.IndexFunc(all, func(g group) bool { return g.source.Name == reference && g.pairs == PairsAll })
		if at < 0 {
			continue
		}
		var held []*Contrast
		var values []float64
		for i, g := range all {
			if i == at || g.source.Name == None {
				continue
			}
			d := &Contrast{MRR3: estimate(p.observe(c, g, &all[at], 3)), MRR10: estimate(p.observe(c, g, &all[at], 10))}
			d.P = d.MRR10.p
			rows[i].Gain[reference] = d
			held, values = append(held, d), append(values, d.P)
		}
		for i, adjusted := range Holm(values) {
			held[i].Holm, held[i].Verdict = adjusted, verdict(held[i].MRR10.Mean, adjusted)
		}
	}
	return rows
}

func verdict(gain, p float64) string {
	switch {
	case p >= 1-level:
		return CannotTell
	case gain > 0:
		return Better
	}
	return Worse
}

func (p part) row(c *corpus, g group) Row {
	row := Row{Rule: g.source.Name, Pairs: g.pairs, Documents: p.name, Gain: map[string]*Contrast{},
		MRR3: estimate(p.observe(c, g, nil, 3)), MRR10: estimate(p.observe(c, g, nil, 10))}
	if g.source.Name == None {
		return row
	}
	row.Rate = g.rate
	for _, r := range g.runs {
		n := float64(len(g.runs))
		row.Trained += float64(len(r.job.Train)) / n
		row.LastState += (r.result.Last - r.result.Best) / n
		if r.result.Step == 0 {
			row.Untrained++
		}
		if r.result.Active != nil && *r.result.Active == 0 {
			row.ZeroLoss++
		}
	}
	return row
}

// observe gives reciprocal ranks up to k of the test queries under each seed, less those of another group where there is one.
func (p part) observe(c *corpus, g group, against *group, k int) (all []observation) {
	for i, r := range g.runs {
		for _, q := range sorted(r.result.Ranks) {
			if !p.has(q) {
				continue
			}
			value := reciprocal(r.result.Ranks[q], k)
			if against != nil {
				value -= reciprocal(against.runs[i].result.Ranks[q], k)
			}
			all = append(all, observation{r.seed, c.component[q], value})
		}
	}
	return all
}

// reciprocal is a query's share of MRR@k.
func reciprocal(rank, k int) float64 {
	if rank == 0 || rank > k {
		return 0
	}
	return 1 / float64(rank)
}

func (t *Table) note(o *Options) {
	if o.Seeds == 1 {
		t.Notes = append(t.Notes, "One seed: the intervals are by queries alone, and another seed may give more or less than they say.")
	}
	for _, r := range t.Rows {
		if r.ZeroLoss > 0 {
			t.Notes = append(t.Notes, fmt.Sprintf("%s, %s pairs: the loss is zero from the start under %s, since the margin is below the rule's own gap.", r.Rule, r.Pairs, seeds(r.ZeroLoss)))
		}
		if r.Trained == 0 && r.Rule != None {
			t.Notes = append(t.Notes, fmt.Sprintf("%s, %s pairs: no pair has a negative, so nothing was trained.", r.Rule, r.Pairs))
		}
	}
}

// Write writes the table as text. MRR and gains are in points, with the half-width of the 95 % interval.
func (t *Table) Write(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s of %s on %s: %s, %.0f test queries each, ranking %s\n\n", t.Data, t.Trainee, t.Model, t.Device, seeds(t.Seeds), t.Test, t.Documents)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tab, "rule\tpairs\ttrained on\trate\tMRR@3\tMRR@10\tgain over none\t\tover random\t\tover dual\t\n")
	for _, r := range t.Rows {
		name, rate := r.Rule, "-"
		if r.Documents != "" {
			name += ", " + r.Documents
		}
		if r.Rate > 0 {
			rate = fmt.Sprintf("%.0e", r.Rate)
		}
		fmt.Fprintf(tab, "%s\t%s\t%.0f\t%s\t%s\t%s", name, r.Pairs, r.Trained, rate, r.MRR3.points("%.1f"), r.MRR10.points("%.1f"))
		for _, reference := range references {
			if d := r.Gain[reference]; d != nil {
				fmt.Fprintf(tab, "\t%s\t%s", d.MRR10.points("%+.1f"), d.Verdict)
			} else {
				fmt.Fprint(tab, "\t-\t")
			}
		}
		fmt.Fprintln(tab)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	for _, note := range t.Notes {
		if _, err := fmt.Fprintln(w, "\n"+note); err != nil {
			return err
		}
	}
	return nil
}

func seeds(n int) string {
	if n == 1 {
		return "1 seed"
	}
	return fmt.Sprintf("%d seeds", n)
}

// points writes the interval in points, a hundredth of MRR.
func (i Interval) points(format string) string {
	text := fmt.Sprintf(format, 100*i.Mean)
	if i.High != nil {
		text += fmt.Sprintf(" ± %.1f", 100*(*i.High-i.Mean))
	}
	return text
}
