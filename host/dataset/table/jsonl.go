package table

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/flat"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// jsonlFile is a file with one JSON object in each line, compressed with gzip or not. Its columns are the fields of the
// first line. Numbers are read as float32.
type jsonlFile struct {
	path    string
	file    *flat.File
	columns []Column
}

const jsonlHint = `one object a line: {"_id":"d1","embedding":[0.1,0.2]}`

func openJSONL(fsys fs.FS, name, path string) (_ Table, err error) {
	file, err := flat.OpenFile(fsys, name, path)
	if err != nil {
		return nil, err
	}
	j := &jsonlFile{path: path, file: file}
	err = j.eachLine(func(line int, object map[string]json.RawMessage) error {
		for field, value := range object {
			switch value[0] {
			case '"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
				j.columns = append(j.columns, Column{Name: field})
			case '[':
				if _, err := vectorOf(value, nil); err == nil {
					j.columns = append(j.columns, Column{Name: field, Vector: true, DType: safetensors.F32})
				}
			}
		}
		return errEnough
	})
	if err != nil && err != errEnough {
		return nil, errors.Join(err, file.Close())
	}
	slices.SortFunc(j.columns, func(a, b Column) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return j, nil
}

// maxLine is the longest line that is read.
const maxLine = 64 << 20

// eachLine calls f with the object of each line that is not empty.
func (j *jsonlFile) eachLine(f func(line int, object map[string]json.RawMessage) error) error {
	var from io.Reader = bufio.NewReaderSize(io.NewSectionReader(j.file, 0, j.file.Bytes), 1<<16)
	if start, _ := from.(*bufio.Reader).Peek(2); string(start) == "\x1f\x8b" {
		z, err := gzip.NewReader(from)
		if err != nil {
			return asError(j.path, "not a whole gzip file", err)
		}
		from = z
	}
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	number := 0
	for lines.Scan() {
		number++
		line := bytes.TrimSpace(bytes.TrimPrefix(lines.Bytes(), []byte("\xef\xbb\xbf")))
		if len(line) == 0 {
			continue
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(line, &object); err != nil || object == nil {
			if lines.Err() != nil {
				break // the line is not whole
			}
			e := dataset.FileError(j.path, jsonlHint, "not a JSON object: %.80q", line)
			e.Line, e.Err = number, err
			return e
		}
		if err := f(number, object); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return &dataset.Error{Path: j.path, Line: number + 1, Row: -1, Problem: excerpt.Text(err.Error()), Hint: "write or copy the file again", Err: err}
	}
	return nil
}

func (j *jsonlFile) Columns() []Column { return j.columns }
func (j *jsonlFile) Close() error      { return j.file.Close() }

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
	if err := find(j.path, j.columns, column, true); err != nil {
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

func (j *jsonlFile) ReadTexts(column string, f func(line int, text []byte) error) error {
	if err := find(j.path, j.columns, column, false); err != nil {
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
			return f(line, []byte(text))
		}
		var number json.Number
		if err := json.Unmarshal(value, &number); err != nil || number == "" {
			e := dataset.FileError(j.path, jsonlHint, "field %s is no text and no number", excerpt.Quote(column))
			e.Line = line
			return e
		}
		return f(line, []byte(number))
	})
}
