// Package pairs reads training pairs without ids, as sentence-transformers and FlagEmbedding keep them, as documents,
// queries and judgements.
//
// Input: files of JSON, an object a line, a split each. Output: both sides without vectors, and the judgements. Package
// beir calls it where a folder has no corpus.
package pairs

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Hint says what a line is.
const Hint = `one object a line: {"query":"...","positive":"..."}, with anchor for query and answer for positive; or {"query":"...","pos":["..."],"neg":["..."]}; texts.json beside it names other members (docs/FORMATS.md)`

// Split is a file of pairs.
type Split struct {
	Name    string
	File    lines.File
	Members lines.Names // what the file calls query, positive and negative, where they have other names
}

// record is a line.
type record struct {
	Query    string      `json:"query"`
	Anchor   string      `json:"anchor"`
	Positive lines.Texts `json:"positive"`
	Answer   lines.Texts `json:"answer"`
	Pos      lines.Texts `json:"pos"`
	Negative lines.Texts `json:"negative"`
	Neg      lines.Texts `json:"neg"`
}

// side collects different texts in the order of their first appearance. The n-th, from 0, has the id prefix + n, and is
// of row n of the vectors.
type side struct {
	prefix string
	rows   map[string]int // by text
	texts  dataset.TextsOf
}

func (s *side) add(text string) (id string) {
	row, ok := s.rows[text]
	if !ok {
		row = len(s.texts)
		s.rows[text] = row
		s.texts = append(s.texts, dataset.Text{ID: fmt.Sprintf("%s%d", s.prefix, row), Text: text})
	}
	return s.texts[row].ID
}

// Read reads pairs. Each different query and each different document has one id: q0, q1 and so on in the order in which
// queries first appear, and d0, d1 and so on for documents: of each line the positives first, then the negatives. Splits
// are read in their order. Every positive is judged 1; a negative is a document that nobody judged. All texts are held
// in memory. The sides have no vectors yet.
func Read(name string, splits []Split) (documents, queries dataset.Side, qrels []*dataset.Qrels, err error) {
	docs, asked := &side{prefix: "d", rows: map[string]int{}}, &side{prefix: "q", rows: map[string]int{}}
	var judged dataset.JudgedPairs
	for _, split := range splits {
		q := &dataset.Qrels{Split: split.Name, Path: split.File.Path}
		sum := sha256.New()
		err := split.File.Each(nil, func(l *lines.Reader, line []byte) error {
			query, positives, negatives, err := split.parse(l, line)
			if err != nil {
				return err
			}
			id := asked.add(query)
			for _, text := range positives {
				j := dataset.Judgement{Query: id, Document: docs.add(text), Score: 1, Line: l.Number}
				fmt.Fprintf(sum, "%s\t%s\n", j.Query, j.Document)
				if err := judged.Add(q, j); err != nil {
					return err
				}
			}
			for _, text := range negatives {
				docs.add(text)
			}
			return nil
		})
		if err != nil {
			return documents, queries, nil, err
		}
		q.SHA256 = hex.EncodeToString(sum.Sum(nil))
		qrels = append(qrels, q)
	}
	if documents, err = docs.side(name); err == nil {
		queries, err = asked.side(name)
	}
	return documents, queries, qrels, err
}

// side is what was collected, as ids and texts.
func (s *side) side(name string) (dataset.Side, error) {
	ids, err := dataset.NewIDs(name, func(f func(int, []byte) error) (string, error) {
		sum := sha256.New()
		for _, t := range s.texts {
			addText(sum, t.Text)
			if err := f(0, []byte(t.ID)); err != nil {
				return "", err
			}
		}
		return hex.EncodeToString(sum.Sum(nil)), nil
	})
	return dataset.Side{IDs: ids, Texts: s.texts}, err
}

func addText(to hash.Hash, text string) { fmt.Fprintf(to, "%d\n%s\n", len(text), text) }

// parse reads a line.
func (s Split) parse(l *lines.Reader, line []byte) (query string, positives, negatives []string, err error) {
	var r record
	if line, err = s.Members.Apply(line); err == nil {
		err = lines.Unmarshal(line, &r)
	}
	query, positives, negatives = cmp.Or(r.Query, r.Anchor), slices.Concat(r.Positive, r.Answer, r.Pos), slices.Concat(r.Negative, r.Neg)
	switch {
	case err != nil:
		err = l.Errorf(Hint, "not a JSON object of a pair: %v", excerpt.Error(err))
	case query == "":
		err = l.Errorf(Hint, "no query")
	case len(positives) == 0:
		err = l.Errorf(Hint, "no positive")
	}
	return query, positives, negatives, err
}
