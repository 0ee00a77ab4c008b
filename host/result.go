package host

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// Pair is a (query, positive) pair and its negatives: one line of negatives.jsonl.
type Pair struct {
	QueryID    string     `json:"query_id"`
	PositiveID string     `json:"positive_id"`
	DQPD       float64    `json:"d_q_pd"`    // cosine distance 1 - s(Q,PD), Eq. 5
	Negatives  []Negative `json:"negatives"` // nearest to the query first
	None       string     `json:"none,omitempty"`
	InWindow   *int64     `json:"in_window,omitempty"`  // with Counts: documents in the rule's window
	Candidates *int64     `json:"candidates,omitempty"` // with Counts: those that meet Eq. 6 too, where the rule has it
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

// Tallies count what became of the pairs.
type Tallies struct {
	Documents      int64 `json:"documents"`
	Pairs          int   `json:"pairs"`
	WithNegatives  int   `json:"with_negatives"`
	NoneWindow     int   `json:"none_window"`
	NoneEq6        int   `json:"none_eq6"`
	Negatives      int   `json:"negatives"`
	SkippedMissing int   `json:"skipped_pairs_missing"`  // query or positive not in the folder
	SkippedZero    int   `json:"skipped_pairs_zero"`     // query or positive a zero vector
	ZeroDocuments  int64 `json:"skipped_documents_zero"` // documents that are zero vectors
	Queries        int   `json:"queries"`
}

// Result is what was mined.
type Result struct {
	Pairs   []Pair // in the order of the judgements
	Tallies Tallies
	// Manifest says what the result depends on.
	Manifest Manifest
}

// Mine mines a folder's pairs against all its documents.
func Mine(ctx context.Context, folder *dataset.Folder, p *Projection, o MineOptions) (result *Result, err error) {
	j, err := NewJob(ctx, folder, p, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.Close(ctx)) }()
	part, err := j.Part(ctx, 0, j.Documents())
	if err != nil {
		return nil, err
	}
	return j.Result(part)
}

// Result turns the part for all documents into the pairs' negatives.
func (j *Job) Result(part *mine.Part) (*Result, error) {
	s := j.set
	r := &Result{Tallies: Tallies{
		Documents: part.Documents(), Pairs: len(s.pairs), Queries: len(s.queries),
		SkippedMissing: s.missing, SkippedZero: j.zeroPairs, ZeroDocuments: part.Skipped,
	}}
	for i, p := range s.pairs {
		pair := Pair{
			QueryID:    j.folder.Queries.List[s.queries[p[0]]],
			PositiveID: j.folder.Documents.List[s.positives[p[1]]],
			DQPD:       1 - part.SQPD[i],
			Negatives:  []Negative{},
		}
		for rank, n := range part.Found[i] {
			pair.Negatives = append(pair.Negatives, Negative{ID: j.folder.Documents.List[n.Position], Rank: rank + 1, DQD: 1 - n.SQD, DPDD: 1 - n.SPDD})
		}
		switch {
		case len(pair.Negatives) > 0:
			r.Tallies.WithNegatives++
			r.Tallies.Negatives += len(pair.Negatives)
		case part.Window[i]:
			pair.None = NoneEq6
			r.Tallies.NoneEq6++
		default:
			pair.None = NoneWindow
			r.Tallies.NoneWindow++
		}
		if part.Counts {
			pair.InWindow, pair.Candidates = &part.InWindow[i], &part.Candidates[i]
		}
		r.Pairs = append(r.Pairs, pair)
	}
	var err error
	r.Manifest, err = j.manifest(r)
	return r, err
}

// WriteNegatives writes the pairs as negatives.jsonl: one object a line.
func (r *Result) WriteNegatives(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for i := range r.Pairs {
		if err := e.Encode(&r.Pairs[i]); err != nil {
			return err
		}
	}
	return nil
}
