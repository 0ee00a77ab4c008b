// Command calibrate makes the coefficients of package audit's score, and the table of how well it finds false negatives.
//
//	go run ./host/audit/calibrate DIR > table.md         # it writes host/audit/calibration.json
//
// Input: a data set in which queries have several positives. A third of the positives of such queries are hidden; the rest is mined with every
// rule, and audited. A negative that is a hidden positive is a false negative, for sure; others are taken for true ones, which some are not.
// Queries are split in two halves by a seed, so that no positive has queries in both: the coefficients come from the one half, and the table
// from the other. Output: calibration.json, and the table on the standard output.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/quarry-hn/quarry/host/audit"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/projection"
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

// example is a negative of a query of which a positive was hidden.
type example struct {
	draw            int
	rule            string
	query, document string
	signals         audit.Signals
	reasons         []string
	hidden, fitted  bool // it is a hidden positive; it is of the half that the coefficients come from
	score           float64
}

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
	half := halves(positivesOf(data), seed)
	var examples []example
	for draw := range draws {
		hidden := hide(positivesOf(data), rand.New(rand.NewPCG(seed, uint64(draw+1))))
		visible := data.WithJudgements("all", func(j dataset.Judgement) bool { return !hidden[[2]string{j.Query, j.Document}] })
		for _, rule := range mine.RuleNames() {
			mined, err := mining.Mine(ctx, visible, p, mining.Options{Split: "all", Rule: rule, Compute: mining.Compute{Engine: e}})
			if err != nil {
				return err
			}
			more, err := examplesOf(ctx, visible, mined.Pairs, hidden, half)
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
	c := fit(ofHalf(examples, true))
	c.On = fmt.Sprintf("hidden positives of half of the queries of %s that have several (draws: %d, seed %d, top 5 of %v)", filepath.Base(dir), draws, seed, mine.RuleNames())
	c.Command = fmt.Sprintf("go run ./host/audit/calibrate -draws %d -seed %d DIR", draws, seed)
	printTable(os.Stdout, scored(examples, c), scored(examples, fit(ofHalf(examples, false))))
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(output, append(b, '\n'), 0o644)
}

// positivesOf are the positives of each query.
func positivesOf(data *dataset.Dataset) map[string][]string {
	positives := map[string][]string{}
	for _, j := range dataset.Judged(data.Qrels) {
		if j.Score > 0 {
			positives[j.Query] = append(positives[j.Query], j.Document)
		}
	}
	return positives
}

// halves tells the queries of the half to fit. Queries that share a positive, by way of others too, are of the same half.
func halves(positives map[string][]string, seed uint64) map[string]bool {
	component := map[string]string{} // of a query or a document: another of its component, or itself
	var root func(string) string
	root = func(x string) string {
		if up, ok := component[x]; ok && up != x {
			component[x] = root(up)
			return component[x]
		}
		return x
	}
	queries := slices.Sorted(maps.Keys(positives))
	for _, q := range queries {
		for _, d := range positives[q] {
			component[root("q"+q)] = root("d" + d)
		}
	}
	members := map[string][]string{}
	for _, q := range queries {
		if len(positives[q]) > 1 {
			members[root("q"+q)] = append(members[root("q"+q)], q)
		}
	}
	names := slices.Sorted(maps.Keys(members))
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	fitted, sizes := map[string]bool{}, [2]int{}
	for _, name := range names {
		to := 0
		if sizes[1] < sizes[0] {
			to = 1
		}
		sizes[to] += len(members[name])
		for _, q := range members[name] {
			fitted[q] = to == 0
		}
	}
	return fitted
}

// hide draws a third of the positives of each query that has several, and leaves at least one. A query of two loses one with a chance of two
// thirds, so that a third is hidden on average.
func hide(positives map[string][]string, random *rand.Rand) map[[2]string]bool {
	hidden := map[[2]string]bool{}
	for _, q := range slices.Sorted(maps.Keys(positives)) {
		n := len(positives[q])
		if n < 2 {
			continue
		}
		take := n / 3
		if random.IntN(3) < n%3 {
			take++
		}
		for _, at := range random.Perm(n)[:min(take, n-1)] {
			hidden[[2]string{q, positives[q][at]}] = true
		}
	}
	return hidden
}

// examplesOf audits pairs and returns the negatives of queries that have a hidden positive, each query's document once.
func examplesOf(ctx context.Context, visible *dataset.Dataset, pairs []negatives.Pair, hidden map[[2]string]bool, fitted map[string]bool) (examples []example, err error) {
	r, err := audit.Run(ctx, visible, pairs, audit.Options{})
	if err != nil {
		return nil, err
	}
	queries := map[string]bool{}
	for pair := range hidden {
		queries[pair[0]] = true
	}
	for _, f := range r.Findings {
		if queries[f.QueryID] {
			examples = append(examples, example{query: f.QueryID, document: f.ID, signals: f.Signals, hidden: hidden[[2]string{f.QueryID, f.ID}], fitted: fitted[f.QueryID],
				reasons: f.ReasonNames})
		}
	}
	return examples, nil
}

// ofHalf are the examples of the half that the coefficients come from, or of the other.
func ofHalf(examples []example, fitted bool) []example {
	return slices.DeleteFunc(slices.Clone(examples), func(e example) bool { return e.fitted != fitted })
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
