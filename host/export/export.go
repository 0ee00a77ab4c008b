// Package export writes mined negatives in the formats of the libraries that train with them.
//
// Input: pairs with negatives, and the data set that they were mined from, for its texts. Output: lines of JSON or of
// tabs, or a Parquet file. Package host and the command line's quarry export call it.
package export

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
)

// What becomes of a row that has fewer negatives than Options.Negatives.
const (
	ShortKeep = "keep"
	ShortDrop = "drop"
)

// Options say what to write. The zero value is a triplet for each negative, with texts.
type Options struct {
	Format    string  // a name in Formats; empty means "triplet"
	Separator string  // what joins a document's title and text
	IDs       bool    // write ids for texts; the data set may be nil then
	Scores    bool    // write the cosines of query and document too, where the format has a place for them
	Negatives int     // of a row at most, the nearest to the query first; 0 means all
	Ranks     [2]int  // take negatives of these ranks alone, from 1, both ends included; zero means all
	Short     string  // ShortKeep or ShortDrop: rows with fewer negatives than Negatives; empty means drop for n-tuple, and else keep
	Seed      *uint64 // of the order of the lines; nil means the order of the pairs
	Parquet   bool    // write a Parquet file, with a column for each member and a row for each line, where the format has columns
}

// Written counts what was written.
type Written struct {
	Lines   int `json:"lines"`
	Pairs   int `json:"pairs"`             // that were given
	Rows    int `json:"rows"`              // that lines were written of: pairs, or queries where the format puts the pairs of one together
	None    int `json:"without_negatives"` // rows without a negative, which are left out
	Short   int `json:"short"`             // rows with fewer negatives than Wanted; they are dropped or kept, as the options say
	Wanted  int `json:"wanted"`            // negatives that a row is to have; 0 where nothing is said
	Dropped int `json:"dropped"`           // of those that are short

	merged bool // a row is a query
}

// Validate reports all that is wrong with the options.
func (o Options) Validate() error {
	_, _, err := o.withDefaults()
	return err
}

func (o Options) withDefaults() (Options, *Format, error) {
	var errs option.Problems
	errs.OneOf("format", &o.Format, Names()...)
	f := lookup(o.Format)
	if f != nil && o.Short == "" && f.fixed {
		o.Short = ShortDrop
	}
	errs.OneOf("short", &o.Short, ShortKeep, ShortDrop)
	errs.Check(o.Negatives >= 0, "negatives is %d; it is 1 or more, or 0 for all", o.Negatives)
	errs.Check(o.Ranks == [2]int{} || 1 <= o.Ranks[0] && o.Ranks[0] <= o.Ranks[1], "ranks go from %d to %d; they go from 1, the first one first", o.Ranks[0], o.Ranks[1])
	errs.Check(f == nil || !o.Scores || f.scores, "format %s has no place for scores", o.Format)
	errs.Check(f == nil || !o.Parquet || f.columns, "format %s is no table: it is not written as Parquet", o.Format)
	return o, f, errs.Err()
}

// document is a document of a row, with its cosine to the query.
type document struct {
	id    string
	score float64
}

// row is a query with positives and negatives: of a pair, or of all pairs of the query.
type row struct {
	query                string // id
	positives, negatives []document
}

// Write writes pairs in a format. texts come from data. An id that data does not have is a *dataset.Error, and so is that no query
// that is written has a text, or no document.
func Write(data *dataset.Dataset, pairs []negatives.Pair, o Options, w io.Writer) (*Written, error) {
	o, f, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(pairs, func(p negatives.Pair) bool { return p.Unmeasured }); o.Scores && i >= 0 {
		return nil, fmt.Errorf("%w: line %d of the negatives has no d_q_pd, or a negative without d_q_d, and scores are made of them\n  hint: leave --scores out", option.ErrOption, i+1)
	}
	texts := &negatives.Texts{}
	if !o.IDs {
		if texts, err = negatives.TextsOf(data, pairs); err != nil {
			return nil, err
		}
	}
	done := &Written{Pairs: len(pairs), Wanted: o.Negatives, merged: f.merges}
	rows := o.cut(rowsOf(pairs, o.Ranks, f.merges), f, done)
	done.Rows = len(rows)
	if !o.IDs && len(rows) > 0 {
		if err := checkTexts(data, texts, rows); err != nil {
			return nil, err
		}
	}
	type place struct{ row, line int }
	var lines []place
	for i := range rows {
		for line := range f.lines(&rows[i]) {
			lines = append(lines, place{i, line})
		}
	}
	if o.Seed != nil {
		rand.New(rand.NewPCG(*o.Seed, 0)).Shuffle(len(lines), func(a, b int) { lines[a], lines[b] = lines[b], lines[a] })
	}
	e := &encoder{Options: o, texts: texts, to: bufio.NewWriter(w), wanted: done.Wanted}
	if o.Parquet {
		e.table = &table{to: e.to}
	}
	before, between, after := "", "\n", "\n"
	switch {
	case f.array:
		before, between, after = "[\n", ",\n", "\n]\n"
	case o.Parquet || len(lines) == 0:
		between, after = "", ""
	}
	e.write(before)
	for i, at := range lines {
		if i > 0 {
			e.write(between)
		}
		f.write(e, &rows[at.row], at.line)
		if e.err != nil {
			return done, e.err
		}
		done.Lines++
	}
	e.write(after)
	if o.Parquet && e.err == nil {
		e.err = e.table.close()
	}
	return done, cmp.Or(e.err, e.to.Flush())
}

