// Command calibrate makes the coefficients of package audit's score, and the table of how well it finds false negatives.
//
//	go run ./host/audit/calibrate DIR > table.md         # it writes host/audit/calibration.json
//
// Input: a data set in which queries have several positives. A third of the positives of such queries are hidden; the rest is mined with every
// rule, and audited. A negative that is a hidden positive is a false negative, for sure; others are taken for true ones, which some are not.
// The coefficients come from all queries. For the tables, queries are halved so that no positive has queries in both halves; the negatives of each
// half are scored by coefficients that come from the other, in ten ways. Output: calibration.json, and the tables on the standard output.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/quarry-hn/quarry/host/audit"
	"github.com/quarry-hn/quarry/host/compare"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/sampler"
	"github.com/quarry-hn/quarry/host/train"
	"github.com/quarry-hn/quarry/plugin/mine"
)

func main() {
	output := flag.String("o", filepath.Join("host", "audit", "calibration.json"), "file to write")
	draws := flag.Int("draws", 10, "how often positives are hidden, each time others")
	seed := flag.Uint64("seed", 0, "what chooses the halves and the hidden positives")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := calibrate(context.Background(), flag.Arg(0), *output, *draws, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "calibrate:", err)
		os.Exit(1)
	}
}

// halvings is how many ways to halve the queries the table is the mean of.
const halvings = 10

// halvesStream tells the draws of halves from those of what is hidden.
const halvesStream = 1 << 63

// example is a negative of a query of which a positive was hidden.
type example struct {
	draw            int
	rule            string
	query, document string
	signals         audit.Signals
	reasons         []string
	hidden          bool // it is a hidden positive
	score           float64
}

// rules are those whose negatives are audited: the window rules, and the samplers that take the documents of a pair from all of them.
var rules = append(mine.RuleNames(), "random", "bm25", "star")

func calibrate(ctx context.Context, dir, output string, draws int, seed uint64) (err error) {
	data, err := beir.Open(dir)
	if err != nil {
		return err
	}
	defer data.Close()
	e, err := engine.LoadNative(ctx, engine.WasmOptions{})
	if err != nil {
		return err
	}
	defer e.Close(ctx)
	p, err := projection.Fit(ctx, data, projection.FitOptions{})
	if err != nil {
		return err
	}
	positives, queries := positivesOf(data)
	compute := mining.Compute{Engine: e}
	var examples []example
	for draw := range draws {
		hidden := compare.Hide(positives, queries, seed, draw)
		visible := data.WithJudgements("all", func(j dataset.Judgement) bool { return !hidden[j.Query][j.Document] })
		for _, rule := range rules {
			m := mining.Options{Compute: compute, Split: "all", Rule: rule, Twins: mining.TwinsKeep} // a twin of a positive may be a hidden one
			mined, err := sampler.Sample(ctx, visible, p, m, sampler.Options{Seed: seed + uint64(draw)})
			if err != nil {
				return err
			}
			more, err := examplesOf(ctx, visible, mined.Pairs, hidden, compute)
			if err != nil {
				return err
			}
			for i := range more {
				more[i].draw, more[i].rule = draw, rule
			}
			examples = append(examples, more...)
		}
		fmt.Fprintf(os.Stderr, "draw %d: %d negatives of queries with a hidden positive so far\n", draw+1, len(examples))
	}
	c := fit(examples)
	c.On = fmt.Sprintf("hidden positives of the queries of %s that have several (draws: %d, seed %d, top 5 of %v)", filepath.Base(dir), draws, seed, rules)
	c.Command = fmt.Sprintf("go run ./host/audit/calibrate -draws %d -seed %d DIR", draws, seed)
	var ways [][2][]example
	for way := range halvings {
		ways = append(ways, heldOut(examples, halves(positives, seed, way)))
	}
	printTables(os.Stdout, ways)
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(output, append(b, '\n'), 0o644)
}

// positivesOf are the positives of each query, and the queries that have several, all in the order of the judgements: that of quarry compare, so
// that the same seed hides the same.
func positivesOf(data *dataset.Dataset) (positives map[string][]string, several []string) {
	positives = map[string][]string{}
	for _, j := range dataset.Relevant(data.Qrels) {
		if positives[j.Query] == nil {
			several = append(several, j.Query)
		}
		positives[j.Query] = append(positives[j.Query], j.Document)
	}
	return positives, slices.DeleteFunc(several, func(query string) bool { return len(positives[query]) < 2 })
}

// halves tells, of the queries with several positives, those of one half, in one of many ways to halve them. Queries that share a positive, by way of others too, are of the
// same half.
func halves(positives map[string][]string, seed uint64, way int) map[string]bool {
	fitted, sizes := map[string]bool{}, [2]int{}
	components := train.Components(positives)
	for _, i := range rand.New(rand.NewPCG(seed, halvesStream+uint64(way))).Perm(len(components)) {
		several := slices.DeleteFunc(components[i], func(query string) bool { return len(positives[query]) < 2 })
		to := 0
		if sizes[1] < sizes[0] {
			to = 1
		}
		sizes[to] += len(several)
		for _, query := range several {
			fitted[query] = to == 0
		}
	}
	return fitted
}

// examplesOf audits pairs and returns the negatives of queries that have a hidden positive, each query's document once.
func examplesOf(ctx context.Context, visible *dataset.Dataset, pairs []negatives.Pair, hidden map[string]map[string]bool, compute mining.Compute) (examples []example, err error) {
	r, err := audit.Run(ctx, visible, pairs, audit.Options{Compute: compute})
	if err != nil {
		return nil, err
	}
	for _, f := range r.Findings {
		if of := hidden[f.QueryID]; of != nil {
			examples = append(examples, example{query: f.QueryID, document: f.ID, signals: f.Signals, hidden: of[f.ID], reasons: f.ReasonNames})
		}
	}
	return examples, nil
}

// ofRule are the examples of one rule, or of all.
func ofRule(examples []example, rule string) []example {
	return slices.DeleteFunc(slices.Clone(examples), func(e example) bool { return rule != allRules && e.rule != rule })
}

// scored are the examples with their scores, those with the highest first, and each query's document once for each draw and rule.
func scored(examples []example, c *audit.Calibration) []example {
	examples = slices.Clone(examples)
	for i := range examples {
		examples[i].score = c.Probability(examples[i].signals)
	}
	return best(examples)
}

// best keeps each query's document once for each draw and rule, with its highest score, and sorts by score.
func best(examples []example) []example {
	type key struct {
		draw            int
		rule            string
		query, document string
	}
	slices.SortStableFunc(examples, func(a, b example) int { return cmp.Compare(b.score, a.score) })
	seen := map[key]bool{}
	return slices.DeleteFunc(examples, func(e example) bool {
		k := key{e.draw, e.rule, e.query, e.document}
		was := seen[k]
		seen[k] = true
		return was
	})
}
