package eval

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Run is what a system retrieved: a ranking of documents for each query.
type Run struct {
	Path     string              // what messages call it
	Rankings map[string][]string // document ids by query id, the best first
}

// retrieved is a line of a run.
type retrieved struct {
	document string
	score    float32
	line     int
}

const runHint = "a line has six columns separated by spaces or tabs: query-id Q0 document-id rank score tag"

// LoadRun reads a TREC run file; see ReadRun.
func LoadRun(path string) (_ *Run, err error) {
	f, err := dataset.OpenFile(path, "give a TREC run file", "give one TREC run file")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return ReadRun(f, path)
}

// ReadRun reads a TREC run: lines of query id, a word, document id, rank, score and tag. The order is that of the scores, as in trec_eval,
// which does not look at the ranks: the highest score first; of equal scores, the document id that is last in the order of bytes. Scores are
// rounded to float32 before they are compared, as trec_eval holds them. A line that is not sound, and a document that a query has twice, is a
// *dataset.Error. name is what messages call the run.
func ReadRun(r io.Reader, name string) (*Run, error) {
	found := map[string][]retrieved{}
	documents := map[string]string{} // one copy of each id: a document is found for many queries
	err := eachLine(r, name, runHint, func(line int, text []byte) error {
		columns := bytes.Fields(text)
		if len(columns) != 6 {
			return lineError(name, line, runHint, "%d columns; expected 6", len(columns))
		}
		score, err := strconv.ParseFloat(string(columns[4]), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(score) {
			return lineError(name, line, runHint, "score %s is not a number", excerpt.Quote(columns[4]))
		}
		document, ok := documents[string(columns[2])]
		if !ok {
			document = string(columns[2])
			documents[document] = document
		}
		query := string(columns[0])
		found[query] = append(found[query], retrieved{document, float32(score), line})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, dataset.FileError(name, runHint, "the run is empty")
	}
	run := &Run{Path: name, Rankings: make(map[string][]string, len(found))}
	twice := (*dataset.Error)(nil)
	for query, list := range found {
		if e := repeated(name, query, list); e != nil && (twice == nil || e.Line < twice.Line) {
			twice = e
		}
		run.Rankings[query] = ranking(list)
	}
	if twice != nil {
		return nil, twice
	}
	return run, nil
}

// repeated is the error at the first line that gives a document of the query once more, or nil. It sorts the list.
func repeated(name, query string, list []retrieved) (first *dataset.Error) {
	slices.SortFunc(list, func(a, b retrieved) int {
		return cmp.Or(strings.Compare(a.document, b.document), cmp.Compare(a.line, b.line))
	})
	for i := 1; i < len(list); i++ {
		if a, b := list[i-1], list[i]; a.document == b.document && (first == nil || b.line < first.Line) {
			first = lineError(name, b.line, "keep one of the lines", "query %s has document %s twice, first in line %d",
				excerpt.Quote(query), excerpt.Quote(b.document), a.line)
		}
	}
	return first
}

// ranking puts the documents in the order of trec_eval.
func ranking(list []retrieved) []string {
	slices.SortFunc(list, func(a, b retrieved) int {
		return cmp.Or(cmp.Compare(b.score, a.score), strings.Compare(b.document, a.document))
	})
	ids := make([]string, len(list))
	for i, r := range list {
		ids[i] = r.document
	}
	return ids
}

// maxLine is the longest line that is read, in bytes.
const maxLine = 1 << 20

// eachLine calls do for each line that is not blank, until do fails. Lines count from 1.
func eachLine(r io.Reader, name, hint string, do func(line int, text []byte) error) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLine)
	line := 0
	for scanner.Scan() {
		line++
		text := scanner.Bytes()
		if line == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if err := do(line, text); err != nil {
			return err
		}
	}
	if err := scanner.Err(); errors.Is(err, bufio.ErrTooLong) {
		return lineError(name, line+1, hint, "longer than %d bytes", maxLine)
	} else if err != nil {
		return &dataset.Error{Path: name, Line: line + 1, Row: -1, Problem: err.Error(), Hint: hint, Err: err}
	}
	return nil
}

func lineError(name string, line int, hint, format string, args ...any) *dataset.Error {
	return &dataset.Error{Path: name, Line: line, Row: -1, Problem: fmt.Sprintf(format, args...), Hint: hint}
}
