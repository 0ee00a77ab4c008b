package audit

import (
	"context"
	"fmt"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
)

// Options say how to audit. The zero value is ready for use.
type Options struct {
	mining.Compute
}

// Signals are what was found out about one negative. None depends on the rule or on the projection that it was mined with.
type Signals struct {
	ToQuery    float64 `json:"s_q_d"`  // cosine of query and negative: the mean over the models
	ToPositive float64 `json:"s_pd_d"` // cosine of positive and negative
	// Neighbour is the rank of the negative among all documents but the positive, by their cosine with the positive, from 1; 0 beyond the first 100.
	Neighbour int `json:"rank_to_positive"`
	// Margin is s(Q,D) - s(Q,PD), the mean over the models. It is above 0 where the negative is nearer to the query than the positive is.
	Margin float64 `json:"margin"`
	// Lead is s(Q,D) minus its mean over the other negatives of the pair; 0 where there are none.
	Lead             float64  `json:"lead"`
	Prefer           int      `json:"models_that_prefer_it"` // models for which Margin is above 0
	Jaccard          float64  `json:"jaccard"`               // of shingles of three words, with the nearest positive of the query: 1 for the same text
	Coverage         float64  `json:"coverage"`              // share of the query's words that the negative has, weighted by idf
	PositiveCoverage float64  `json:"positive_coverage"`     // the same of the positive
	SharedQueries    int      `json:"shared_queries"`        // other queries to which both the negative and the positive are judged relevant
	NearQuery        float64  `json:"s_q_q"`                 // cosine of the query and the nearest other query to which the negative is judged relevant
	NextTo           string   `json:"next_to,omitempty"`     // "page" or "id": the negative stands next to the positive in its page, or by its id
	ChosenFor        int      `json:"chosen_for"`            // queries that have this document as a negative in this file
	Judged           *float64 `json:"judged,omitempty"`      // the judgement of this document for this query, where there is one
}

// Finding is a negative with its signals.
type Finding struct {
	QueryID     string   `json:"query_id"`
	PositiveID  string   `json:"positive_id"`
	ID          string   `json:"id"`
	Rank        int      `json:"rank"`
	Score       float64  `json:"score"`        // from 0 to 1: how likely it is relevant; Calibration says on what that was calibrated
	Reasons     []string `json:"reasons"`      // in words
	ReasonNames []string `json:"reason_names"` // of the same, from ReasonNames
	Signals     Signals  `json:"signals"`
}

// Thresholds are the limits from which on a signal is a reason. Those that depend on the data say so.
type Thresholds struct {
	ToPositive      float64 `json:"s_pd_d"`         // median of the cosines of positives of one query, or DefaultToPositive where there are fewer than 20
	PositivePairs   int     `json:"positive_pairs"` // such pairs in the judgements
	Jaccard         float64 `json:"jaccard"`
	NearQuery       float64 `json:"s_q_q"`
	Neighbour       int     `json:"rank_to_positive"` // nearNeighbour, or one in a hundred documents where that is less
	ChosenFor       int     `json:"chosen_for"`       // ten queries, or one in a hundred where that is more
	Models          int     `json:"models"`
	CoverageAtLeast float64 `json:"coverage"`
}

// The limits that do not depend on the data.
const (
	DefaultToPositive = 0.7  // cosine
	minPositivePairs  = 20   // from so many on, the data's own median is used
	NearDuplicate     = 0.8  // Jaccard
	nearQuery         = 0.6  // cosine of two queries
	nearNeighbour     = 5    // rank, by nearness to the positive
	leastCoverage     = 0.5  // of the query's words, weighted by idf
	duplicateScore    = 0.95 // a near-duplicate of a positive is as relevant as the positive
)

// Report is the audit of a file of negatives.
type Report struct {
	Findings   []Finding // in the file's order
	Queries    int       // that have negatives
	Thresholds Thresholds
	Reasons    map[string]int // negatives for which each signal is a reason, by its name in ReasonNames
}

