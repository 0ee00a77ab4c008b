package host

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
)

// Triplet is what a trainer reads: one line of triplets.jsonl.
type Triplet struct {
	Query    string `json:"query"`
	Positive string `json:"positive"`
	Negative string `json:"negative"`
}

// ReadNegatives reads a negatives.jsonl file and checks each line. name is for errors.
func ReadNegatives(r io.Reader, name string) ([]Pair, error) {
	var pairs []Pair
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 64<<20)
	for line := 1; scanner.Scan(); line++ {
		var p Pair
		d := json.NewDecoder(strings.NewReader(scanner.Text()))
		d.DisallowUnknownFields()
		bad := func(format string, args ...any) error {
			return &dataset.Error{Path: name, Line: line, Row: -1, Problem: fmt.Sprintf(format, args...), Hint: "give a file that quarry mine wrote"}
		}
		if err := d.Decode(&p); err != nil {
			return nil, bad("not a pair with negatives: %v", err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, bad("the line goes on after the object")
		}
		if problem := p.unsound(); problem != "" {
			return nil, bad("%s", problem)
		}
		pairs = append(pairs, p)
	}
	if err := scanner.Err(); err != nil {
		return nil, &dataset.Error{Path: name, Line: len(pairs) + 1, Row: -1, Problem: err.Error(), Err: err}
	}
	return pairs, nil
}

// unsound says what is wrong with a pair that was read, or nothing.
func (p *Pair) unsound() string {
	switch {
	case p.QueryID == "" || p.PositiveID == "":
		return "query_id or positive_id is missing"
	case len(p.Negatives) == 0 && p.None != NoneWindow && p.None != NoneEq6:
		return fmt.Sprintf("no negatives, and none is %q; expected %q or %q", p.None, NoneWindow, NoneEq6)
	case len(p.Negatives) > 0 && p.None != "":
		return fmt.Sprintf("there are negatives, and none is %q", p.None)
	}
	for i, n := range p.Negatives {
		if n.ID == "" || n.Rank != i+1 {
			return fmt.Sprintf("negative %d has id %q and rank %d", i+1, n.ID, n.Rank)
		}
		if i > 0 && n.DQD < p.Negatives[i-1].DQD {
			return fmt.Sprintf("negative %d is nearer to the query than the one before it", i+1)
		}
	}
	return ""
}

// LoadNegatives reads a negatives.jsonl file.
func LoadNegatives(path string) (_ []Pair, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, dataset.ReadError(path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return ReadNegatives(f, path)
}

// Texts are the texts that pairs speak of, by id.
type Texts struct {
	Queries, Documents map[string]dataset.Text
}

// TextsOf reads the texts of those pairs' queries, positives and negatives. An id that the folder does not have is an error.
func TextsOf(folder *dataset.Dataset, pairs []Pair) (*Texts, error) {
	queries, documents := map[string]bool{}, map[string]bool{}
	for _, p := range pairs {
		queries[p.QueryID], documents[p.PositiveID] = true, true
		for _, n := range p.Negatives {
			documents[n.ID] = true
		}
	}
	t := &Texts{}
	var err error
	if t.Queries, err = folder.Queries.Texts.OfIDs(queries); err != nil {
		return nil, err
	}
	if t.Documents, err = folder.Documents.Texts.OfIDs(documents); err != nil {
		return nil, err
	}
	for _, p := range pairs {
		if _, ok := t.Queries[p.QueryID]; !ok {
			return nil, otherFolder(folder.Queries.Name(), "query", p.QueryID)
		}
		for _, id := range append([]string{p.PositiveID}, negativeIDs(p)...) {
			if _, ok := t.Documents[id]; !ok {
				return nil, otherFolder(folder.Documents.Name(), "document", id)
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
	return &dataset.Error{Path: path, Row: -1, Problem: fmt.Sprintf("%s %q of the negatives is not there", what, id),
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

// Export writes a triplet for each negative, one JSON object a line, and returns how many.
func Export(folder *dataset.Dataset, pairs []Pair, separator string, w io.Writer) (int, error) {
	texts, err := TextsOf(folder, pairs)
	if err != nil {
		return 0, err
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	n := 0
	for _, p := range pairs {
		t := Triplet{Query: texts.Queries[p.QueryID].Text, Positive: texts.Document(p.PositiveID, separator)}
		for _, negative := range p.Negatives {
			t.Negative = texts.Document(negative.ID, separator)
			if err := e.Encode(t); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}
