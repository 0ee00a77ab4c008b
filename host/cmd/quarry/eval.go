package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/eval"
)

// evaluation is what the eval command prints as JSON.
type evaluation struct {
	Run                     string                        `json:"run"`
	Qrels                   string                        `json:"qrels"`
	Queries                 int                           `json:"queries"`
	QueriesWithoutResults   int                           `json:"queries_without_results"`
	QueriesWithoutJudgement int                           `json:"queries_without_judgements"`
	Metrics                 map[string]float64            `json:"metrics"`
	PerQuery                map[string]map[string]float64 `json:"per_query,omitempty"`
	Against                 *evaluation                   `json:"against,omitempty"`
	Permutations            int                           `json:"permutations,omitempty"`
	Seed                    *uint64                       `json:"seed,omitempty"`
	Differences             []difference                  `json:"differences,omitempty"`

	result *eval.Result
}

// difference is an eval.Difference as JSON. An end of the interval is null where it is infinite.
type difference struct {
	Metric     string      `json:"metric"`
	Mean       float64     `json:"difference"`
	Interval   [2]*float64 `json:"interval_95"`
	P          float64     `json:"p"`
	Exact      bool        `json:"exact"`
	FirstWins  int         `json:"queries_better"`
	SecondWins int         `json:"queries_worse"`
}

func (a *app) evalCommand() *cobra.Command {
	var names, against string
	var perQuery bool
	var permutations int
	var seed uint64
	cmd := &cobra.Command{
		Use: "eval RUN QRELS", Short: "Measure a ranking against judgements, or two rankings against each other", Args: cobra.ExactArgs(2),
		Long: `Measure a TREC run file (query-id Q0 document-id rank score tag) against judgements, in TREC's or BEIR's format. Metrics are those of
trec_eval: mrr, ndcg (linear gain) and map, with or without a depth as in mrr@10, and recall@k and p@k. The order is by score, and equal scores
are in descending order of document ids; the ranks in the file are not looked at.

Queries without judgements are left out. Queries without results count as 0. With --against a second run is measured too, and a paired
randomisation test says how likely such a difference is by chance; the interval holds the differences that the test does not reject at 5 %.`,
		Example: `  quarry eval bm25.run mydata/qrels/test.tsv
  quarry eval tuned.run mydata/qrels/test.tsv --against bm25.run --metrics mrr@10,ndcg@10
  quarry eval bm25.run qrels.trec --per-query --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			metrics, err := eval.ParseMetrics(names)
			if err != nil {
				return err
			}
			judged, err := eval.LoadQrels(args[1])
			if err != nil {
				return err
			}
			e, err := evaluate(args[0], args[1], judged, metrics, perQuery)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("against") {
				if e.Against, err = evaluate(against, args[1], judged, metrics, perQuery); err != nil {
					return err
				}
				differences, err := eval.Compare(e.result, e.Against.result, permutations, seed)
				if err != nil {
					return err
				}
				e.Permutations, e.Seed = permutations, &seed
				for _, d := range differences {
					e.Differences = append(e.Differences, difference{d.Metric, d.Mean, [2]*float64{finite(d.Interval[0]), finite(d.Interval[1])}, d.P, d.Exact, d.FirstWins, d.SecondWins})
				}
			}
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			return a.summary(e, func(w io.Writer) error { return e.print(w, perQuery) })
		},
	}
	cmd.Flags().StringVar(&names, "metrics", eval.DefaultMetrics, "metrics, separated by commas")
	cmd.Flags().StringVar(&against, "against", "", "a second run, to be compared with the first")
	cmd.Flags().BoolVar(&perQuery, "per-query", false, "print each query's values too")
	cmd.Flags().IntVar(&permutations, "permutations", eval.DefaultPermutations, "sign flips that the test draws; where there are few queries, it tries all")
	cmd.Flags().Uint64Var(&seed, "seed", 0, "what chooses the sign flips")
	return cmd
}

// evaluate measures a run file.
func evaluate(path, qrels string, judged eval.Judgements, metrics []eval.Metric, perQuery bool) (*evaluation, error) {
	run, err := eval.LoadRun(path)
	if err != nil {
		return nil, err
	}
	r := eval.Evaluate(run, judged, metrics)
	e := &evaluation{Run: path, Qrels: qrels, Queries: len(r.Queries), QueriesWithoutResults: r.WithoutRun, QueriesWithoutJudgement: r.WithoutQrel,
		Metrics: map[string]float64{}, result: r}
	for m, name := range r.Metrics {
		e.Metrics[name] = r.Means[m]
	}
	if perQuery {
		e.PerQuery = map[string]map[string]float64{}
		for i, q := range r.Queries {
			e.PerQuery[q] = map[string]float64{}
			for m, name := range r.Metrics {
				e.PerQuery[q][name] = r.Values[m][i]
			}
		}
	}
	return e, nil
}

func finite(v float64) *float64 {
	if math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func (e *evaluation) print(w io.Writer, perQuery bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, one := range []*evaluation{e, e.Against} {
		if one != nil {
			fmt.Fprintf(t, "%s: %d queries with judgements; %d of them have no results and count as 0; %d queries without judgements were left out\n",
				one.Run, one.Queries, one.QueriesWithoutResults, one.QueriesWithoutJudgement)
		}
	}
	if perQuery {
		e.printQueries(t)
	}
	if e.Against == nil {
		for m, name := range e.result.Metrics {
			fmt.Fprintf(t, "%s\t%.4f\n", name, e.result.Means[m])
		}
		return t.Flush()
	}
	fmt.Fprintf(t, "metric\t%s\t%s\tdifference\t95 %% interval\tp\tbetter\tworse\n", e.Run, e.Against.Run)
	for m, d := range e.Differences {
		fmt.Fprintf(t, "%s\t%.4f\t%.4f\t%+.4f\t%s to %s\t%.4f\t%d\t%d\n", d.Metric, e.result.Means[m], e.Against.result.Means[m], d.Mean,
			end(d.Interval[0]), end(d.Interval[1]), d.P, d.FirstWins, d.SecondWins)
	}
	return t.Flush()
}

// end is an end of an interval in words.
func end(v *float64) string {
	if v == nil {
		return "unbounded"
	}
	return fmt.Sprintf("%+.4f", *v)
}

// printQueries prints a line for each query: the values of the run, and behind each that of the second run where there is one.
func (e *evaluation) printQueries(w io.Writer) {
	for i, q := range e.result.Queries {
		fmt.Fprint(w, q)
		for m, name := range e.result.Metrics {
			fmt.Fprintf(w, "\t%s %.4f", name, e.result.Values[m][i])
			if e.Against != nil {
				fmt.Fprintf(w, " (%.4f)", e.Against.result.Values[m][i])
			}
		}
		fmt.Fprintln(w)
	}
}
