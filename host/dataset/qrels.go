package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Judgement is how relevant a document is to a query: not at all where its score is 0 or less.
type Judgement struct {
	Query, Document string // ids
	Score           float64
	Line            int // of the file, from 1, for messages; 0 where there are no lines
}

// Qrels are the judgements of one split. They are held in memory.
type Qrels struct {
	Split      string      // its name; of Dataset.Judged, what Fingerprints calls the judgements
	Path       string      // what messages call it: a file's path
	Judgements []Judgement // in the file's order
	SHA256     string      // of the file's bytes, in hexadecimal
}

// JudgedPairs are the pairs of a query and a document that were judged so far. A format adds the judgements of all
// splits to one of them, split after split, as it reads them. Zero is ready for use.
type JudgedPairs struct {
	first map[[2]string]judgedAt
}

type judgedAt struct {
	path  string
	line  int
	score float64
	in    *Qrels // the split that it was added to last
}

// Add appends a judgement to a split. A pair that has been added before with the same score is the same judgement: a
// split has it once, and each split has it that names it. A pair that has been added with another score, to whichever
// split, is an *Error, and so is an empty id or a score that is not finite.
func (p *JudgedPairs) Add(to *Qrels, j Judgement) error {
	problem := ""
	switch {
	case j.Query == "" || j.Document == "":
		problem = "an id is empty"
	case j.Score-j.Score != 0:
		problem = fmt.Sprintf("score %v is not a number", j.Score)
	}
	if problem != "" {
		return &Error{Path: to.Path, Line: j.Line, Row: -1, Problem: problem}
	}
	pair := [2]string{j.Query, j.Document}
	at, twice := p.first[pair]
	switch {
	case twice && at.score != j.Score:
		e := FileError(to.Path, "keep one of the lines", "query %s and document %s are judged twice, first in %s", excerpt.Quote(j.Query), excerpt.Quote(j.Document), at.path)
		if e.Line = j.Line; at.line > 0 {
			e.Problem += fmt.Sprintf(", line %d", at.line)
		}
		e.Problem += fmt.Sprintf(": the score is %v there and %v here", at.score, j.Score)
		return e
	case twice && at.in == to:
		return nil
	case twice:
		at.in = to
	default:
		at = judgedAt{to.Path, j.Line, j.Score, to}
	}
	if p.first == nil {
		p.first = map[[2]string]judgedAt{}
	}
	p.first[pair] = at
	to.Judgements = append(to.Judgements, j)
	return nil
}

// Relevant gives the judgements of splits that say that a document is relevant, in their order, each with its split. A pair that several splits
// have comes once, with the first.
func Relevant(splits []*Qrels) iter.Seq2[*Qrels, Judgement] {
	return func(yield func(*Qrels, Judgement) bool) {
		seen := map[[2]string]bool{}
		for _, q := range splits {
			for _, j := range q.Judgements {
				pair := [2]string{j.Query, j.Document}
				if j.Score <= 0 || seen[pair] {
					continue
				}
				if len(splits) > 1 {
					seen[pair] = true
				}
				if !yield(q, j) {
					return
				}
			}
		}
	}
}

// Judge adds judgements beside those of the splits, such as marks that a reader made. They may repeat what the splits say. Two of one name are an
// *Error.
func (d *Dataset) Judge(q *Qrels) error {
	for _, other := range d.Judged {
		if other.Split == q.Split {
			return FileError(q.Path, "give one of them another name", "%s gives judgements of the name %s too", other.Path, excerpt.Quote(q.Split))
		}
	}
	d.Judged = append(d.Judged, q)
	return nil
}

// WithJudgements returns a data set that has, of a split ("all" for every one), those judgements alone that keep says, and
// all of the other splits. It reads the ids, vectors and texts of the data set that it is made of, which stays the one to close.
func (d *Dataset) WithJudgements(split string, keep func(Judgement) bool) *Dataset {
	own := *d
	own.Qrels = slices.Clone(d.Qrels)
	for i, q := range own.Qrels {
		if split != "all" && split != q.Split {
			continue
		}
		left := &Qrels{Split: q.Split, Path: q.Path}
		sum := sha256.New()
		for _, j := range q.Judgements {
			if keep(j) {
				left.Judgements = append(left.Judgements, j)
				fmt.Fprintf(sum, "%s\t%s\t%v\n", j.Query, j.Document, j.Score)
			}
		}
		left.SHA256 = hex.EncodeToString(sum.Sum(nil))
		own.Qrels[i] = left
	}
	return &own
}

// CompareSplits orders the names of splits: train comes first, then all others by name.
func CompareSplits(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "train":
		return -1
	case b == "train":
		return 1
	}
	return strings.Compare(a, b)
}
