package eval

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/option"
)

// DefaultMetrics are what the eval command measures.
const DefaultMetrics = "mrr@3,mrr@10,ndcg@10,recall@100"

// Metric is a measure of one query's ranking; ParseMetrics makes it of its name.
type Metric struct {
	Name string // as in "ndcg@10"
	at   int    // the depth; all of the ranking where it is 0
	of   func(judged map[string]float64, ranking []string) float64
}

// metricKinds are the metrics by name, in the order in which messages give them. Each takes the ranking cut at its depth.
var metricKinds = []struct {
	name       string
	needsDepth bool
	of         func(judged map[string]float64, ranking []string, at int) float64
}{
	{"mrr", false, func(judged map[string]float64, ranking []string, _ int) float64 {
		return reciprocalRank(judged, ranking)
	}},
	{"ndcg", false, ndcg},
	{"recall", true, func(judged map[string]float64, ranking []string, _ int) float64 {
		return ratio(relevant(judged, ranking), relevantOf(judged))
	}},
	{"p", true, func(judged map[string]float64, ranking []string, at int) float64 {
		return ratio(relevant(judged, ranking), at)
	}},
	{"map", false, func(judged map[string]float64, ranking []string, _ int) float64 {
		return averagePrecision(judged, ranking)
	}},
}

// ParseMetrics reads names separated by commas: mrr, ndcg and map, with or without a depth as in mrr@10, and recall@k and p@k. A name that is
// none of these, or is given twice, is an option.ErrOption.
func ParseMetrics(names string) ([]Metric, error) {
	var metrics []Metric
	for _, name := range strings.Split(names, ",") {
		m, err := parseMetric(strings.ToLower(strings.TrimSpace(name)))
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(metrics, func(other Metric) bool { return other.Name == m.Name }) {
			return nil, fmt.Errorf("%w: metric %s is given twice", option.ErrOption, excerpt.Quote(m.Name))
		}
		metrics = append(metrics, m)
	}
	return metrics, nil
}

func parseMetric(name string) (Metric, error) {
	kind, depth, hasDepth := strings.Cut(name, "@")
	at, err := strconv.Atoi(depth)
	for _, k := range metricKinds {
		if k.name != kind || hasDepth && (err != nil || at < 1) || !hasDepth && k.needsDepth {
			continue
		}
		m := Metric{Name: kind, at: at}
		if hasDepth {
			m.Name = fmt.Sprintf("%s@%d", kind, at)
		}
		m.of = func(judged map[string]float64, ranking []string) float64 { return k.of(judged, ranking, at) }
		return m, nil
	}
	return Metric{}, fmt.Errorf("%w: there is no metric %s; there are mrr, ndcg and map, with or without a depth as in mrr@10, recall@k and p@k",
		option.ErrOption, excerpt.Quote(name))
}

// value is the metric of one query.
func (m Metric) value(judged map[string]float64, ranking []string) float64 {
	if m.at > 0 {
		ranking = ranking[:min(m.at, len(ranking))]
	}
	return m.of(judged, ranking)
}

// reciprocalRank is 1 / the rank of the first relevant document, or 0 where none was found.
func reciprocalRank(judged map[string]float64, ranking []string) float64 {
	for i, d := range ranking {
		if judged[d] > 0 {
			return 1 / float64(i+1)
		}
	}
	return 0
}

// ndcg is DCG / the DCG of the best ranking to that depth. The gain is the relevance itself, and the discount 1 / log2(1 + rank), as in trec_eval
// (Järvelin and Kekäläinen, 2002, with Burges' discount).
func ndcg(judged map[string]float64, ranking []string, at int) float64 {
	dcg := 0.0
	for i, d := range ranking {
		dcg += max(0, judged[d]) / math.Log2(float64(i+2))
	}
	gains := slices.SortedFunc(maps.Values(judged), func(a, b float64) int { return cmp.Compare(b, a) })
	if at > 0 {
		gains = gains[:min(at, len(gains))]
	}
	best := 0.0
	for i, gain := range gains {
		best += max(0, gain) / math.Log2(float64(i+2))
	}
	if best == 0 {
		return 0
	}
	return dcg / best
}

// averagePrecision is the mean, over all relevant documents, of the precision at the rank of each; 0 for those that were not found.
func averagePrecision(judged map[string]float64, ranking []string) float64 {
	found, sum := 0, 0.0
	for i, d := range ranking {
		if judged[d] > 0 {
			found++
			sum += float64(found) / float64(i+1)
		}
	}
	if found == 0 {
		return 0
	}
	return sum / float64(relevantOf(judged))
}

// relevant counts the documents that are relevant.
func relevant(judged map[string]float64, ranking []string) (n int) {
	for _, d := range ranking {
		if judged[d] > 0 {
			n++
		}
	}
	return n
}

// relevantOf counts the relevant documents of a query.
func relevantOf(judged map[string]float64) (n int) {
	for _, score := range judged {
		if score > 0 {
			n++
		}
	}
	return n
}

func ratio(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// Result is a run measured.
type Result struct {
	Queries     []string    // that have judgements, in order
	Metrics     []string    // names
	Values      [][]float64 // of each metric, for each query
	Means       []float64   // of each metric, over all queries
	WithoutRun  int         // queries that have judgements and no results in the run: each counts as 0
	WithoutQrel int         // queries of the run that have no judgements: they are left out
}

// Evaluate measures a run. The queries are those with judgements. One that the run lacks counts as 0, as ir-measures and trec_eval -c have it,
// and so does one of which no document is relevant.
func Evaluate(run *Run, judged Judgements, metrics []Metric) *Result {
	r := &Result{Queries: slices.Sorted(maps.Keys(judged))}
	for _, query := range r.Queries {
		if _, ok := run.Rankings[query]; !ok {
			r.WithoutRun++
		}
	}
	r.WithoutQrel = len(run.Rankings) - (len(r.Queries) - r.WithoutRun)
	for _, m := range metrics {
		values := make([]float64, len(r.Queries))
		for i, query := range r.Queries {
			values[i] = m.value(judged[query], run.Rankings[query])
		}
		r.Metrics = append(r.Metrics, m.Name)
		r.Values = append(r.Values, values)
		r.Means = append(r.Means, mean(values))
	}
	return r
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
