package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/quarry-hn/quarry/host/audit"
)

// positives are queries in chains: each shares a positive with the next of its chain of three.
func positives() map[string][]string {
	of := map[string][]string{}
	for q := range 60 {
		id := fmt.Sprintf("q%d", q)
		of[id] = []string{fmt.Sprintf("own %d", q)}
		for d := range q % 4 {
			of[id] = append(of[id], fmt.Sprintf("d%d of %d", d, q))
		}
		if q%3 > 0 {
			of[id] = append(of[id], fmt.Sprintf("own %d", q-1))
		}
	}
	return of
}

// TestHalves splits queries so that no positive has queries in both halves, which are about as large.
func TestHalves(t *testing.T) {
	of := positives()
	fitted := halves(of, 3, 0)
	half := map[string]bool{}
	sizes := map[bool]int{}
	for q, is := range fitted {
		sizes[is]++
		for _, d := range of[q] {
			if was, ok := half[d]; ok && was != is {
				t.Errorf("%s is in both halves", d)
			}
			half[d] = is
		}
	}
	if several := sizes[true] + sizes[false]; several < 40 || sizes[true]-sizes[false] > 3 || sizes[false]-sizes[true] > 3 {
		t.Errorf("%v", sizes)
	}
	if !reflect.DeepEqual(fitted, halves(of, 3, 0)) || reflect.DeepEqual(fitted, halves(of, 4, 0)) || reflect.DeepEqual(fitted, halves(of, 3, 1)) {
		t.Error("the seed and the way do not decide")
	}
}

// TestFit plants a signal among noise: the weights find it, the other features weigh little, and probabilities are right on average.
func TestFit(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	examples := make([]example, 4000)
	truth := func(s audit.Signals) float64 { return 1 / (1 + math.Exp(2-6*(s.ToPositive-0.3))) }
	for i := range examples {
		s := audit.Signals{ToPositive: random.Float64(), ToQuery: random.Float64(), Margin: random.NormFloat64(), Coverage: random.Float64(), ChosenFor: 1}
		examples[i] = example{signals: s, hidden: random.Float64() < truth(s)}
	}
	c := fit(examples)
	for _, at := range []float64{0.1, 0.5, 0.9} {
		s := audit.Signals{ToPositive: at, ToQuery: 0.5, Coverage: 0.5, ChosenFor: 1}
		if got, want := c.Probability(s), truth(s); math.Abs(got-want) > 0.06 {
			t.Errorf("at %v: %v, expected %v", at, got, want)
		}
	}
	if w := c.Weights; math.Abs(w["margin"]) > 0.2 || math.Abs(w["s_q_d"]) > 0.5 {
		t.Errorf("%v", w)
	}
	if seen := c.Ranges["s_pd_d"]; seen[0] > 0.01 || seen[1] < 0.99 {
		t.Errorf("%v", c.Ranges)
	}
}

// TestPrecisionAndRecall has four hidden positives among eight negatives, in the order of their scores.
func TestPrecisionAndRecall(t *testing.T) {
	var examples []example
	for i, hidden := range []bool{true, false, true, false, false, true, false, true} {
		examples = append(examples, example{document: fmt.Sprint(i), score: 1 - float64(i)/10, hidden: hidden})
	}
	if score, recall := deepest(examples[:7]); score != 0.5 || recall != 1 {
		t.Errorf("%v %v", score, recall)
	}
	if precision, recall := above(examples, 0.75); precision != 2./3 || recall != 0.5 {
		t.Errorf("%v %v", precision, recall)
	}
	if got := auc(examples); got != (4+3+1)/16. {
		t.Errorf("%v", got)
	}
	again := append(examples, example{document: "0", score: 2, hidden: true})
	if b := best(again); len(b) != 8 || b[0].score != 2 {
		t.Errorf("%+v", b)
	}
}
