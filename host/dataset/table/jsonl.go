package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// jsonlFile is a file with one JSON object in each line, compressed with gzip where its name ends in .gz. Its columns are the
// fields of the first line. Numbers are read as float32.
type jsonlFile struct {
	path    string
	file    lines.File
	columns []Column
}

const jsonlHint = `one object a line: {"_id":"d1","embedding":[0.1,0.2]}`

func openJSONL(fsys fs.FS, name, path string) (Table, error) {
	j := &jsonlFile{path: path, file: lines.File{FS: fsys, Name: name, Path: path}}
	err := j.eachLine(func(line int, object map[string]json.RawMessage) error {
		for field, value := range object {
			c := Column{Name: field}
			switch value[0] {
			case '"':
				c.Kind = Texts
			case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
				c.Kind = Numbers
			case '[':
				if _, err := vectorOf(value, nil); err == nil {
					c.Kind, c.DType = Vectors, safetensors.F32
				}
			}
			j.columns = append(j.columns, c)
		}
		return lines.ErrEnough
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(j.columns, func(a, b Column) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return j, nil
}

// eachLine calls f with the object of each line that is not empty.
func (j *jsonlFile) eachLine(f func(line int, object map[string]json.RawMessage) error) error {
	return j.file.Each(nil, func(l *lines.Reader, line []byte) error {
		var object map[string]json.RawMessage
		if err := lines.Unmarshal(line, &object); err != nil || object == nil {
			return l.Errorf(jsonlHint, "not a JSON object: %.80q", line)
		}
		return f(l.Number, object)
	})
}

func (j *jsonlFile) Columns() []Column { return j.columns }
func (j *jsonlFile) Close() error      { return nil }

var errNoVector = errors.New("not an array of numbers")

// vectorOf reads an array of numbers, and appends them to b as float32. A number is rounded once, to the nearest float32.
func vectorOf(value json.RawMessage, b []byte) ([]byte, error) {
	if bytes.IndexByte(value, 'n') >= 0 { // null, which json reads as no change
		return nil, errNoVector
	}
	var numbers []float32
	if err := json.Unmarshal(value, &numbers); err != nil {
		return nil, errNoVector
	}
	for _, x := range numbers {
		u := math.Float32bits(x)
		b = append(b, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
	}
	return b, nil
}

func (j *jsonlFile) ReadVectors(column string, to To) error {
	if _, err := find(j.path, j.columns, column, true); err != nil {
		return err
	}
	w := &rowWriter{path: j.path, dtype: safetensors.F32, to: to}
	var b []byte
	err := j.eachLine(func(line int, object map[string]json.RawMessage) (err error) {
		w.line = line
		value, ok := object[column]
		if !ok {
			return w.errorf(jsonlHint, "there is no field %s", excerpt.Quote(column))
		}
		if b, err = vectorOf(value, b[:0]); err != nil {
			return w.errorf(jsonlHint, "field %s is not an array of numbers", excerpt.Quote(column))
		}
		if err := w.add(b); err != nil {
			return err
		}
		return w.end()
	})
	if err != nil {
		return err
	}
	return w.flush()
}

func (j *jsonlFile) ReadTexts(column string, f func(line int, texts [][]byte) error) error {
	if _, err := find(j.path, j.columns, column, false); err != nil {
		return err
	}
	return j.eachLine(func(line int, object map[string]json.RawMessage) error {
		value, text := object[column], ""
		if len(value) == 0 || value[0] == 'n' {
			return f(line, nil)
		}
		if value[0] == '"' {
			if err := json.Unmarshal(value, &text); err != nil {
				return err // eachLine has read the line
			}
			return f(line, [][]byte{[]byte(text)})
		}
		var number json.Number
		if err := json.Unmarshal(value, &number); err != nil || number == "" {
			e := dataset.FileError(j.path, jsonlHint, "field %s is no text and no number", excerpt.Quote(column))
			e.Line = line
			return e
		}
		return f(line, [][]byte{[]byte(number)})
	})
}
