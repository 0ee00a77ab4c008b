package pairs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
	"github.com/quarry-hn/quarry/host/dataset/table"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

const tableHint = `a row has texts in query, positive and negative, with anchor for query and answer for positive, or in query, pos and neg; texts.json names other columns (docs/FORMATS.md)`

// holds is what the columns hold that are read as what a pair has.
var holds = [3]string{"a text in each row", "a text or a list of texts in each row", "a text or a list of texts in each row, or none"}

// columns are those of a table that are read, in the order in which the texts of a row are taken.
func (s Split) columns(t table.Table, path string) (read []column, err error) {
	var all []string
	for _, c := range t.Columns() {
		all = append(all, c.Name)
	}
	there := excerpt.Text(strings.Join(all, ", "))
	for _, chosen := range slices.Sorted(maps.Values(s.Members)) {
		if chosen != "" && !slices.Contains(all, chosen) {
			return nil, dataset.FileError(path, "correct its name in texts.json", "there is no column %s; there are: %s", excerpt.Quote(chosen), there)
		}
	}
	read = s.read(all)
	for _, to := range []int{queryTexts, positiveTexts} {
		if !slices.ContainsFunc(read, func(c column) bool { return c.to == to }) {
			return nil, dataset.FileError(path, tableHint, "there is no column %s; there are: %s", strings.Join(names[to], " or "), there)
		}
	}
	for _, r := range read {
		c := t.Columns()[slices.Index(all, r.name)]
		if c.Kind != table.Texts && (c.Kind != table.Lists || r.to == queryTexts) {
			return nil, dataset.FileError(path, tableHint, "column %s is of type %s; it holds %s", excerpt.Quote(c.Name), c.Type, holds[r.to])
		}
	}
	return read, nil
}

// withTable calls do with an open table, and the columns that are read.
func (s Split) withTable(file File, do func(t table.Table, read []column) error) error {
	t, err := table.Open(file.Format, file.FS, file.Name, file.Path)
	if err != nil {
		return err
	}
	read, err := s.columns(t, file.Path)
	if err == nil {
		err = do(t, read)
	}
	return errors.Join(err, t.Close())
}

func (s Split) eachRow(file File, unseen lines.Unseen, do func(line int, p pair) error) error {
	return s.withTable(file, func(t table.Table, read []column) error {
		clear(unseen) // columns has found them all
		var names []string
		for _, c := range read {
			names = append(names, c.name)
		}
		row := 0
		problem := func(format string, args ...any) error {
			e := dataset.FileError(file.Path, tableHint, format, args...)
			e.Row = row
			return e
		}
		return table.ReadLists(t, file.Path, names, func(_ int, lists [][][]byte) error {
			var p pair
			for i, texts := range lists {
				for _, text := range texts {
					if !utf8.Valid(text) {
						return problem("column %s: not UTF-8: %.80q", excerpt.Quote(names[i]), text)
					}
					if len(text) > 0 {
						p[read[i].to] = append(p[read[i].to], string(text))
					}
				}
			}
			if missing := s.problem(p); missing != "" {
				return problem("%s", missing)
			}
			row++
			return do(0, p)
		})
	})
}

// Explain says how the pairs are read: how many parts there are, and of tables the format and the columns.
func (s Split) Explain() (text string, err error) {
	text = "pairs of split " + s.Name
	if len(s.Files) > 1 {
		text += fmt.Sprintf(", %d parts", len(s.Files))
	}
	if first := s.Files[0]; isTable(first.Format) {
		err = s.withTable(first, func(_ table.Table, read []column) error {
			var names []string
			for _, c := range read {
				names = append(names, excerpt.Quote(c.name))
			}
			text += fmt.Sprintf(", %s, columns %s", first.Format, strings.Join(names, ", "))
			return nil
		})
	}
	return text, err
}
