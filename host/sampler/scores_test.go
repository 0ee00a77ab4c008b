package sampler

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// TestScoresAsScans applies each rule to kept scores, many and few. It gives the negatives and the manifest of a scan by the rule, to the byte.
// Pairs that the scores do not settle are scanned for.
func TestScoresAsScans(t *testing.T) {
	data, p := demoData(t)
	written := func(r *negatives.Result) []byte {
		var b bytes.Buffer
		if err := errors.Join(r.WriteNegatives(&b), r.Manifest.Write(&b)); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	settled, some := map[bool]int{}, 0
	for _, keep := range []int{4, 30, 200, 335} {
		kept, err := KeepScores(t.Context(), data, p, options("", 0, 0), keep)
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range mine.RuleNames() {
			for _, top := range []int{4, 40} {
				m := options(rule, top, 0)
				r, err := Sample(t.Context(), data, p, m, Options{Scores: kept})
				if err != nil {
					t.Fatal(err)
				}
				window, err := mine.NewRule(rule, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, unsettled := applied(kept, window, top)
				settled[len(unsettled) == 0]++
				some += min(1, len(unsettled)) * min(1, len(kept.SQPD)-len(unsettled))
				scanned, err := mining.Mine(t.Context(), data, p, m)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(written(r), written(scanned)) {
					t.Errorf("%d kept, %s, top %d: a scan gives other bytes", keep, rule, top)
				}
			}
		}
	}
	if settled[true] == 0 || settled[false] == 0 || some == 0 {
		t.Errorf("rules were settled, and not settled, so often: %v, for some of the pairs %d times; it shows nothing", settled, some)
	}
}

// TestApplied has lists that settle a rule, and lists that do not.
func TestApplied(t *testing.T) {
	negative := func(scores ...float64) (list []mine.Negative) {
		for i, s := range scores {
			list = append(list, mine.Negative{Position: int64(i), SQD: s, SPDD: 0.55})
		}
		return list
	}
	window := func(name string) mine.Rule {
		r, err := mine.NewRule(name, map[string]float64{"perc": 0.8})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, row := range []struct {
		rule    string
		kept    []mine.Negative // of 4 that were kept at most, of a pair whose s(Q,PD) is 0.5
		found   int             // of 2 at most; -1 for not settled
		window  bool
		because string
	}{
		{"topk", negative(0.9, 0.8, 0.7, 0.6), 2, true, "there are enough"},
		{"topk", negative(0.9), 1, true, "there are no more documents"},
		{"dual", negative(0.9, 0.52, 0.51, 0.505), -1, true, "others may lie above the positive"},
		{"dual", negative(0.9, 0.52, 0.51, 0.5), 1, true, "the last is not above the positive, and so is none that follows"},
		{"dual", negative(0.53, 0.52, 0.3, 0.2), 0, true, "those in the window are nearer to the positive"},
		{"dual", negative(0.5, 0.4, 0.3, 0.2), 0, false, "none is in the window"},
		{"perc", negative(0.9, 0.8, 0.45, 0.41), -1, false, "others may follow below the cap"},
		{"perc", negative(0.9, 0.8, 0.4, 0.3), 2, true, "there are enough"},
		{"perc", negative(0.9, 0.8, 0.3), 1, true, "there are no more documents"},
		{"perc", negative(0.9, 0.8, 0.7, 0.3), -1, true, "others may follow"},
		{"capped", negative(0.4, 0.3, 0.2, 0.1), -1, true, "others may follow that are farther from the positive"},
		{"dual", nil, 0, false, "there are no documents"},
	} {
		scores := &mine.Part{Options: mine.Options{Top: 4}, SQPD: []float64{0.5}, Found: [][]mine.Negative{row.kept}}
		part, unsettled := applied(scores, window(row.rule), 2)
		if (len(unsettled) > 0) != (row.found < 0) || len(unsettled) == 0 && (len(part.Found[0]) != row.found || part.Window[0] != row.window) {
			t.Errorf("%s of %v: %+v, %v; expected %d (%s)", row.rule, row.kept, part, unsettled, row.found, row.because)
		}
	}
}

func TestScoresOfAnotherRun(t *testing.T) {
	data, p := demoData(t)
	kept, err := KeepScores(t.Context(), data, p, options("", 0, 0), 300)
	if err != nil {
		t.Fatal(err)
	}
	other := options("topk", 5, 0)
	other.Split = "train"
	if _, err := Sample(t.Context(), data, p, other, Options{Scores: kept}); !errors.Is(err, option.ErrOption) || !strings.Contains(err.Error(), "of another run") {
		t.Errorf("the scores of another split: %v", err)
	}
	short := *kept
	short.SQPD = short.SQPD[1:]
	if _, err := Sample(t.Context(), data, p, options("topk", 5, 0), Options{Scores: &short}); !errors.Is(err, option.ErrOption) {
		t.Errorf("a pair too few: %v", err)
	}
	for _, n := range []int{0, 4097} {
		if _, err := KeepScores(t.Context(), data, p, options("", 0, 0), n); !errors.Is(err, option.ErrOption) {
			t.Errorf("%d are kept: %v", n, err)
		}
	}
	path := filepath.Join(t.TempDir(), "scores")
	load := func(write func(p *mine.Part)) error {
		part := *kept
		write(&part)
		file, err := part.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = LoadScores(path)
		return err
	}
	if err := load(func(*mine.Part) {}); err != nil {
		t.Error(err)
	}
	for _, change := range []func(p *mine.Part){
		func(p *mine.Part) { p.Rule = mine.Rule{Name: "dual", Eq6: true, Floor: &mine.Bound{A: 1}} },
		func(p *mine.Part) { p.Rule.Eq6 = true },
		func(p *mine.Part) { p.Top = 1 },
	} {
		if e := (*dataset.Error)(nil); !errors.As(load(change), &e) || e.Path != path || e.Hint == "" {
			t.Errorf("another part is taken for scores: %v", e)
		}
	}
}
