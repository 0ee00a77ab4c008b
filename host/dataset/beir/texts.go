package beir

import (
	"encoding/json"
	"errors"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// readIDs reads the ids of a file; id gives that of a line. A file without ids is an error.
func (f *folder) readIDs(name string, id func(l *lineReader, line []byte) ([]byte, error)) (*dataset.StoredIDs, error) {
	ids, err := dataset.NewIDs(f.path(name), func(each func(int, []byte) error) (string, error) {
		return f.readLines(name, func(l *lineReader, line []byte) error {
			id, err := id(l, line)
			if err != nil {
				return err
			}
			return each(l.line, id)
		})
	})
	if err == nil && ids.Len() == 0 {
		return nil, errors.Join(dataset.FileError(f.path(name), "it needs a line for each text", "the file is empty"), ids.Close())
	}
	return ids, err
}

// textID is the id of a line of a corpus or query file. The line must be one that parseText reads. Its texts are not
// decoded, which takes a third of the time.
func textID(l *lineReader, line []byte) ([]byte, error) {
	var t struct {
		ID    string   `json:"_id"`
		Title unwanted `json:"title"`
		Text  unwanted `json:"text"`
	}
	if err := json.Unmarshal(line, &t); err == nil && t.ID != "" {
		return []byte(t.ID), nil
	}
	_, err := parseText(l, line) // says what is wrong
	return nil, err
}

// unwanted is a string in JSON, or null, that is checked and not decoded.
type unwanted struct{}

var errNoString = errors.New("not a string")

// UnmarshalJSON fails where the value, which is sound JSON, is no string and not null.
func (*unwanted) UnmarshalJSON(value []byte) error {
	if value[0] != '"' && value[0] != 'n' {
		return errNoString
	}
	return nil
}

// plainID is the id of a line of an ids file.
func plainID(_ *lineReader, line []byte) ([]byte, error) { return line, nil }

func parseText(l *lineReader, line []byte) (t dataset.Text, err error) {
	const hint = `one object a line: {"_id":"d1","title":"...","text":"..."}`
	if err := json.Unmarshal(line, &t); err != nil {
		return t, l.errorf(hint, "not a JSON object with text fields: %v", excerpt.Error(err))
	}
	if t.ID == "" {
		return t, l.errorf(hint, "no _id")
	}
	return t, nil
}

// textFile is the texts of a corpus or query file, which is read each time some are asked for, up to the last of them.
type textFile struct {
	folder *folder
	name   string
	ids    *dataset.StoredIDs // of its lines
}

var _ dataset.Texts = (*textFile)(nil)

// OfIDs decodes the lines of those ids alone. A line that has another id by now is left out, as if it were not there.
func (x *textFile) OfIDs(ids map[string]bool) (map[string]dataset.Text, error) {
	texts := map[string]dataset.Text{}
	rows, err := x.ids.Rows(ids)
	if err != nil || len(rows) == 0 {
		return texts, err
	}
	wanted := make(map[int]bool, len(rows))
	for _, row := range rows {
		wanted[row] = true
	}
	row, found := -1, 0
	err = x.folder.eachLine(x.name, nil, func(l *lineReader, line []byte) error {
		if row++; !wanted[row] {
			return nil
		}
		t, err := parseText(l, line)
		if err != nil {
			return err
		}
		if ids[t.ID] {
			texts[t.ID] = t
		}
		if found++; found == len(wanted) {
			return errEnough
		}
		return nil
	})
	return texts, err
}
