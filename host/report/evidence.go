package report

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/negatives"
)

// Comparison is what the page shows of a comparison of rules.
type Comparison struct {
	Rules     []RuleEvidence
	Trainings []Training // one of each trainee

	Unmeasured string // why no rule has HiddenPositives

	files []written // that it was loaded of
}

// RuleEvidence is what a comparison found of one rule without training.
type RuleEvidence struct {
	Rule            string           `json:"rule"`
	Yield           float64          `json:"yield"`     // share of the pairs that have a negative
	Negatives       int              `json:"negatives"` // of all pairs together
	HiddenPositives *HiddenPositives `json:"hidden_positives,omitempty"`
}

// HiddenPositives is how often a rule took a positive that was hidden from it. The shares are means over the draws.
type HiddenPositives struct {
	TakenShare float64 `json:"taken_share"` // of the hidden positives
	FirstShare float64 `json:"first_share"` // of the hidden positives, taken as the first negative
	Draws      int     `json:"draws"`

	TakenInterval *[2]float64 `json:"taken_interval,omitempty"` // 95 %, of TakenShare
}

// Training is the table of models that were trained with each rule's negatives, as package train makes it.
type Training struct {
	Trainee   string      `json:"trainee"` // bi-encoder or cross-encoder
	Model     string      `json:"model,omitempty"`
	Device    string      `json:"device,omitempty"`
	Seeds     int         `json:"seeds"`
	Test      float64     `json:"test_queries,omitempty"`
	Documents string      `json:"ranked_documents,omitempty"` // what the test ranks
	Rows      []TrainedBy `json:"rules"`
	Notes     []string    `json:"notes,omitempty"`
}

// TrainedBy is a row of the table.
type TrainedBy struct {
	Rule      string              `json:"rule"`
	Pairs     string              `json:"pairs,omitempty"`     // which pairs the model was trained on
	Documents string              `json:"documents,omitempty"` // which the test queries' positives are, by length
	MRR10     Interval            `json:"mrr_10"`
	Gain      map[string]Contrast `json:"gain,omitempty"` // over other rows of all pairs, by rule: none, random and dual where they are there
}

// Contrast is the difference of two rows, and whether the runs tell them apart.
type Contrast struct {
	MRR10   Interval `json:"mrr_10"`
	Verdict string   `json:"verdict"` // better, worse or cannot tell
}

// Interval is a mean over queries and seeds; Low and High are nil where there is no interval.
type Interval struct {
	Mean float64  `json:"mean"`
	Low  *float64 `json:"low"`
	High *float64 `json:"high"`
}

// written is a file that quarry compare writes.
type written struct {
	Inputs     map[string]string `json:"inputs"` // SHA-256 of each; see dataset.Dataset.Fingerprints
	Rules      []RuleEvidence    `json:"rules"`
	Training   *Training         `json:"training"`
	Unmeasured string            `json:"hidden_positives_unmeasured"`

	path string
}

// LoadComparison reads the JSON that quarry compare writes, with --train or without; what several files hold is put together. What the page
// does not show is passed over. New fails where a file is of other data.
func LoadComparison(paths ...string) (*Comparison, error) {
	all := &Comparison{}
	for _, path := range paths {
		c, err := loadComparison(path)
		if err != nil {
			return nil, err
		}
		all.Rules, all.Unmeasured, all.files = c.Rules, c.Unmeasured, append(all.files, *c)
		if c.Training != nil {
			all.Trainings = append(all.Trainings, *c.Training)
		}
	}
	return all, nil
}

func loadComparison(path string) (*written, error) {
	const from = "quarry compare"
	c := written{path: path}
	if err := load(path, from, &c); err != nil {
		return nil, err
	}
	if len(c.Rules) == 0 {
		return nil, dataset.FileError(path, "give the file that "+from+" wrote", "there are no rules in it")
	}
	if c.Inputs["corpus"] == "" || c.Inputs["queries"] == "" {
		return nil, dataset.FileError(path, "make it with "+from, "it does not say which data it is of: inputs lacks corpus or queries")
	}
	for i, rule := range c.Rules {
		bad := rule.Rule == "" || !isShare(rule.Yield) || rule.Negatives < 0
		if h := rule.HiddenPositives; h != nil {
			bad = bad || !isShare(h.TakenShare) || !isShare(h.FirstShare) || h.Draws < 0
		}
		if bad {
			return nil, dataset.FileError(path, "give the file that "+from+" wrote", "rule %d, %s, is not sound: it needs a name, and shares from 0 to 1", i+1, excerpt.Quote(rule.Rule))
		}
	}
	return &c, nil
}

