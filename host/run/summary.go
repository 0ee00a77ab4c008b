package run

import (
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/projection"
)

// Summary is what a run gave, for whoever shows it.
type Summary struct {
	Tallies     negatives.Tallies      `json:"tallies"`
	Rule        negatives.ManifestRule `json:"rule"`
	Split       string                 `json:"split"`
	Projection  *projection.Summary    `json:"projection"`
	Distances   map[string]*Quantiles  `json:"distances"`             // d_q_pd of all pairs; d_q_d and d_pd_d of all negatives
	NearCopies  int                    `json:"near_copies,omitempty"` // negatives whose similarity to their positive is above NearCopy
	Examples    []Example              `json:"examples,omitempty"`
	Found       string                 `json:"projection_found,omitempty"` // as Done.Found
	Written     []string               `json:"written"`                    // paths
	NegativesID string                 `json:"negatives_sha256"`
}

// NearCopy is the s(PD,D) above which a negative may be a copy of its positive with a few words changed.
const NearCopy = 0.98

// Quantiles describe a set of cosine distances.
type Quantiles struct {
	Count  int     `json:"count"`
	Min    float64 `json:"min"`
	Q25    float64 `json:"q25"`
	Median float64 `json:"median"`
	Q75    float64 `json:"q75"`
	Max    float64 `json:"max"`
}

// NewQuantiles describes cosine distances, or what is made of them. It sorts the values, and returns nil where there are none.
func NewQuantiles(values []float64) *Quantiles {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	at := func(q float64) float64 { return values[int(q*float64(len(values)-1)+0.5)] }
	return &Quantiles{Count: len(values), Min: at(0), Q25: at(0.25), Median: at(0.5), Q75: at(0.75), Max: at(1)}
}

// Example is a pair with its first negative, with texts.
type Example struct {
	Query    string  `json:"query"`
	Positive string  `json:"positive"`
	Negative string  `json:"negative"`
	DQPD     float64 `json:"d_q_pd"`
	DQD      float64 `json:"d_q_d"`
	DPDD     float64 `json:"d_pd_d"`
}

// Summarize says what a run gave. written are the files that it wrote.
func Summarize(data *dataset.Dataset, p *projection.Projection, r *negatives.Result, written []string) *Summary {
	s := &Summary{Tallies: r.Tallies, Rule: r.Manifest.Rule, Split: r.Manifest.Split, Projection: projection.Summarize(p), Written: written,
		NegativesID: r.Manifest.Negatives, Distances: map[string]*Quantiles{}}
	var dQPD, dQD, dPDD []float64
	var with []negatives.Pair
	for _, pair := range r.Pairs {
		dQPD = append(dQPD, pair.DQPD)
		for i, n := range pair.Negatives {
			dQD, dPDD = append(dQD, n.DQD), append(dPDD, n.DPDD)
			if 1-n.DPDD > NearCopy {
				s.NearCopies++
			}
			if i == 0 {
				with = append(with, pair)
			}
		}
	}
	s.Distances["d_q_pd"], s.Distances["d_q_d"], s.Distances["d_pd_d"] = NewQuantiles(dQPD), NewQuantiles(dQD), NewQuantiles(dPDD)
	s.Examples = examples(data, with)
	return s
}

// examples shows three of the pairs that have negatives: the first, the middle one and the last. There are none where there is no text.
func examples(data *dataset.Dataset, with []negatives.Pair) (shown []Example) {
	if !data.HasTexts() || len(with) == 0 {
		return nil
	}
	picked := []negatives.Pair{with[0]}
	if len(with) > 2 {
		picked = append(picked, with[len(with)/2])
	}
	if len(with) > 1 {
		picked = append(picked, with[len(with)-1])
	}
	texts, err := negatives.TextsOf(data, picked)
	if err != nil {
		return nil // the negatives are written; that a text cannot be shown does not make the run a failure
	}
	for _, p := range picked {
		n := p.Negatives[0]
		shown = append(shown, Example{Query: texts.Queries[p.QueryID].Text, Positive: texts.Document(p.PositiveID, ". "),
			Negative: texts.Document(n.ID, ". "), DQPD: p.DQPD, DQD: n.DQD, DPDD: n.DPDD})
	}
	return shown
}
