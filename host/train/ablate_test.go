package train

import (
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/projection"
)

// TestPrefixes: the prefix of a wide fit has as many components as a fit for that share, and spans the same.
func TestPrefixes(t *testing.T) {
	t.Parallel()
	data, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	all, err := byVariance(t.Context(), data, projection.FitOptions{})
	if err != nil || len(all) != len(variances)+1 {
		t.Fatalf("%d projections, %v", len(all), err)
	}
	for i, share := range variances {
		alone, err := projection.Fit(t.Context(), data, projection.FitOptions{Variance: share})
		if err != nil {
			t.Fatal(err)
		}
		if all[i].Width() != alone.Width() || !slices.Equal(all[i].Components, alone.Components) {
			t.Errorf("%s: %d components; a fit of its own has %d", all[i].name, all[i].Width(), alone.Width())
		}
	}
	if all[len(variances)].HasPCA() {
		t.Error("the last projection reduces")
	}
}

func TestAblations(t *testing.T) {
	data, o := demoOptions(t)
	o.Seeds, o.LearningRates, o.Rules = 1, []float64{2e-5}, o.Rules[1:]
	for what, want := range map[string]string{
		"variance":   "none|capped, variance 70 %|capped, variance 80 %|capped, variance 90 %|capped, variance 95 %|capped, variance 99 %|capped, no reduction",
		"train-size": "none|capped, 100 pairs|capped, 250 pairs|capped, 500 pairs|capped, 1000 pairs",
		"length":     "none, short|positives, short|in-batch, short|random, short|capped, short|none, long|positives, long|in-batch, long|random, long|capped, long",
	} {
		table, err := Ablate(t.Context(), data, o, what, projection.FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range table.Rows {
			names = append(names, strings.TrimSuffix(r.Rule+", "+r.Documents, ", "))
		}
		if got := strings.Join(names, "|"); got != want {
			t.Errorf("%s: rows %s; want %s", what, got, want)
		}
	}
	table, err := Ablate(t.Context(), data, o, "models", projection.FitOptions{})
	if err != nil || len(table.Rows) != 1+len(data.Models)+1 {
		t.Errorf("models: %v, %v", table, err)
	}
}
