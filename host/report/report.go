package report

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/run"
)

// Format is what the JSON in a page of this version gives as its format.
const Format = "quarry.report.v1"

// What a page holds at most.
const (
	DefaultCases  = 200     // of Options.Cases
	MaxCases      = 5000    // of Options.Cases
	maxNegatives  = 10      // of one case
	maxText       = 2000    // characters of a text
	maxLabel      = 100     // characters of a text that is shown when a point of the sample is pointed at
	maxSample     = 2000    // documents of the corpus that are drawn in grey
	maxCasesBytes = 8 << 20 // JSON of all cases together
)

// Options say how much of the negatives the page shows as texts.
type Options struct {
	Cases int // pairs that are shown with their texts; DefaultCases where it is 0
}

// Validate reports all that is wrong with the options.
func (o Options) Validate() error {
	var problems option.Problems
	problems.Check(o.Cases >= 0 && o.Cases <= MaxCases, "cases is %d; it is 1 to %d", o.Cases, MaxCases)
	return problems.Err()
}

// Input is what a page is made of. Only Data and Pairs are needed; of what is nil the page says that it was not given.
type Input struct {
	Data       *dataset.Dataset
	Pairs      []negatives.Pair
	Manifest   *negatives.Manifest    // of Pairs
	Projection *projection.Projection // that Pairs were mined with
	Comparison *Comparison            // of rules on the same data
	Audit      *Audit                 // of Pairs
}

// Report is the content of a page; its JSON stands in the page.
type Report struct {
	Format      string                  `json:"format"`
	Data        string                  `json:"data"` // name of the folder
	NegativesID string                  `json:"negatives_sha256,omitempty"`
	Split       string                  `json:"split,omitempty"`
	Top         int                     `json:"top,omitempty"`
	Rule        *negatives.ManifestRule `json:"rule,omitempty"`
	Tallies     negatives.Tallies       `json:"tallies"`
	Margins     *Distribution           `json:"margins,omitempty"`  // s(Q,D) - s(Q,PD) of all negatives
	Likeness    *Distribution           `json:"likeness,omitempty"` // s(PD,D) of all negatives
	Scree       *Scree                  `json:"scree,omitempty"`
	Figure      *Figure                 `json:"figure,omitempty"`
	Rules       []RuleEvidence          `json:"rules,omitempty"`
	Unmeasured  string                  `json:"unmeasured,omitempty"` // why no rule has hidden positives
	Trainings   []Training              `json:"trainings,omitempty"`
	Cases       []Case                  `json:"cases"`
	LeftOut     []string                `json:"left_out"` // what the page does not show and why, in sentences
}

// Scree is how much variance each component of the projection keeps, most first.
type Scree struct {
	Variances []float64 `json:"variances"`
	Total     float64   `json:"total"`   // of all columns
	Columns   int       `json:"columns"` // of the concatenated vectors
	PCA       string    `json:"pca"`     // what was asked for: "variance=0.95" or "components=128"
	Rows      int       `json:"rows"`    // that were fitted
}

// New puts a page together. It reads texts, and the vectors of the documents that are drawn.
func New(ctx context.Context, in Input, o Options) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if in.Comparison != nil {
		if err := in.Comparison.check(in); err != nil {
			return nil, err
		}
	}
	r := &Report{Format: Format, Data: folderName(in.Data.Name), Cases: []Case{}, LeftOut: []string{}}
	r.describe(in)
	r.distances(in.Pairs)
	r.compare(in.Comparison)
	if err := r.show(in, cmp.Or(o.Cases, DefaultCases)); err != nil {
		return nil, err
	}
	if err := r.draw(ctx, in); err != nil {
		return nil, err
	}
	return r, r.fitCases()
}

// folderName is the last name of a folder's path: a page that is passed on does not tell where its data lay.
func folderName(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	return filepath.Base(path)
}

// describe says what was mined, as the manifest tells it, or else as the pairs do.
func (r *Report) describe(in Input) {
	if m := in.Manifest; m != nil {
		r.NegativesID, r.Split, r.Top, r.Rule, r.Tallies = m.Negatives, m.Split, m.Top, &m.Rule, m.Tallies
		return
	}
	queries := map[string]bool{}
	r.Tallies = negatives.Tallies{Documents: int64(in.Data.Documents.Len()), Pairs: len(in.Pairs)}
	for i := range in.Pairs {
		queries[in.Pairs[i].QueryID] = true
		r.Tallies.Add(&in.Pairs[i])
	}
	r.Tallies.Queries = len(queries)
	r.leaveOut("Rule, split and options: there is no manifest beside the negatives.")
}

