package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

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
func Mine(ctx context.Context, folder *dataset.Dataset, p *Projection, o MineOptions) (result *Result, err error) {
	j, err := NewJob(ctx, folder, p, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.Close(ctx)) }()
	pieces := j.Pieces()
	parts := make([]*mine.Part, len(j.groups))
	for _, piece := range pieces {
		part, err := j.Part(ctx, piece)
		if err == nil {
			err = j.add(parts, part)
		}
		if err != nil {
			return nil, err
		}
	}
	return j.Result(parts...)
}

// Result turns parts, of all pieces and in any order, into the pairs' negatives.
func (j *Job) Result(parts ...*mine.Part) (*Result, error) {
	merged, err := j.merge(parts)
	if err != nil {
		return nil, err
	}
	r := &Result{Tallies: j.tallies()}
	r.Tallies.ZeroDocuments = merged[0].Skipped
	queries, documents, err := j.names(merged)
	if err != nil {
		return nil, err
	}
	for g, part := range merged {
		for i, p := range j.set.pairs[j.groups[g].first:j.groups[g].end] {
			pair := NewPair(part, i, queries[p.query], documents[p.positive], func(position int64) string { return documents[int(position)] })
			r.Tallies.Add(&pair)
			r.Pairs = append(r.Pairs, pair)
		}
	}
	r.Manifest = j.manifest
	r.Manifest.Tallies = r.Tallies
	sum := sha256.New()
	err = r.WriteNegatives(sum)
	r.Manifest.Negatives = hex.EncodeToString(sum.Sum(nil))
	return r, err
}

// NewPair is pair i of a part of all documents. document gives the id of the document of a position.
func NewPair(part *mine.Part, i int, query, positive string, document func(position int64) string) Pair {
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

// merge returns a part for each group, of all documents.
func (j *Job) merge(parts []*mine.Part) ([]*mine.Part, error) {
	merged := make([]*mine.Part, len(j.groups))
	for _, part := range parts {
		if err := j.add(merged, part); err != nil {
			return nil, err
		}
	}
	for g, part := range merged {
		if part == nil || part.Documents() != int64(j.Documents()) {
			return nil, fmt.Errorf("%w: the parts of pairs %d to %d do not cover all %d documents", ErrOption, j.groups[g].first, j.groups[g].end-1, j.Documents())
		}
	}
	return merged, nil
}

// add merges a part with those of its group, which are merged already.
func (j *Job) add(merged []*mine.Part, part *mine.Part) (err error) {
	g := slices.IndexFunc(j.groups, func(g pairRange) bool { return part.PairsID == j.pairsID(g) })
	if g < 0 {
		return fmt.Errorf("%w: a part is of another job: its pairs are %q", ErrOption, part.PairsID)
	}
	merged[g], err = plus(merged[g], part)
	return err
}

// plus merges two parts; the first may be nil, no part yet.
func plus(sum, part *mine.Part) (*mine.Part, error) {
	if sum == nil {
		return part, nil
	}
	merged, err := mine.Merge(sum, part)
	if err != nil {
		return nil, fmt.Errorf("merge the parts: %w", err)
	}
	return merged, nil
}

// names finds the ids of everything that the result names.
func (j *Job) names(merged []*mine.Part) (queries, documents map[int]string, err error) {
	wantedQueries, wantedDocuments := map[int]bool{}, map[int]bool{}
	for _, p := range j.set.pairs {
		wantedQueries[p.query], wantedDocuments[p.positive] = true, true
	}
	for _, part := range merged {
		for _, found := range part.Found {
			for _, n := range found {
				wantedDocuments[int(n.Position)] = true
			}
		}
	}
	if queries, err = j.folder.Queries.OfRows(wantedQueries); err == nil {
		documents, err = j.folder.Documents.OfRows(wantedDocuments)
	}
	return queries, documents, err
}

// WriteNegatives writes the pairs as negatives.jsonl: one object a line.
func (r *Result) WriteNegatives(w io.Writer) error {
	e := NewPairEncoder(w)
	for i := range r.Pairs {
		if err := e.Encode(&r.Pairs[i]); err != nil {
			return err
		}
	}
	return nil
}

// NewPairEncoder returns what writes a *Pair as a line of negatives.jsonl.
func NewPairEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
