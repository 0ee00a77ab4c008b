package dataset

import (
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Judgement is a line of a qrels file.
type Judgement struct {
	Query, Document string // ids
	Score           float64
	Line            int
}

// Qrels are the judgements of one split.
type Qrels struct {
	Split      string // the file's name without .tsv
	Path       string
	Judgements []Judgement // in the file's order
	SHA256     string      // of the file's bytes
}

// readQrels reads all files of qrels/, train first, then by name. A pair given twice, in whichever files, is an error.
func (f *Folder) readQrels() error {
	entries, err := fs.ReadDir(f.fsys, "qrels")
	if err != nil {
		return ReadError(f.path("qrels"), err, qrelsHint)
	}
	type place struct {
		path string
		line int
	}
	seen := map[[2]string]place{}
	for _, entry := range entries {
		split, ok := strings.CutSuffix(entry.Name(), ".tsv")
		if !ok || entry.IsDir() {
			continue
		}
		name := "qrels/" + entry.Name()
		q := &Qrels{Split: split, Path: f.path(name)}
		q.SHA256, err = eachLine(f.fsys, name, q.Path, func(l *lineReader, line []byte) error {
			j, header, err := parseJudgement(l, string(line))
			if err != nil || header {
				return err
			}
			pair := [2]string{j.Query, j.Document}
			if first, twice := seen[pair]; twice {
				return l.errorf("keep one of the lines", "query %q and document %q are judged twice, first in %s, line %d", j.Query, j.Document, first.path, first.line)
			}
			seen[pair] = place{q.Path, l.line}
			q.Judgements = append(q.Judgements, j)
			return nil
		})
		if err != nil {
			return err
		}
		f.Qrels = append(f.Qrels, q)
	}
	if len(f.Qrels) == 0 {
		return fileError(f.path("qrels"), qrelsHint, "there is no .tsv file")
	}
	slices.SortStableFunc(f.Qrels, func(a, b *Qrels) int {
		if (a.Split == "train") != (b.Split == "train") {
			if a.Split == "train" {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Split, b.Split)
	})
	return nil
}

const qrelsHint = "add qrels/train.tsv with lines query-id, corpus-id, score, separated by tabs"

// scoreHeadings are what a header calls the third column.
var scoreHeadings = []string{"score", "relevance", "rel", "label"}

// parseJudgement reads a line; the first may be a header.
func parseJudgement(l *lineReader, line string) (j Judgement, header bool, err error) {
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
		return j, false, l.errorf(hint, "score %q is not a number", fields[2])
	}
	if fields[0] == "" || fields[1] == "" {
		return j, false, l.errorf(hint, "an id is empty")
	}
	return Judgement{Query: fields[0], Document: fields[1], Score: score, Line: l.line}, false, nil
}
