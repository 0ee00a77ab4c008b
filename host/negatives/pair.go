// Package negatives is what mining gives: pairs with their negatives, the manifest that says what they depend on, and the files of both.
//
// Input: parts (package plugin/mine) or, from samplers that do not scan documents, pairs that are ready. Output: negatives.jsonl, and its
// manifest. Packages mining, run and job make results; commands read and write them.
package negatives

import (
	"encoding/json"
	"io"

	"github.com/quarry-hn/quarry/plugin/mine"
)

// Pair is a (query, positive) pair and its negatives: one line of negatives.jsonl.
type Pair struct {
	QueryID    string     `json:"query_id"`
	PositiveID string     `json:"positive_id"`
	DQPD       float64    `json:"d_q_pd"`    // cosine distance 1 - s(Q,PD), Eq. 5
	Negatives  []Negative `json:"negatives"` // nearest to the query first
	None       string     `json:"none,omitempty"`
	Batch      int        `json:"batch,omitempty"`      // of in-batch negatives: the number, from 1, of the batch that the pair is in
	InWindow   *int64     `json:"in_window,omitempty"`  // with Counts: documents in the rule's window
	Candidates *int64     `json:"candidates,omitempty"` // with Counts: those that meet Eq. 6 too, where the rule has it
	Unmeasured bool       `json:"-"`                    // of a pair that was read: distances to the query are missing, and are 0 here
}

// Why a pair has no negatives.
const (
	NoneWindow = "window" // no document lay in the rule's window; for dual that is Eq. 5
	NoneEq6    = "eq6"    // some did, and none met Eq. 6
)

// Negative is a hard negative.
type Negative struct {
	ID   string  `json:"id"`
	Rank int     `json:"rank"`   // from 1
	DQD  float64 `json:"d_q_d"`  // cosine distance of query and negative
	DPDD float64 `json:"d_pd_d"` // cosine distance of positive and negative, Eq. 6
}

// OfPart returns pair i of a part that covers all documents. document gives the id of the document of a position.
func OfPart(part *mine.Part, i int, query, positive string, document func(position int64) string) Pair {
	p := Pair{QueryID: query, PositiveID: positive, DQPD: 1 - part.SQPD[i], Negatives: []Negative{}}
	for rank, n := range part.Found[i] {
		p.Negatives = append(p.Negatives, Negative{ID: document(n.Position), Rank: rank + 1, DQD: 1 - n.SQD, DPDD: 1 - n.SPDD})
	}
	if part.Counts {
		p.InWindow, p.Candidates = &part.InWindow[i], &part.Candidates[i]
	}
	switch {
	case len(p.Negatives) > 0:
	case part.Window[i]:
		p.None = NoneEq6
	default:
		p.None = NoneWindow
	}
	return p
}

// Tallies count what became of the pairs.
type Tallies struct {
	Documents      int64 `json:"documents"`
	Pairs          int   `json:"pairs"`
	WithNegatives  int   `json:"with_negatives"`
	NoneWindow     int   `json:"none_window"`
	NoneEq6        int   `json:"none_eq6"`
	Negatives      int   `json:"negatives"`
	SkippedMissing int   `json:"skipped_pairs_missing"`  // query or positive not in the data set
	SkippedZero    int   `json:"skipped_pairs_zero"`     // query or positive a zero vector
	ZeroDocuments  int64 `json:"skipped_documents_zero"` // documents that are zero vectors
	Queries        int   `json:"queries"`
	Twins          int   `json:"twins_excluded,omitempty"` // documents that equal a positive, and were left out of its query's negatives
}

// Add counts what became of a pair.
func (t *Tallies) Add(p *Pair) {
	t.Negatives += len(p.Negatives)
	switch p.None {
	case NoneEq6:
		t.NoneEq6++
	case NoneWindow:
		t.NoneWindow++
	default:
		t.WithNegatives++
	}
}

// Unmined are the tallies as they are known before anything is mined.
func (t Tallies) Unmined() Tallies {
	t.WithNegatives, t.NoneWindow, t.NoneEq6, t.Negatives, t.ZeroDocuments = 0, 0, 0, 0, 0
	return t
}

// NewPairEncoder returns what writes a *Pair as a line of negatives.jsonl.
func NewPairEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