// check fails where a file of the comparison is of other documents, queries or judgements than the page, or of other vectors than its
// negatives. Of vectors it compares what both name, since a comparison may be of other models.
func (c *Comparison) check(in Input) error {
	ours, err := in.Data.Fingerprints(1, nil)
	if err != nil {
		return err
	}
	if in.Manifest != nil {
		for name, sum := range in.Manifest.Inputs {
			if strings.HasPrefix(name, "vectors/") {
				ours[name] = sum
			}
		}
	}
	for _, file := range c.files {
		if others := different(ours, file.Inputs); len(others) > 0 {
			return dataset.FileError(file.path, "give what quarry compare wrote of "+in.Data.Name, "it is of other data than %s: %s", in.Data.Name, strings.Join(others, ", "))
		}
	}
	return nil
}

// different names the inputs whose fingerprints are not the same in a and b. Judgements count that only one of them has.
func different(a, b map[string]string) []string {
	names := map[string]bool{}
	for _, m := range []map[string]string{a, b} {
		for name := range m {
			_, inA := a[name]
			_, inB := b[name]
			if a[name] != b[name] && (inA && inB || strings.HasPrefix(name, "qrels/")) {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func isShare(v float64) bool { return v >= 0 && v <= 1 }

// Audit is what an audit said of negatives.
type Audit struct {
	scores map[judged]Suspicion
}

// judged names a negative of a pair.
type judged struct{ query, positive, negative string }

// Suspicion is how likely an audit holds it that a negative is relevant, and why.
type Suspicion struct {
	Score   float64  `json:"score"`
	Reasons []string `json:"reasons"`
}

// LoadAudit reads the JSON that quarry audit prints. of is the SHA-256 of the negatives of the page, which must be those that were audited,
// or those of them that the audit kept.
func LoadAudit(path, of string) (*Audit, error) {
	var file struct {
		Negatives string `json:"negatives_sha256"`
		Kept      struct {
			Negatives string `json:"negatives_sha256"`
		} `json:"kept"`
		Findings []struct {
			QueryID    string `json:"query_id"`
			PositiveID string `json:"positive_id"`
			ID         string `json:"id"`
			Suspicion
		} `json:"findings"`
	}
	if err := load(path, "quarry audit --json", &file); err != nil {
		return nil, err
	}
	if file.Findings == nil {
		return nil, dataset.FileError(path, "give what quarry audit --json printed", "there are no findings in it")
	}
	if file.Negatives != of && file.Kept.Negatives != of {
		problem := "it is of other negatives: those with the SHA-256 " + excerpt.Text(file.Negatives)
		if file.Negatives == "" {
			problem = "it does not say which negatives it is of: there is no negatives_sha256"
		}
		return nil, dataset.FileError(path, "give what quarry audit --json prints of these negatives", "%s", problem)
	}
	a := &Audit{map[judged]Suspicion{}}
	for _, n := range file.Findings {
		a.scores[judged{n.QueryID, n.PositiveID, n.ID}] = n.Suspicion
	}
	return a, nil
}

// load decodes a JSON file. from is the command that makes such files.
func load(path, from string, into any) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return dataset.ReadError(path, err, "make it with "+from)
	}
	if err := json.Unmarshal(file, into); err != nil {
		return dataset.FileError(path, "give the file that "+from+" wrote", "not such JSON: %v", excerpt.Error(err))
	}
	return nil
}

// of is what the audit said of a pair's negative, or nil.
func (a *Audit) of(p *negatives.Pair, negative string) *Suspicion {
	if a == nil {
		return nil
	}
	if s, ok := a.scores[judged{p.QueryID, p.PositiveID, negative}]; ok {
		return &s
	}
	return nil
}

// worst is the highest score of a pair's negatives.
func (a *Audit) worst(p *negatives.Pair) (score float64) {
	for _, n := range p.Negatives {
		if s := a.of(p, n.ID); s != nil {
			score = max(score, s.Score)
		}
	}
	return score
}
