package vectors

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/table"
)

// texts are the texts of the table that has a column for each model. The table is read each time some are asked for, up to
// the last of them.
type texts struct {
	folder  *Folder
	source  *source
	columns []string // of ids, titles and texts; a name may be empty, but for the first
	ids     *dataset.StoredIDs
}

var _ dataset.Texts = (*texts)(nil)

// Texts are the ids and the texts of a side in vectors/docs or vectors/queries, where that is a table that has a column of
// ids, and a column text. Without the latter the texts are dataset.NoTexts. ids is nil where there is no such table.
func (f *Folder) Texts() (ids *dataset.StoredIDs, _ dataset.Texts, err error) {
	s, err := f.shared()
	if s == nil || err != nil {
		return nil, nil, err
	}
	columns, err := f.columnsOf(s)
	if err != nil {
		return nil, nil, err
	}
	x := &texts{folder: f, source: s, columns: make([]string, 3)}
	for _, c := range columns {
		switch {
		case !c.IsID():
		case s.spec.ID != nil && c.Name == *s.spec.ID, s.spec.ID == nil && slices.Contains(idColumns, c.Name) && x.columns[0] != idColumns[0]:
			x.columns[0] = c.Name
		case c.Name == "title":
			x.columns[1] = c.Name
		case c.Name == "text":
			x.columns[2] = c.Name
		}
	}
	if x.columns[0] == "" {
		return nil, nil, nil
	}
	x.ids, err = dataset.NewIDs(f.path(s.name), func(each func(line int, id []byte) error) (string, error) {
		sum := sha256.New()
		err := x.each(func(line int, texts [][]byte) error {
			for _, text := range texts {
				fmt.Fprintf(sum, "%d\n%s\n", len(text), text)
			}
			return each(line, texts[0])
		})
		return hex.EncodeToString(sum.Sum(nil)), err
	})
	if err != nil {
		return nil, nil, err
	}
	if x.columns[2] == "" {
		return x.ids, dataset.NoTexts{Err: dataset.FileError(f.path(s.name), "add a column text", "there are no texts, only ids")}, nil
	}
	return x.ids, x, nil
}

// each calls do for each row of the table, with its id, title and text.
func (x *texts) each(do func(line int, texts [][]byte) error) error {
	for _, part := range x.source.parts {
		err := x.folder.withTable(x.source, part, func(t table.Table) error {
			return table.ReadRows(t, x.folder.path(part), x.columns, do)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// OfIDs reads the texts of those ids. A row that has another id by now is left out, as if it were not there.
func (x *texts) OfIDs(ids map[string]bool) (map[string]dataset.Text, error) {
	return dataset.TextsOfIDs(x, x.ids, ids)
}

var errEnough = errors.New("the rows that were wanted have been read")

// EachRow reads the texts of those rows, up to the last of them.
func (x *texts) EachRow(rows map[int]bool, f func(row int, t dataset.Text) error) error {
	row, found := -1, 0
	err := x.each(func(_ int, texts [][]byte) error {
		if row++; rows != nil && !rows[row] {
			return nil
		}
		if err := f(row, dataset.Text{ID: string(texts[0]), Title: string(texts[1]), Text: string(texts[2])}); err != nil {
			return err
		}
		if found++; rows != nil && found == len(rows) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
