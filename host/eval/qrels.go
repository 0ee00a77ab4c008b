package eval

import (
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Judgements are the relevance of documents by query id and document id. A document is relevant where its score is above 0.
type Judgements map[string]map[string]float64

const qrelsHint = "give qrels: lines of query-id, 0, document-id and relevance, separated by spaces or tabs, or query-id, corpus-id and score, separated by tabs"

// LoadQrels reads a file of judgements; see ReadQrels.
func LoadQrels(path string) (_ Judgements, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, dataset.ReadError(path, err, qrelsHint)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return ReadQrels(f, path)
}

// ReadQrels reads judgements in the format of TREC (four columns separated by tabs or spaces: query, iteration, document, relevance) or of
// BEIR (three separated by tabs: query, document, score; the first line may name them). All lines have the columns of the first. A line that is
// not sound, and a pair judged twice, is a *dataset.Error. name is what messages call the file.
func ReadQrels(r io.Reader, name string) (Judgements, error) {
	var pairs dataset.JudgedPairs
	q := &dataset.Qrels{Path: name}
	columns := 0
	err := eachLine(r, name, qrelsHint, func(line int, text []byte) error {
		fields := columnsOf(string(text), columns)
		if columns == 0 {
			columns = len(fields)
		}
		if len(fields) != columns || columns != 3 && columns != 4 {
			return lineError(name, line, qrelsHint, "%d columns; expected %s", len(fields), expected(columns))
		}
		relevance := fields[columns-1]
		score, err := strconv.ParseFloat(relevance, 64)
		if err != nil || score-score != 0 {
			if line == 1 && columns == 3 && isHeader(fields) {
				return nil
			}
			return lineError(name, line, qrelsHint, "relevance %s is not a number", excerpt.Quote(relevance))
		}
		if fields[0] == "" || fields[columns-2] == "" {
			return lineError(name, line, qrelsHint, "an id is empty")
		}
		return pairs.Add(q, dataset.Judgement{Query: fields[0], Document: fields[columns-2], Score: score, Line: line})
	})
	if err != nil {
		return nil, err
	}
	if len(q.Judgements) == 0 {
		return nil, dataset.FileError(name, qrelsHint, "there are no judgements")
	}
	judged := Judgements{}
	for _, j := range q.Judgements {
		if judged[j.Query] == nil {
			judged[j.Query] = map[string]float64{}
		}
		judged[j.Query][j.Document] = j.Score
	}
	return judged, nil
}

// columnsOf splits a line: at tabs where that gives the three columns of BEIR, whose ids may have spaces, and else at all white space. known is
// how many columns the lines before have, or 0.
func columnsOf(line string, known int) []string {
	if fields := strings.Split(strings.TrimSuffix(line, "\r"), "\t"); len(fields) == 3 && known != 4 {
		fields[2] = strings.TrimSpace(fields[2])
		return fields
	}
	return strings.Fields(line)
}

func expected(columns int) string {
	if columns == 3 || columns == 4 {
		return strconv.Itoa(columns) + ", as in the lines before"
	}
	return "4 (TREC), or 3 separated by tabs (BEIR)"
}

// isHeader reports whether a line of BEIR's columns is their names.
func isHeader(fields []string) bool {
	return fields[0] == "query-id" || slices.Contains([]string{"score", "relevance", "rel", "label"}, strings.ToLower(fields[2]))
}
