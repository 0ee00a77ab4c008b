package main

import (
	"fmt"
	"io"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/quarry-hn/quarry/host/audit"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// ridge keeps the weights of standardised features small, as there are few examples: it is added to the mean loss, times half of their squares.
const ridge = 0.003

// fit is a logistic regression of examples' labels on their features. Features are standardised for the fit; the weights are those of the
// features as they are.
func fit(examples []example) *audit.Calibration {
	features := audit.Features
	c := &audit.Calibration{Format: audit.CalibrationFormat, Weights: map[string]float64{}, Ranges: map[string][2]float64{}}
	x := make([][]float64, len(examples))
	mean, deviation := make([]float64, len(features)), make([]float64, len(features))
	for i, e := range examples {
		x[i] = make([]float64, len(features))
		for f := range features {
			x[i][f] = features[f].Of(e.signals)
			mean[f] += x[i][f] / float64(len(examples))
		}
	}
	for f, feature := range features {
		least, greatest := x[0][f], x[0][f]
		for i := range x {
			least, greatest = min(least, x[i][f]), max(greatest, x[i][f])
		}
		c.Ranges[feature.Name] = [2]float64{rounded(least), rounded(greatest)}
	}
	for f := range features {
		for i := range x {
			deviation[f] += (x[i][f] - mean[f]) * (x[i][f] - mean[f]) / float64(len(x))
		}
		deviation[f] = math.Sqrt(deviation[f])
		for i := range x {
			if x[i][f] -= mean[f]; deviation[f] > 0 {
				x[i][f] /= deviation[f]
			}
		}
	}
	w := minimize(x, examples)
	c.Intercept = w[len(features)]
	for f, feature := range features {
		if deviation[f] > 0 {
			weight := w[f] / deviation[f]
			c.Weights[feature.Name] = rounded(weight)
			c.Intercept -= weight * mean[f]
		}
	}
	c.Intercept = rounded(c.Intercept)
	return c
}

// rounded keeps four digits behind the point, so that the file does not depend on the last bits of a machine.
func rounded(v float64) float64 { return math.Round(v*1e4) / 1e4 }

// newtonSteps is how often minimize steps; after eight or so the weights change no more.
const newtonSteps = 25

// minimize returns the weights, and the intercept behind them, by Newton's method.
func minimize(x [][]float64, examples []example) []float64 {
	d := len(x[0])
	w := mat.NewVecDense(d+1, nil)
	for range newtonSteps {
		gradient, hessian := mat.NewVecDense(d+1, nil), mat.NewSymDense(d+1, nil)
		for f := range d {
			gradient.SetVec(f, ridge*w.AtVec(f))
			hessian.SetSym(f, f, ridge)
		}
		for i, row := range x {
			v := mat.NewVecDense(d+1, append(slices.Clone(row), 1))
			p := 1 / (1 + math.Exp(-mat.Dot(w, v)))
			y := 0.0
			if examples[i].hidden {
				y = 1
			}
			gradient.AddScaledVec(gradient, (p-y)/float64(len(x)), v)
			hessian.SymRankOne(hessian, p*(1-p)/float64(len(x)), v)
		}
		hessian.SetSym(d, d, hessian.At(d, d)+1e-9)
		var factors mat.Cholesky
		if !factors.Factorize(hessian) {
			panic("the Hessian is not positive definite, and the ridge should make it so")
		}
		var step mat.VecDense
		if err := factors.SolveVecTo(&step, gradient); err != nil {
			panic(err)
		}
		w.SubVec(w, &step)
	}
	return w.RawVector().Data
}

// allRules stands for the examples of all rules together.
const allRules = "all"

// printTable prints how well the score finds the hidden positives of the half that was not fitted on. swapped are the examples scored by
// coefficients of the other half, so that it is the first half's turn to be held out.
func printTable(w io.Writer, examples, swapped []example) {
	held, turned := ofHalf(examples, false), ofHalf(swapped, true)
	limit, _ := deepest(ofHalf(examples, true))
	fmt.Fprintf(w, "limit %.3f: the lowest score that has 50 %% precision on the half that was fitted on\n\n", limit)
	fmt.Fprintln(w, "| rule | negatives | hidden positives | recall at 50 % precision | the same, halves swapped | recall at the limit | precision there | recall from 0.8 | precision there | ranked right (AUC) |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|")
	for _, rule := range append([]string{allRules}, mine.RuleNames()...) {
		of := ofRule(held, rule)
		_, recall := deepest(of)
		_, other := deepest(ofRule(turned, rule))
		p, r := above(of, limit)
		p8, r8 := above(of, 0.8)
		fmt.Fprintf(w, "| %s | %d | %d | %.0f %% | %.0f %% | %.0f %% | %.0f %% | %.0f %% | %.0f %% | %.3f |\n", rule, len(of), count(of), 100*recall, 100*other, 100*r, 100*p,
			100*r8, 100*p8, auc(of))
	}
	printBins(w, held)
	printReasons(w, held)
}

// printBins prints how often negatives of a score are hidden positives: the calibration.
func printBins(w io.Writer, examples []example) {
	fmt.Fprintln(w, "\n| score | negatives | hidden positives |\n|---|---|---|")
	for _, low := range []float64{0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8} {
		high := map[float64]float64{0: 0.05, 0.05: 0.1, 0.1: 0.2}[low]
		if high == 0 {
			high = low + 0.2
		}
		in := slices.DeleteFunc(slices.Clone(examples), func(e example) bool { return e.score < low || e.score >= high })
		share := 0.0
		if len(in) > 0 {
			share = float64(count(in)) / float64(len(in))
		}
		fmt.Fprintf(w, "| %.2f to %.2f | %d | %.1f %% |\n", low, high, len(in), 100*share)
	}
}

// printReasons prints precision and recall of each signal alone.
func printReasons(w io.Writer, examples []example) {
	fmt.Fprintln(w, "\n| signal alone | negatives that have it | precision | recall |\n|---|---|---|---|")
	for _, name := range audit.ReasonNames {
		with := slices.DeleteFunc(slices.Clone(examples), func(e example) bool { return !slices.Contains(e.reasons, name) })
		if len(with) > 0 {
			fmt.Fprintf(w, "| %s | %d | %.1f %% | %.1f %% |\n", name, len(with), 100*float64(count(with))/float64(len(with)), 100*float64(count(with))/float64(count(examples)))
		}
	}
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
