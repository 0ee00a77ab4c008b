package main

import (
	"fmt"
	"io"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/quarry-hn/quarry/host/audit"
)

// allRules stands for the examples of all rules together.
const allRules = "all"

// heldOut scores each half of the examples by coefficients that come from the other half.
func heldOut(examples []example, half map[string]bool) (sides [2][]example) {
	for side, fitted := range []bool{true, false} {
		of := func(fitted bool) []example {
			return slices.DeleteFunc(slices.Clone(examples), func(e example) bool { return half[e.query] != fitted })
		}
		sides[side] = scored(of(!fitted), fit(of(fitted)))
	}
	return sides
}

// printTables prints how well the score finds hidden positives. ways are examples that were held out, both halves for each way to halve the queries.
func printTables(w io.Writer, ways [][2][]example) {
	fmt.Fprintf(w, "| rule | negatives | hidden positives | recall at 50 %% precision | least | greatest | recall from a score of 0.5 | precision there | ranked right (AUC) |\n")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	for _, rule := range append([]string{allRules}, rules...) {
		printRule(w, rule, ways)
	}
	pooled := best(append(slices.Clone(ways[0][0]), ways[0][1]...))
	printBins(w, pooled)
	printElsewhere(w, pooled)
	printReasons(w, pooled)
}

// printRule prints a row: the means over the ways and their halves, and for the recall the least and the greatest.
func printRule(w io.Writer, rule string, ways [][2][]example) {
	var recalls, aucs, precisions, found []float64
	for _, sides := range ways {
		for _, side := range sides {
			of := ofRule(side, rule)
			if hidden := count(of); hidden == 0 || hidden == len(of) {
				continue
			}
			_, recall := deepest(of)
			precision, from := above(of, 0.5)
			recalls, aucs, found = append(recalls, recall), append(aucs, auc(of)), append(found, from)
			if from > 0 {
				precisions = append(precisions, precision)
			}
		}
	}
	all := append(ofRule(ways[0][0], rule), ofRule(ways[0][1], rule)...)
	if len(recalls) < 2*len(ways) {
		fmt.Fprintf(w, "| %s | %d | %d | | | | | | |\n", rule, len(all), count(all))
		return
	}
	fmt.Fprintf(w, "| %s | %d | %d | %.0f %% | %.0f %% | %.0f %% | %.0f %% | %s | %.3f |\n", rule, len(all), count(all), 100*stat.Mean(recalls, nil),
		100*slices.Min(recalls), 100*slices.Max(recalls), 100*stat.Mean(found, nil), meanPercent(precisions), stat.Mean(aucs, nil))
}

func meanPercent(shares []float64) string {
	if len(shares) == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f %%", 100*stat.Mean(shares, nil))
}

// printBins prints how often negatives of a score are hidden positives: the calibration.
func printBins(w io.Writer, examples []example) {
	fmt.Fprintln(w, "\n| score | negatives | hidden positives |\n|---|---|---|")
	edges := []float64{0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1}
	for i, low := range edges[:len(edges)-1] {
		in := slices.DeleteFunc(slices.Clone(examples), func(e example) bool { return e.score < low || e.score >= edges[i+1] })
		fmt.Fprintf(w, "| %v to %v | %d | %s |\n", low, edges[i+1], len(in), percent(count(in), len(in)))
	}
}

// printElsewhere prints what the score finds of documents that are judged relevant to another query, and of others.
func printElsewhere(w io.Writer, examples []example) {
	limit, _ := deepest(examples)
	fmt.Fprintf(w, "\n| judged relevant to another query | negatives | hidden positives | recall from %.2f, where precision is 50 %% of all | precision |\n|---|---|---|---|---|\n", limit)
	for _, elsewhere := range []bool{true, false} {
		of := slices.DeleteFunc(slices.Clone(examples), func(e example) bool { return e.signals.NearQuery > 0 != elsewhere })
		precision, recall := above(of, limit)
		fmt.Fprintf(w, "| %v | %d | %d | %.0f %% | %.0f %% |\n", elsewhere, len(of), count(of), 100*recall, 100*precision)
	}
}

// printReasons prints precision and recall of each signal alone.
func printReasons(w io.Writer, examples []example) {
	fmt.Fprintln(w, "\n| signal alone | negatives that have it | precision | recall |\n|---|---|---|---|")
	for _, name := range audit.ReasonNames {
		with := slices.DeleteFunc(slices.Clone(examples), func(e example) bool { return !slices.Contains(e.reasons, name) })
		if len(with) > 0 {
			fmt.Fprintf(w, "| %s | %d | %s | %s |\n", name, len(with), percent(count(with), len(with)), percent(count(with), count(examples)))
		}
	}
}

// percent is a share; empty where there is nothing to have one of.
func percent(n, of int) string {
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}

func count(examples []example) (n int) {
	for _, e := range examples {
		if e.hidden {
			n++
		}
	}
	return n
}

// deepest is the lowest score from which on at least half of the examples are hidden positives, and the share of all hidden positives that these
// are. examples are in descending order of scores.
func deepest(examples []example) (score, recall float64) {
	found, all := 0, count(examples)
	score = 1
	for i, e := range examples {
		if e.hidden {
			found++
		}
		last := i+1 == len(examples) || examples[i+1].score < e.score
		if last && 2*found >= i+1 {
			score, recall = e.score, float64(found)/float64(all)
		}
	}
	return score, recall
}

// above are precision and recall of the examples from a score on.
func above(examples []example, score float64) (precision, recall float64) {
	high := slices.DeleteFunc(slices.Clone(examples), func(e example) bool { return e.score < score })
	if len(high) == 0 {
		return 0, 0
	}
	return float64(count(high)) / float64(len(high)), float64(count(high)) / float64(count(examples))
}

// auc is the share of pairs of a hidden positive and another negative that the score puts in the right order.
func auc(examples []example) float64 {
	others, right := 0, 0
	for i := len(examples) - 1; i >= 0; i-- {
		if examples[i].hidden {
			right += others
		} else {
			others++
		}
	}
	return float64(right) / float64(others*count(examples))
}