// Run audits negatives. Pairs or negatives that the data set lacks are a *dataset.Error: the file was mined from other data.
func Run(ctx context.Context, data *dataset.Dataset, pairs []negatives.Pair, o Options) (*Report, error) {
	texts, err := negatives.TextsOf(data, pairs)
	if err != nil {
		return nil, err
	}
	judged := newJudged(data)
	r := &Report{Reasons: map[string]int{}}
	r.Thresholds = Thresholds{ToPositive: DefaultToPositive, Jaccard: NearDuplicate, NearQuery: nearQuery, CoverageAtLeast: leastCoverage, Models: len(data.Models),
		Neighbour: min(nearNeighbour, data.Documents.Len()/100)}
	vectors, err := newVectors(data, pairs, judged)
	if err != nil {
		return nil, err
	}
	if err := vectors.measure(ctx, data, o.Progress); err != nil {
		return nil, err
	}
	if r.Thresholds.PositivePairs = len(vectors.positives); r.Thresholds.PositivePairs >= minPositivePairs {
		r.Thresholds.ToPositive = median(vectors.positives)
	}
	ranked, err := newRanks(ctx, data, pairs, vectors.documents, o.Compute)
	if err != nil {
		return nil, err
	}
	chosen := chosenFor(pairs)
	r.Queries = chosen.queries
	r.Thresholds.ChosenFor = max(10, (chosen.queries+99)/100)
	if err := judged.readTexts(data, texts); err != nil {
		return nil, err
	}
	words := newWords(texts)
	for i, p := range pairs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for j, n := range p.Negatives {
			s := vectors.signals(i, j, judged.elsewhere(p.QueryID, n.ID))
			words.signals(&s, p, n.ID, judged.positivesOf(p))
			s.SharedQueries, s.Judged = judged.shared(p, n.ID), judged.of(p.QueryID, n.ID)
			s.NextTo = nextTo(texts.Documents[p.PositiveID], texts.Documents[n.ID])
			s.ChosenFor, s.Neighbour = chosen.of[n.ID], ranked[[2]string{p.PositiveID, n.ID}]
			f := Finding{QueryID: p.QueryID, PositiveID: p.PositiveID, ID: n.ID, Rank: n.Rank, Signals: s, Score: Score(s)}
			f.ReasonNames, f.Reasons = r.Thresholds.reasons(s)
			for _, name := range f.ReasonNames {
				r.Reasons[name]++
			}
			r.Findings = append(r.Findings, f)
		}
	}
	return r, nil
}

// Kept is a file of negatives without those above a score.
type Kept struct {
	Pairs   []negatives.Pair
	Dropped int // negatives
	Emptied int // pairs that lost all their negatives: they are left out, since the file says of others why they have none
}

// Keep leaves out the negatives whose score is above the limit. pairs are those that the report is of. Ranks count anew from 1.
func (r *Report) Keep(pairs []negatives.Pair, above float64) (*Kept, error) {
	k := &Kept{}
	next := 0
	for _, p := range pairs {
		had := len(p.Negatives)
		var rest []negatives.Negative
		for _, n := range p.Negatives {
			if next >= len(r.Findings) || r.Findings[next].ID != n.ID {
				return nil, fmt.Errorf("%w: the audit is of other pairs", option.ErrOption)
			}
			if r.Findings[next].Score > above {
				k.Dropped++
			} else {
				n.Rank = len(rest) + 1
				rest = append(rest, n)
			}
			next++
		}
		if had > 0 && len(rest) == 0 {
			k.Emptied++
			continue
		}
		if had > 0 {
			p.Negatives = rest
		}
		k.Pairs = append(k.Pairs, p)
	}
	return k, nil
}

// chosen counts for how many queries each document is a negative.
type chosen struct {
	queries int
	of      map[string]int
}

func chosenFor(pairs []negatives.Pair) chosen {
	queries, seen := map[string]bool{}, map[[2]string]bool{}
	c := chosen{of: map[string]int{}}
	for _, p := range pairs {
		for _, n := range p.Negatives {
			queries[p.QueryID] = true
			if pair := [2]string{p.QueryID, n.ID}; !seen[pair] {
				seen[pair] = true
				c.of[n.ID]++
			}
		}
	}
	c.queries = len(queries)
	return c
}
