package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// textColumns are what a document or a query may have beside vectors. It must have an id.
var textColumns = []string{"id", "title", "text"}

// side is the documents or the queries.
type side struct {
	*relation
	id     column
	texts  []column // title and text, of which one may have no name; empty where there is neither
	file   string   // of the texts
	models []*vectors
	rows   int
}

// side finds the columns of the documents or the queries. models are those to copy; empty means all.
func (i *importer) side(ctx context.Context, flag, file string, s Source, models []string) (*side, error) {
	r, err := i.relation(ctx, flag, s)
	if err != nil {
		return nil, err
	}
	x := &side{relation: r, file: flag + ".ids"}
	if x.id, err = r.need("id"); err != nil {
		return nil, err
	}
	title, hasTitle := r.find("title")
	text, hasText := r.find("text")
	if hasTitle || hasText {
		x.texts, x.file = []column{title, text}, file
	}
	if x.models, err = r.models(models); err != nil {
		return nil, err
	}
	x.rows, err = r.count(ctx)
	return x, err
}

func (s *side) hasTexts() bool { return s.texts != nil }

// copy writes the texts and the vectors.
func (s *side) copy(ctx context.Context) error {
	texts, err := s.out.Create(s.file)
	if err != nil {
		return err
	}
	files := []*atomicfile.File{texts}
	for _, m := range s.models {
		if m.file, err = s.out.Create("vectors/" + m.name + "/" + s.flag + ".npy"); err != nil {
			return err
		}
		files = append(files, m.file)
	}
	to := textWriter{texts, json.NewEncoder(texts)}
	to.json.SetEscapeHTML(false)
	done := s.progress.Count("read "+s.flag, s.rows)
	var last []byte
	n := 0
	err = s.each(ctx, s.name, s.query(), func(row [][]byte) error {
		if err := s.checkID(row[0], last, n); err != nil {
			return err
		}
		last = append(last[:0], row[0]...)
		if n++; n > s.rows {
			return nil // the error below
		}
		if n%progressRows == 0 {
			done(progressRows)
		}
		return s.write(to, row)
	})
	if err != nil {
		return err
	}
	if n != s.rows {
		return dataset.FileError(s.name, "give a query whose rows are the same each time", "it has %d rows, and had %d when they were counted", n, s.rows)
	}
	done(n % progressRows)
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// progressRows is after how many rows progress is reported.
const progressRows = 256

// query selects id, title and text, where there are texts, and then the vectors.
func (s *side) query() string {
	selected := []string{s.id.sql() + "::text"}
	for _, c := range s.texts {
		if c.name == "" {
			selected = append(selected, "''")
		} else {
			selected = append(selected, "coalesce("+c.sql()+"::text, '')")
		}
	}
	for _, m := range s.models {
		selected = append(selected, m.column.sql())
	}
	return "select " + strings.Join(selected, ", ") + " from " + s.sql + inOrder(s.id)
}

// checkID fails where the id of a row, counted from 0, is none, or that of the row before.
func (s *side) checkID(id, last []byte, row int) error {
	if problem := idProblem(id); problem != "" {
		return dataset.FileError(s.name, "give each row an id, or leave such rows out by a query: --"+s.flag+" 'select * from … where …'", "column %s: %s", excerpt.Quote(s.id.name), problem)
	}
	if row > 0 && bytes.Equal(id, last) {
		return dataset.FileError(s.name, "ids must differ: choose another column by --"+s.flag+"-columns id=COLUMN, or give a query that has each id once",
			"column %s: id %s is given twice", excerpt.Quote(s.id.name), excerpt.Quote(id))
	}
	return nil
}

// idProblem says why a value cannot be an id; it is empty where the value can.
func idProblem(id []byte) string {
	switch {
	case id == nil:
		return "an id is null"
	case len(id) == 0:
		return "an id is empty"
	case !utf8.Valid(id):
		return "id " + excerpt.Quote(id) + " is not UTF-8"
	case bytes.ContainsAny(id, "\t\r\n"):
		return "id " + excerpt.Quote(id) + " has a tab or a line's end in it"
	}
	return ""
}

// textWriter writes texts as JSON, or ids alone.
type textWriter struct {
	to   io.Writer
	json *json.Encoder
}

// write writes a row of query to the files.
func (s *side) write(to textWriter, row [][]byte) error {
	id, n := string(row[0]), 1+len(s.texts)
	if s.hasTexts() {
		for k, c := range s.texts {
			if !utf8.Valid(row[1+k]) {
				return dataset.FileError(s.name, "keep texts in a database whose encoding is UTF8", "column %s, id %s: the text is not UTF-8", excerpt.Quote(c.name), excerpt.Quote(id))
			}
		}
		if err := to.json.Encode(dataset.Text{ID: id, Title: string(row[1]), Text: string(row[2])}); err != nil {
			return err
		}
	} else if _, err := io.WriteString(to.to, id+"\n"); err != nil {
		return err
	}
	for k, m := range s.models {
		problem, err := m.write(row[n+k], s.rows)
		if err != nil {
			return err
		}
		if problem != "" {
			return dataset.FileError(s.name, "mend the row, or leave it out by a query, as in --"+s.flag+" 'select * from … where "+m.column.name+" is not null'",
				"column %s, id %s: %s", excerpt.Quote(m.column.name), excerpt.Quote(id), problem)
		}
	}
	return nil
}
