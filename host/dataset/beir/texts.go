package beir

import (
	"bytes"
	"cmp"
	"errors"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// readIDs reads the ids of a file, whose members may be renamed; id gives that of a line. A file without ids is an error.
func (f *folder) readIDs(name string, members lines.Names, id func(l *lines.Reader, line []byte) ([]byte, error)) (*dataset.StoredIDs, error) {
	ids, err := dataset.NewIDs(f.path(name), func(each func(int, []byte) error) (string, error) {
		unseen := members.Unseen()
		sum, err := f.file(name).Read(func(l *lines.Reader, line []byte) error {
			line, err := members.Apply(line, unseen)
			if err != nil {
				return noText(l, textHint, err)
			}
			id, err := id(l, line)
			if err != nil {
				return err
			}
			return each(l.Number, id)
		})
		if err == nil {
			err = unseen.Check(f.path(name))
		}
		if err != nil {
			return "", err
		}
		return members.Fingerprint(sum)
	})
	if err == nil && ids.Len() == 0 {
		return nil, errors.Join(dataset.FileError(f.path(name), "it needs a line for each text", "the file is empty"), ids.Close())
	}
	return ids, err
}

// parse reads a line of the file.
func (x textsFile) parse(l *lines.Reader, line []byte) (t dataset.Text, err error) {
	if x.table {
		return parseRow(l, line)
	}
	if line, err = x.members.Apply(line, nil); err != nil {
		return t, noText(l, textHint, err)
	}
	return x.text(l, line)
}

// id is the id of a line of the file, whose members have been renamed. The line must be one that parse reads. Its texts are not
// decoded, which takes a third of the time.
func (x textsFile) id(l *lines.Reader, line []byte) ([]byte, error) {
	if x.table {
		return rowID(l, line)
	}
	var t struct {
		textIDs
		Title unwanted `json:"title"`
		Text  unwanted `json:"text"`
	}
	if err := lines.Unmarshal(line, &t); err == nil && t.id().Problem("_id") == "" {
		return []byte(t.id().Text), nil
	}
	_, err := x.text(l, line) // says what is wrong
	return nil, err
}

// textIDs are the members of a line that may be its id.
type textIDs struct {
	ID    lines.ID `json:"_id"`
	Other lines.ID `json:"id"`
}

// id is that of the line: _id, or id where there is no _id.
func (t *textIDs) id() *lines.ID {
	if t.ID == (lines.ID{}) && t.Other.Text != "" {
		return &t.Other
	}
	return &t.ID
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
func plainID(_ *lines.Reader, line []byte) ([]byte, error) { return line, nil }

const textHint = `one object a line: {"_id":"d1","title":"...","text":"..."}`

// noText is the error of a line that is not the JSON that was expected.
func noText(l *lines.Reader, hint string, err error) error {
	return l.Errorf(hint, "not a JSON object with text fields: %v", excerpt.Error(err))
}

// text reads a line of JSON, whose members have been renamed.
func (x textsFile) text(l *lines.Reader, line []byte) (t dataset.Text, err error) {
	var members struct {
		textIDs
		Title  string         `json:"title"`
		Text   string         `json:"text"`
		Source dataset.Source `json:"metadata"`
	}
	hint := textHint
	if len(x.members) > 0 {
		hint = "correct the line, or the names of members in " + choicesFile
	}
	if err := lines.Unmarshal(line, &members); err != nil {
		return t, noText(l, hint, err)
	}
	id := members.id()
	if problem := id.Problem(cmp.Or(x.members["_id"], "_id")); problem != "" {
		return t, l.Errorf(hint, "%s", problem)
	}
	return dataset.Text{ID: id.Text, Title: members.Title, Text: members.Text, Source: members.Source}, nil
}

// parseRow reads a line of MS MARCO's collection.tsv or queries.tsv.
func parseRow(l *lines.Reader, line []byte) (t dataset.Text, err error) {
	id, text, tab := bytes.Cut(line, []byte("\t"))
	switch {
	case !tab:
		return t, l.Errorf(rowHint, "there is no tab")
	case len(id) == 0:
		return t, l.Errorf(rowHint, "the id is empty")
	case bytes.IndexByte(text, '\t') >= 0:
		return t, l.Errorf(rowHint, "there are more than two columns")
	}
	return dataset.Text{ID: string(id), Text: string(text)}, nil
}

const rowHint = "a line is id and text, separated by one tab"

// rowID is the id of a line that parseRow reads.
func rowID(l *lines.Reader, line []byte) ([]byte, error) {
	t, err := parseRow(l, line)
	return []byte(t.ID), err
}

// textFile is the texts of a corpus or query file, which is read each time some are asked for, up to the last of them.
type textFile struct {
	folder *folder
	name   string
	ids    *dataset.StoredIDs // of its lines
	parse  func(l *lines.Reader, line []byte) (dataset.Text, error)
}

var _ dataset.Texts = (*textFile)(nil)

// OfIDs decodes the lines of those ids alone. A line that has another id by now is left out, as if it were not there.
func (x *textFile) OfIDs(ids map[string]bool) (map[string]dataset.Text, error) {
	return dataset.TextsOfIDs(x, x.ids, ids)
}

// EachRow decodes the lines of those rows alone, up to the last of them.
func (x *textFile) EachRow(rows map[int]bool, f func(row int, t dataset.Text) error) error {
	row, found := -1, 0
	return x.folder.file(x.name).Each(nil, func(l *lines.Reader, line []byte) error {
		if row++; rows != nil && !rows[row] {
			return nil
		}
		t, err := x.parse(l, line)
		if err != nil {
			return err
		}
		if err := f(row, t); err != nil {
			return err
		}
		if found++; rows != nil && found == len(rows) {
			return lines.ErrEnough
		}
		return nil
	})
}