// checkTexts fails where no query of the rows has a text, or no document: their members have other names than those that are read.
func checkTexts(data *dataset.Dataset, texts *negatives.Texts, rows []row) error {
	blank := func(side dataset.Side, what string) error {
		return dataset.FileError(side.Name(), "name the members that hold the texts in texts.json, or write ids with --ids", "no %s of the negatives has a text", what)
	}
	if !slices.ContainsFunc(rows, func(r row) bool { return texts.Queries[r.query].Text != "" }) {
		return blank(data.Queries, "query")
	}
	has := func(d document) bool { return texts.Document(d.id, "") != "" }
	if !slices.ContainsFunc(rows, func(r row) bool {
		return slices.ContainsFunc(r.positives, has) || slices.ContainsFunc(r.negatives, has)
	}) {
		return blank(data.Documents, "document")
	}
	return nil
}

// errNoRows is that of a Parquet file that would have no rows.
var errNoRows = errors.New("no pair has a negative to write, and a Parquet file needs a row")

// rowsOf makes a row of each pair, or of all pairs of a query where merged is true. Of the negatives it takes those of
// the ranks.
func rowsOf(pairs []negatives.Pair, ranks [2]int, merged bool) (rows []row) {
	at := map[string]int{}
	for _, p := range pairs {
		i, ok := at[p.QueryID]
		if !ok || !merged {
			i = len(rows)
			at[p.QueryID] = i
			rows = append(rows, row{query: p.QueryID})
		}
		r := &rows[i]
		r.positives = append(r.positives, document{p.PositiveID, 1 - p.DQPD})
		for _, n := range p.Negatives {
			if ranks == [2]int{} || ranks[0] <= n.Rank && n.Rank <= ranks[1] {
				r.negatives = append(r.negatives, document{n.ID, 1 - n.DQD})
			}
		}
	}
	if merged {
		for i := range rows {
			rows[i].negatives = merge(rows[i].negatives)
		}
	}
	return rows
}

// merge puts the nearest to the query first, and leaves out documents that are there already.
func merge(found []document) []document {
	slices.SortStableFunc(found, func(a, b document) int { return cmp.Compare(b.score, a.score) })
	seen := map[string]bool{}
	return slices.DeleteFunc(found, func(d document) bool {
		again := seen[d.id]
		seen[d.id] = true
		return again
	})
}

// cut takes the first negatives of each row, and leaves rows out that have none or, where the options say so, too few.
func (o Options) cut(rows []row, f *Format, done *Written) []row {
	if f.fixed && done.Wanted == 0 {
		for _, r := range rows {
			done.Wanted = max(done.Wanted, len(r.negatives))
		}
	}
	for i, r := range rows {
		if o.Negatives > 0 {
			rows[i].negatives = r.negatives[:min(o.Negatives, len(r.negatives))]
		}
	}
	return slices.DeleteFunc(rows, func(r row) bool {
		if len(r.negatives) == 0 {
			done.None++
			return true
		}
		if len(r.negatives) < done.Wanted {
			done.Short++
			if o.Short == ShortDrop {
				done.Dropped++
				return true
			}
		}
		return false
	})
}

// Unit is what a row is: "pairs" or "queries".
func (w *Written) Unit() string {
	if w.merged {
		return "queries"
	}
	return "pairs"
}

// Says tells what became of rows with no or few negatives, in words; it is empty where there is nothing to say.
func (w *Written) Says() string {
	var says []string
	if w.None > 0 {
		says = append(says, fmt.Sprintf("%d %s have no negative to write and were left out", w.None, w.Unit()))
	}
	if w.Short > 0 {
		says = append(says, fmt.Sprintf("%d %s have fewer than %d negatives: %d were dropped, %d were kept", w.Short, w.Unit(), w.Wanted, w.Dropped, w.Short-w.Dropped))
	}
	return strings.Join(says, "\n")
}
