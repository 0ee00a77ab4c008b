package negatives

import (
	"fmt"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Texts are the texts that pairs speak of, by id.
type Texts struct {
	Queries, Documents map[string]dataset.Text
}

// TextsOf reads the texts of those pairs' queries, positives and negatives. An id that the data set does not have is an error.
func TextsOf(data *dataset.Dataset, pairs []Pair) (*Texts, error) {
	queries, documents := map[string]bool{}, map[string]bool{}
	for _, p := range pairs {
		queries[p.QueryID], documents[p.PositiveID] = true, true
		for _, n := range p.Negatives {
			documents[n.ID] = true
		}
	}
	t := &Texts{}
	var err error
	if t.Queries, err = data.Queries.Texts.OfIDs(queries); err != nil {
		return nil, err
	}
	if t.Documents, err = data.Documents.Texts.OfIDs(documents); err != nil {
		return nil, err
	}
	for _, p := range pairs {
		if _, ok := t.Queries[p.QueryID]; !ok {
			return nil, otherFolder(data.Queries.Name(), "query", p.QueryID)
		}
		for _, id := range append([]string{p.PositiveID}, negativeIDs(p)...) {
			if _, ok := t.Documents[id]; !ok {
				return nil, otherFolder(data.Documents.Name(), "document", id)
			}
		}
	}
	return t, nil
}

func negativeIDs(p Pair) (ids []string) {
	for _, n := range p.Negatives {
		ids = append(ids, n.ID)
	}
	return ids
}

func otherFolder(path, what, id string) error {
	return &dataset.Error{Path: path, Row: -1, Problem: fmt.Sprintf("%s %s of the negatives is not there", what, excerpt.Quote(id)),
		Hint: "give the folder that the negatives were mined from"}
}

// Document is a document's text as encoders read it: title and text, with separator in between where there are both.
func (t *Texts) Document(id, separator string) string {
	d := t.Documents[id]
	if d.Title == "" || d.Text == "" {
		return d.Title + d.Text
	}
	return d.Title + separator + d.Text
}
