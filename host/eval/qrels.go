package eval

import (
	"errors"
	"io"
	"path/filepath"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
)

// Judgements are the relevance of documents by query id and document id. A document is relevant where its score is above 0.
type Judgements map[string]map[string]float64

const qrelsHint = "give qrels: lines of query-id, 0, document-id and relevance, separated by spaces or tabs, or query-id, corpus-id and score, separated by tabs"

// LoadQrels reads a file of judgements; see ReadQrels.
func LoadQrels(path string) (_ Judgements, err error) {
	f, err := dataset.OpenFile(path, qrelsHint, oneOf(path))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return ReadQrels(f, path)
}

// oneOf is the hint where path is a folder: to give a file of it. It names the first .tsv file there, or of the folder qrels in it.
func oneOf(path string) string {
	for _, folder := range []string{path, filepath.Join(path, "qrels")} {
		if found, err := filepath.Glob(filepath.Join(folder, "*.tsv")); err == nil && len(found) > 0 {
			return "give one file, such as " + found[0]
		}
	}
	return "give one file"
}

// ReadQrels reads judgements in the format of TREC (four columns separated by tabs or spaces: query, iteration, document, relevance) or of
// BEIR (three separated by tabs: query, document, score; the first line may name them). All lines have the columns of the first. A line that is
// not sound, and a pair with two scores, is a *dataset.Error. name is what messages call the file.
func ReadQrels(r io.Reader, name string) (Judgements, error) {
	var pairs dataset.JudgedPairs
	q := &dataset.Qrels{Path: name}
	var lines dataset.JudgementLines
	err := eachLine(r, name, qrelsHint, func(line int, text []byte) error {
		j, named, problem := lines.Parse(strings.TrimSuffix(string(text), "\r"), line)
		switch {
		case problem != "":
			return lineError(name, line, qrelsHint, "%s", problem)
		case named:
			return nil
		}
		return pairs.Add(q, j)
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