func (r *Report) leaveOut(format string, args ...any) {
	r.LeftOut = append(r.LeftOut, fmt.Sprintf(format, args...))
}

// distances describes how near all negatives are.
func (r *Report) distances(pairs []negatives.Pair) {
	var margins, likeness []float64
	for _, p := range pairs {
		for _, n := range p.Negatives {
			margins, likeness = append(margins, p.DQPD-n.DQD), append(likeness, 1-n.DPDD)
		}
	}
	r.Margins, r.Likeness = newDistribution(margins), newDistribution(likeness)
	if len(margins) == 0 {
		r.leaveOut("Distances and cases: no pair has a negative.")
	}
}

// Distribution is a histogram of values, and their quantiles.
type Distribution struct {
	First     float64        `json:"first"` // where the first bin begins
	Width     float64        `json:"width"` // of a bin
	Counts    []int          `json:"counts"`
	Quantiles *run.Quantiles `json:"quantiles"`
}

// bins is about how many bins a histogram has.
const bins = 40

// newDistribution sorts the values. It returns nil where there are none.
func newDistribution(values []float64) *Distribution {
	q := run.NewQuantiles(values)
	if q == nil {
		return nil
	}
	d := &Distribution{Width: niceStep((q.Max - q.Min) / bins), Quantiles: q}
	first := math.Floor(q.Min / d.Width)
	d.First = first * d.Width
	d.Counts = make([]int, int(math.Floor(q.Max/d.Width)-first)+1)
	for _, v := range values {
		d.Counts[int(math.Floor(v/d.Width)-first)]++
	}
	return d
}

// niceStep is 1, 2 or 5 times a power of ten: the smallest that is not below step, and at least 0.001.
func niceStep(step float64) float64 {
	step = max(step, 0.001)
	power := math.Pow(10, math.Floor(math.Log10(step)))
	for _, times := range []float64{1, 2, 5} {
		if times*power >= step {
			return times * power
		}
	}
	return 10 * power
}

// compare takes over what a comparison of rules found.
func (r *Report) compare(c *Comparison) {
	if c == nil {
		r.leaveOut("Rules beside one another: no comparison was given. quarry compare makes one, and --compare takes it.")
		return
	}
	r.Rules, r.Unmeasured, r.Trainings = c.Rules, c.Unmeasured, c.Trainings
	if len(c.Trainings) == 0 {
		r.leaveOut("Training: the comparison trained no model. quarry compare --train does, and another --compare takes it.")
	}
}

// evenly picks n of the indices 0 to of-1, evenly spaced and ascending; all of them where there are fewer.
func evenly(n, of int) []int {
	n = min(n, of)
	picked := make([]int, n)
	for i := range picked {
		picked[i] = int(int64(i) * int64(of) / int64(n))
	}
	return picked
}

// pick chooses which of the pairs that have negatives become cases: evenly spaced ones; half of them are those with the most suspicious
// negatives where there is an audit. They are in the order of the pairs.
func pick(pairs []negatives.Pair, audit *Audit, n int) []int {
	var with []int
	for i := range pairs {
		if len(pairs[i].Negatives) > 0 {
			with = append(with, i)
		}
	}
	if audit == nil || n >= len(with) {
		chosen := evenly(n, len(with))
		for i, at := range chosen {
			chosen[i] = with[at]
		}
		return chosen
	}
	worst := slices.Clone(with)
	slices.SortStableFunc(worst, func(a, b int) int { return cmp.Compare(audit.worst(&pairs[b]), audit.worst(&pairs[a])) })
	chosen := slices.Clone(worst[:n/2])
	rest := slices.DeleteFunc(with, func(i int) bool { return slices.Contains(chosen, i) })
	for _, at := range evenly(n-len(chosen), len(rest)) {
		chosen = append(chosen, rest[at])
	}
	slices.Sort(chosen)
	return chosen
}
