package audit

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
)

// CalibrationFormat is what calibration.json gives as its format.
const CalibrationFormat = "quarry.calibration.v1"

// Calibration is what the score was fitted on, and its coefficients: those of a logistic regression on Features.
type Calibration struct {
	Format    string                `json:"format"`
	On        string                `json:"on"`      // in words
	Command   string                `json:"command"` // that makes the file
	Intercept float64               `json:"intercept"`
	Weights   map[string]float64    `json:"weights"` // of each feature, by name
	Ranges    map[string][2]float64 `json:"ranges"`  // least and greatest value of each feature that was fitted on
}

// calibrationFile is what host/audit/calibrate writes.
//
//go:embed calibration.json
var calibrationFile []byte

// Calibrated is the calibration that Score uses.
var Calibrated = mustParse(calibrationFile)

func mustParse(file []byte) *Calibration {
	c := &Calibration{}
	if err := json.Unmarshal(file, c); err != nil {
		panic(err) // the file is embedded, and a test reads it
	}
	return c
}

// Feature is a number that the score is made of.
type Feature struct {
	Name string
	Of   func(Signals) float64
}

// Features are the numbers that the score is made of. The near-duplicate, the page and the judgement are not among them: scifact, which it is
// fitted on, has too few of them to learn from.
var Features = []Feature{
	{"s_q_d", func(s Signals) float64 { return s.ToQuery }},
	{"s_pd_d", func(s Signals) float64 { return s.ToPositive }},
	{"log2_rank_to_positive", func(s Signals) float64 { return math.Log2(float64(s.rankToPositive())) }},
	{"margin", func(s Signals) float64 { return s.Margin }},
	{"lead", func(s Signals) float64 { return s.Lead }},
	{"models_that_prefer_it", func(s Signals) float64 { return float64(s.Prefer) }},
	{"jaccard", func(s Signals) float64 { return s.Jaccard }},
	{"coverage", func(s Signals) float64 { return s.Coverage }},
	{"coverage_margin", func(s Signals) float64 { return s.Coverage - s.PositiveCoverage }},
	{"shared", func(s Signals) float64 { return min(1, float64(s.SharedQueries)) }},
	{"s_q_q", func(s Signals) float64 { return s.NearQuery }},
	{"judged_elsewhere", func(s Signals) float64 {
		if s.NearQuery > 0 {
			return 1
		}
		return 0
	}},
	{"log2_chosen_for", func(s Signals) float64 { return math.Log2(float64(max(1, s.ChosenFor))) }},
}

// rankToPositive is the rank by nearness to the positive, and the first that is not known where there is none.
func (s Signals) rankToPositive() int {
	if s.Neighbour == 0 {
		return nearestKept + 1
	}
	return s.Neighbour
}

// Score is how likely a negative with these signals is relevant. A document that was judged for the query has 1 or 0, and a near-duplicate of a
// positive has 0.95 at least, since what is relevant about the one is relevant about the other; else it is the calibrated probability.
func Score(s Signals) float64 {
	if s.Judged != nil {
		if *s.Judged > 0 {
			return 1
		}
		return 0
	}
	score := Calibrated.Probability(s)
	if s.Jaccard >= NearDuplicate {
		return max(score, duplicateScore)
	}
	return score
}

// Probability is that of the logistic regression. A feature outside the range that was fitted on counts as the end of the range: nothing is known
// beyond.
func (c *Calibration) Probability(s Signals) float64 {
	z := c.Intercept
	for _, f := range Features {
		seen := c.Ranges[f.Name]
		z += float64(c.Weights[f.Name] * min(max(f.Of(s), seen[0]), seen[1]))
	}
	return 1 / (1 + math.Exp(-z))
}

// ReasonNames are the signals that can be a reason, in the order in which a finding gives them.
var ReasonNames = []string{"judged", "near_positive", "neighbour", "near_duplicate", "all_models", "words", "shared", "near_query", "next_to", "chosen_often"}

// reasons says by name and in words which signals speak for a false negative, or against one.
func (t Thresholds) reasons(s Signals) (names, reasons []string) {
	names, reasons = []string{}, []string{}
	add := func(name string, is bool, format string, args ...any) {
		if is {
			names = append(names, name)
			reasons = append(reasons, fmt.Sprintf(format, args...))
		}
	}
	if s.Judged != nil {
		what := "not relevant"
		if *s.Judged > 0 {
			what = "relevant"
		}
		add("judged", true, "It is judged %s to this query (%v).", what, *s.Judged)
	}
	usual := fmt.Sprintf("half of the positives of one query are to each other (%.2f)", t.ToPositive)
	if t.PositivePairs < minPositivePairs {
		usual = fmt.Sprintf("%.2f, the default where fewer than %d pairs of positives of one query are known", t.ToPositive, minPositivePairs)
	}
	add("near_positive", s.ToPositive > t.ToPositive, "It is nearer to the positive (cosine %.2f) than %s.", s.ToPositive, usual)
	add("neighbour", s.rankToPositive() <= t.Neighbour, "Of all documents it is number %d by nearness to the positive.", s.Neighbour)
	add("near_duplicate", s.Jaccard >= t.Jaccard, "Its text is nearly that of a positive: they share %.0f %% of their runs of three words.", 100*s.Jaccard)
	if t.Models == 1 {
		add("all_models", s.Prefer == 1, "The only model prefers it to the positive, by %.2f.", s.Margin)
	} else {
		add("all_models", s.Prefer == t.Models, "Every one of the %d models prefers it to the positive, by %.2f on average.", t.Models, s.Margin)
	}
	add("words", s.Coverage >= t.CoverageAtLeast && s.Coverage >= s.PositiveCoverage,
		"It has %.0f %% of the query's words, weighted by their rarity; the positive has %.0f %%.", 100*s.Coverage, 100*s.PositiveCoverage)
	add("shared", s.SharedQueries > 0, "It and the positive are both judged relevant to another query (%d in all).", s.SharedQueries)
	add("near_query", s.NearQuery > t.NearQuery, "It is judged relevant to another query that is near this one (cosine %.2f).", s.NearQuery)
	add("next_to", s.NextTo == "page", "It stands next to the positive in the same page.")
	add("next_to", s.NextTo == "id", "It stands next to the positive by its id.")
	add("chosen_often", s.ChosenFor >= t.ChosenFor, "It is a negative of %d queries.", s.ChosenFor)
	return names, reasons
}
