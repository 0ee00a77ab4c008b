package postgres

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// relation is a table or a query of the database.
type relation struct {
	Source
	*importer
	flag    string   // of the command line, that names it
	name    string   // what messages call it
	sql     string   // what stands after from
	columns []column // in their order
}

// column is a column of a relation.
type column struct {
	name string
	kind string // one of kinds; empty for all others
}

// The types of columns that are told from others: those that models are of, and those that hold vectors and are not read.
const (
	vectorKind = "vector"
	halfKind   = "halfvec"
)

var kinds = []string{vectorKind, halfKind, "sparsevec", "bit", "varbit"}

// sql is the column's name as an identifier.
func (c column) sql() string { return identifier(c.name) }

func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// isQuery tells a query from the name of a table.
var isQuery = regexp.MustCompile(`(?i)^\s*(select|with|values|table)\s`).MatchString

// relation finds out which columns a source has.
func (i *importer) relation(ctx context.Context, flag string, s Source) (*relation, error) {
	r := &relation{Source: s, importer: i, flag: flag}
	if isQuery(s.From) {
		r.name = "the query of --" + flag
		r.sql = "(" + strings.TrimRight(s.From, "; \t\r\n") + "\n) as rows" // on a line of its own, since the query may end with a comment
	} else {
		var parts []string
		for _, part := range strings.Split(s.From, ".") {
			parts = append(parts, identifier(part))
		}
		r.name, r.sql = "table "+excerpt.Text(s.From), strings.Join(parts, ".")+" as rows"
	}
	description, err := i.conn.Prepare(ctx, "", "select * from "+r.sql, nil)
	if err != nil {
		return nil, failure(r.name, err)
	}
	for _, field := range description.Fields {
		r.columns = append(r.columns, column{field.Name, i.types[field.DataTypeOID]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Columns)) {
		if _, ok := r.find(name); !ok {
			return nil, r.missing(name)
		}
	}
	return r, nil
}

// nameOf is what a column is read as: its own name, unless it was renamed.
func (r *relation) nameOf(c column) (name string, renamed bool) {
	for name, own := range r.Columns {
		if own == c.name {
			return name, true
		}
	}
	return c.name, false
}

// own is the name of the column that is read as name.
func (r *relation) own(name string) string {
	if own, renamed := r.Columns[name]; renamed {
		return own
	}
	return name
}

// find finds the column that is read as name.
func (r *relation) find(name string) (column, bool) {
	at := slices.IndexFunc(r.columns, func(c column) bool {
		as, _ := r.nameOf(c)
		return as == name && c.name == r.own(name)
	})
	if at < 0 {
		return column{}, false
	}
	return r.columns[at], true
}

// need finds a column that there must be.
func (r *relation) need(name string) (column, error) {
	c, ok := r.find(name)
	if !ok {
		return column{}, r.missing(name)
	}
	return c, nil
}

// missing is the error of a column that is not there.
func (r *relation) missing(name string) error {
	var there []string
	for _, c := range r.columns {
		there = append(there, c.name)
	}
	return dataset.FileError(r.name, "say which column it is, as in --"+r.flag+"-columns "+name+"=COLUMN",
		"there is no column %s; there are %s", excerpt.Quote(r.own(name)), excerpt.Text(strings.Join(there, ", ")))
}

// count is how many rows there are. None is an error.
func (r *relation) count(ctx context.Context) (n int, err error) {
	err = r.each(ctx, r.name, "select count(*)::text from "+r.sql, func(row [][]byte) error {
		_, err := fmt.Sscan(string(row[0]), &n)
		return err
	})
	if err == nil && n == 0 {
		err = dataset.FileError(r.name, "fill it first, or name another by --"+r.flag, "it is empty")
	}
	return n, err
}

// inOrder orders rows by ids, as bytes: the same order in every database, whatever its locale.
func inOrder(ids ...column) string {
	var keys []string
	for _, id := range ids {
		keys = append(keys, id.sql()+`::text collate "C"`)
	}
	return " order by " + strings.Join(keys, ", ")
}
