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
		return f.eachLine(name, func(l *lineReader, line []byte) error {
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

// textID is the id of a line of a corpus or query file.
func textID(l *lineReader, line []byte) ([]byte, error) {
	t, err := parseText(l, line)
	return []byte(t.ID), err
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

// textFile is the texts of a corpus or query file, which is read each time some are asked for.
type textFile struct {
	folder *folder
	name   string
}

var _ dataset.Texts = (*textFile)(nil)

func (x *textFile) OfIDs(ids map[string]bool) (map[string]dataset.Text, error) {
	texts := map[string]dataset.Text{}
	_, err := x.folder.eachLine(x.name, func(l *lineReader, line []byte) error {
		t, err := parseText(l, line)
		if ids[t.ID] {
			texts[t.ID] = t
		}
		return err
	})
	return texts, err
}
