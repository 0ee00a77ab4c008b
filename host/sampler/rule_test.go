package sampler

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
)

// TestParseRule reads what a person may write.
func TestParseRule(t *testing.T) {
	term := func(name string) Term { return Term{Name: name} }
	for text, want := range map[string]Rule{
		"dual":             {Terms: []Term{term("dual")}},
		"perc=0.9":         {Terms: []Term{{Name: "perc", Parameters: map[string]float64{"perc": 0.9}}}},
		"capped=0.8":       {Terms: []Term{{Name: "capped", Parameters: map[string]float64{"perc": 0.8}}}},
		"topk:11-50":       {Terms: []Term{{Name: "topk", Ranks: Ranks{11, 50}}}},
		"margin=1e-1:2-2":  {Terms: []Term{{Name: "margin", Parameters: map[string]float64{"margin": 0.1}, Ranks: Ranks{2, 2}}}},
		"dual+perc+random": {Terms: []Term{term("dual"), term("perc"), term("random")}},
		"perc=1+in-batch":  {Terms: []Term{{Name: "perc", Parameters: map[string]float64{"perc": 1}}}, InBatch: true},
		"in-batch+bm25":    {Terms: []Term{term("bm25")}, InBatch: true},
		"in-batch":         {InBatch: true},
		"adore":            {Dynamic: 200},
	} {
		want.Name = text
		if r, err := ParseRule(text); err != nil || !reflect.DeepEqual(r, want) {
			t.Errorf("%s is %+v, %v; expected %+v", text, r, err, want)
		}
	}
	for text, says := range map[string]string{
		"":             `rule is ""; it is one of dual, topk, margin, perc, capped, random, bm25, star, in-batch, adore`,
		"dual+":        `rule is ""`,
		"best":         `rule is "best"`,
		"best=1:3":     `rule is "best"`,
		"dual=1":       `rule dual takes no value, and "dual=1" gives one`,
		"bm25=1":       "rule bm25 takes no value",
		"perc=":        `perc: "" is not a number`,
		"perc=NaN":     "perc is NaN",
		"perc=2":       "perc is 2; it goes from above 0 to 1",
		"topk:5":       `rule topk: "5" is no range of ranks, as 11-50`,
		"topk:":        `"" is no range of ranks`,
		"topk:05-6":    `"05-6" is no range`,
		"topk:1-2:3-4": `"1-2:3-4" is no range`,
		"topk:9-8":     "ranks go from 9 to 8; they go from 1 to 4096",
		"topk:0-8":     "ranks go from 0 to 8",
		"topk:1-4097":  "ranks go from 1 to 4097",
		"random:1-5":   "ranks are of a window rule, and the rule is random",
		"dual+dual":    `rule "dual" is there twice in "dual+dual"`,
		"adore+dual":   "adore is not a term of a sum",
	} {
		if _, err := ParseRule(text); !errors.Is(err, option.ErrOption) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; expected %q", text, err, says)
		}
	}
}

// TestWindow: a scan alone applies a window rule of all ranks, and no other rule.
func TestWindow(t *testing.T) {
	for text, want := range map[string]bool{"dual": true, "perc=0.9": true, "topk:1-5": false, "dual+perc": false, "perc+in-batch": false,
		"in-batch": false, "random": false, "adore": false} {
		r := ruleOf(t, text)
		if of, is := r.Window(); is != want || is && of.Name != strings.Split(text, "=")[0] {
			t.Errorf("%s: %+v, %v; expected %v", text, of, is, want)
		}
	}
}

// TestMined: what a trainer adds is left out.
func TestMined(t *testing.T) {
	for text, want := range map[string]string{"dual": "dual", "perc=0.9:2-3+in-batch": "perc=0.9:2-3", "in-batch+dual+bm25": "dual+bm25", "in-batch": "", "adore": ""} {
		if got := ruleOf(t, text).Mined(); got != want {
			t.Errorf("of %s, %q is mined; expected %q", text, got, want)
		}
	}
}

func ruleOf(t *testing.T, text string) Rule {
	t.Helper()
	r, err := ParseRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTermsOfTheirOwn: a value, or a range, that a term has itself does what an option for all terms does, and stands beside it.
func TestTermsOfTheirOwn(t *testing.T) {
	data, p := demoData(t)
	run := func(rule string, parameters map[string]float64, o Options) *negatives.Result {
		t.Helper()
		m := options(rule, 4, 0)
		m.Parameters = parameters
		r, err := Sample(t.Context(), data, p, m, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	perc := map[string]float64{"perc": 0.8}
	for own, by := range map[string]*negatives.Result{
		"perc=0.8":             run("perc", perc, Options{}),
		"perc=0.8+random":      run("perc+random", perc, Options{}),
		"perc=0.8+margin=0.1":  run("perc+margin", map[string]float64{"perc": 0.8, "margin": 0.1}, Options{}),
		"perc:3-9+topk:3-9":    run("perc+topk", nil, Options{Ranks: Ranks{3, 9}}),
		"perc=0.8:3-9+capped":  run("perc:3-9+capped=0.95", perc, Options{}),
		"perc:3-9+random+bm25": run("perc:3-9+random+bm25", nil, Options{Ranks: Ranks{1, 2}}),
	} {
		r := run(own, nil, Options{})
		if r.Manifest.RunID() != by.Manifest.RunID() || r.Manifest.Negatives != by.Manifest.Negatives {
			t.Errorf("%s: %+v; expected %+v", own, r.Manifest.Rule, by.Manifest.Rule)
		}
	}
	if a, b := run("perc:1-2+topk:9-9", nil, Options{}), run("topk:9-9", nil, Options{}); a.Manifest.Rule.Of[0].Ranks[1] != 2 || len(b.Pairs[0].Negatives) != 1 {
		t.Errorf("%+v, %+v", a.Manifest.Rule, b.Pairs[0])
	}
}
