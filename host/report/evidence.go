package report

import (
	"encoding/json"
	"os"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/negatives"
)

// Comparison is what the page shows of a comparison of rules.
type Comparison struct {
	Rules     []RuleEvidence
	Trainings []Training // one of each trainee

	Unmeasured string // why no rule has HiddenPositives
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

// written is a file that quarry compare writes: of rules, of trained models, or of both.
type written struct {
	Rules      []RuleEvidence `json:"rules"`
	Training   *Training      `json:"training"`
	Unmeasured string         `json:"hidden_positives_unmeasured"`
}

// LoadComparison reads the JSON that quarry compare writes, with --train or without; what several files hold is put together. What the page
// does not show is passed over.
func LoadComparison(paths ...string) (*Comparison, error) {
	all := &Comparison{}
	for _, path := range paths {
		c, err := loadComparison(path)
		if err != nil {
			return nil, err
		}
		if len(c.Rules) > 0 {
			all.Rules, all.Unmeasured = c.Rules, c.Unmeasured
		}
		if c.Training != nil {
			all.Trainings = append(all.Trainings, *c.Training)
		}
	}
	return all, nil
}

func loadComparison(path string) (*written, error) {
	const from = "quarry compare"
	var table Training
	if err := load(path, from, &table); err != nil {
		return nil, err
	}
	if table.Trainee != "" { // the file is a table of trained models alone
		return &written{Training: &table}, nil
	}
	var c written
	if err := load(path, from, &c); err != nil {
		return nil, err
	}
	if len(c.Rules) == 0 {
		return nil, dataset.FileError(path, "give the file that "+from+" wrote", "there are no rules in it")
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

// LoadAudit reads the JSON that quarry audit prints.
func LoadAudit(path string) (*Audit, error) {
	var file struct {
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
