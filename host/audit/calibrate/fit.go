package main

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/quarry-hn/quarry/host/audit"
)

// ridge keeps the weights of standardised features small, as there are few examples: it is added to the mean loss, times half of their squares.
const ridge = 0.001

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
