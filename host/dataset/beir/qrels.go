package beir

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// readQrels reads all files of qrels/, in the order of their names. A pair given twice, in whichever files, is an
// error.
func (f *folder) readQrels() (qrels []*dataset.Qrels, err error) {
	entries, err := fs.ReadDir(f.fsys, "qrels")
	if err != nil {
		return nil, dataset.ReadError(f.path("qrels"), err, qrelsHint)
	}
	var judged dataset.JudgedPairs
	for _, entry := range entries {
		split, ok := strings.CutSuffix(entry.Name(), ".tsv")
		if !ok || entry.IsDir() {
			continue
		}
		q, err := f.readJudgements("qrels/"+entry.Name(), split, &judged)
		if err != nil {
			return nil, err
		}
		qrels = append(qrels, q)
	}
	if len(qrels) == 0 {
		return nil, dataset.FileError(f.path("qrels"), qrelsHint, "there is no .tsv file")
	}
	return qrels, nil
}

// ReadJudgements reads a file like those of qrels/, wherever it is, for dataset.Dataset.Judge. Its name there is that of the file without .tsv.
func ReadJudgements(path string) (*dataset.Qrels, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, dataset.ReadError(path, err, judgementsHint)
	} else if info.IsDir() {
		return nil, dataset.FileError(path, judgementsHint, "a folder, not a file")
	}
	f := &folder{fsys: os.DirFS(filepath.Dir(path)), root: filepath.Dir(path)}
	name := filepath.Base(path)
	return f.readJudgements(name, strings.TrimSuffix(name, ".tsv"), &dataset.JudgedPairs{})
}

// readJudgements reads one file.
func (f *folder) readJudgements(name, split string, judged *dataset.JudgedPairs) (q *dataset.Qrels, err error) {
	q = &dataset.Qrels{Split: split, Path: f.path(name)}
	q.SHA256, err = f.readLines(name, func(l *lineReader, line []byte) error {
		j, header, err := parseJudgement(l, string(line))
		if err != nil || header {
			return err
		}
		return judged.Add(q, j)
	})
	return q, err
}

// judgementsHint is what a file of judgements is.
const judgementsHint = "give a file of lines query-id, corpus-id, score, separated by tabs, as quarry report's page saves it"

// scoreHeadings are what a header calls the third column.
var scoreHeadings = []string{"score", "relevance", "rel", "label"}

// parseJudgement reads a line; the first may be a header.
func parseJudgement(l *lineReader, line string) (j dataset.Judgement, header bool, err error) {
	const hint = "a line is query-id, corpus-id and score, separated by tabs"
	fields := strings.Split(line, "\t")
	if len(fields) != 3 {
		return j, false, l.errorf(hint, "%d fields separated by tabs; expected 3", len(fields))
	}
	score, err := strconv.ParseFloat(strings.TrimSpace(fields[2]), 64)
	if err != nil || score-score != 0 {
		if l.line == 1 && slices.Contains(scoreHeadings, strings.ToLower(strings.TrimSpace(fields[2]))) {
			return j, true, nil
		}
		return j, false, l.errorf(hint, "score %s is not a number", excerpt.Quote(fields[2]))
	}
	if fields[0] == "" || fields[1] == "" {
		return j, false, l.errorf(hint, "an id is empty")
	}
	return dataset.Judgement{Query: fields[0], Document: fields[1], Score: score, Line: l.line}, false, nil
}
