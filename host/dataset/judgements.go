package dataset

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// JudgementHint says what a line of judgements is.
const JudgementHint = "a line is query-id, corpus-id and score, separated by tabs (BEIR), or query, iteration, document and relevance, separated by tabs or spaces (TREC); " +
	"the first line may name the columns: the first as query-id, or the last as score, relevance, rel, label or grade"

// JudgementLines reads the lines of a file of judgements, one after the other. The first line tells the format: three
// columns separated by tabs are BEIR's, whose ids may hold spaces; four separated by tabs or spaces are TREC's, whose
// second column is not looked at. The first line may name the columns, and all lines have the columns of the first. Zero is ready for the first line of a file.
type JudgementLines struct {
	columns int // 0 before the first line
}

// Format names the format that the first line told: "BEIR's three columns" or "TREC's four columns"; "no columns" before it.
func (l *JudgementLines) Format() string {
	return map[int]string{0: "no columns", 3: "BEIR's three columns", 4: "TREC's four columns"}[l.columns]
}

// What a header calls the first column and the last, by heading.
var (
	queryHeadings = []string{"query-id", "queryid", "qid"}
	scoreHeadings = []string{"score", "relevance", "rel", "label", "grade"}
)

// heading is a column's name without the ways in which programs spell it: in quotes, with capitals, with _ for -.
func heading(field string) string {
	return strings.ReplaceAll(strings.ToLower(strings.Trim(strings.TrimSpace(field), `"`)), "_", "-")
}

// Parse reads a line that is not empty, whose number in the file is counted from 1. named is true for a line that names the columns. A
// problem that is not empty says what is wrong with the line.
func (l *JudgementLines) Parse(line string, number int) (j Judgement, named bool, problem string) {
	fields := l.split(line)
	switch {
	case l.columns != 0 && len(fields) != l.columns:
		return j, false, fmt.Sprintf("%d columns; expected %d, as in the lines before", len(fields), l.columns)
	case len(fields) != 4 && (len(fields) != 3 || strings.Count(line, "\t") != 2):
		return j, false, fmt.Sprintf("%d columns; expected 4 (TREC), or 3 separated by tabs (BEIR)", len(fields))
	}
	first := l.columns == 0
	l.columns = len(fields)
	last := strings.TrimSpace(fields[l.columns-1])
	score, err := strconv.ParseFloat(last, 64)
	if err != nil || score-score != 0 {
		if first && last != "" && (slices.Contains(queryHeadings, heading(fields[0])) || slices.Contains(scoreHeadings, heading(last))) {
			return j, true, ""
		}
		return j, false, fmt.Sprintf("score %s is not a number", excerpt.Quote(fields[l.columns-1]))
	}
	j = Judgement{Query: fields[0], Document: fields[l.columns-2], Score: score, Line: number}
	if j.Query == "" || j.Document == "" {
		return j, false, "an id is empty"
	}
	return j, false, ""
}

// split splits a line into columns: at tabs where that gives the three of BEIR, and else at all white space.
func (l *JudgementLines) split(line string) []string {
	if fields := strings.Split(line, "\t"); l.columns == 3 || l.columns == 0 && len(fields) == 3 {
		return fields
	}
	return strings.Fields(line)
}
