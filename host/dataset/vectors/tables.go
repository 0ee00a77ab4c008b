package vectors

import (
	"errors"
	"slices"
	"sort"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/table"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// idColumns are the columns that hold ids where vectors.json names none.
var idColumns = []string{"_id", "id"}

// withTable calls do with a part that is a table.
func (f *Folder) withTable(s *source, part string, do func(table.Table) error) error {
	t, err := table.Open(s.format, f.fsys, part, f.path(part))
	if err != nil {
		return err
	}
	return errors.Join(do(t), t.Close())
}

// columnsOf are the columns of a table, by its first part.
func (f *Folder) columnsOf(s *source) (columns []table.Column, err error) {
	err = f.withTable(s, s.parts[0], func(t table.Table) error {
		columns = t.Columns()
		return nil
	})
	return columns, err
}

// choose finds the column of the vectors, and that of the ids, which is empty where the rows are in the order of the texts.
func (f *Folder) choose(s *source) (vector, id string, err error) {
	columns, err := f.columnsOf(s)
	if err != nil {
		return "", "", err
	}
	var vectors []string
	for _, c := range columns {
		if c.Kind == table.Vectors {
			vectors = append(vectors, c.Name)
		}
	}
	at := f.path(s.parts[0])
	switch listed := excerpt.Text(strings.Join(vectors, ", ")); {
	case len(vectors) == 0:
		return "", "", dataset.FileError(at, "add a column of lists of float16, float32 or float64, each of one length", "there is no column of vectors")
	case s.spec.Column != "" && !slices.Contains(vectors, s.spec.Column):
		return "", "", dataset.FileError(at, `name one of them as "column" in vectors.json`, "there is no column %s of vectors; there are: %s", excerpt.Quote(s.spec.Column), listed)
	case s.spec.Column != "":
		vector = s.spec.Column
	case slices.Contains(vectors, s.model):
		vector = s.model
	case len(vectors) == 1:
		vector = vectors[0]
	default:
		return "", "", dataset.FileError(at, `name one of them as "column" in vectors.json`, "there are %d columns of vectors, and none has the model's name: %s", len(vectors), listed)
	}
	id, err = s.idColumn(at, columns)
	return vector, id, err
}

// idColumn finds the column of the ids. It is empty where the rows are in the order of the texts. A column of that name whose values
// cannot be ids is an error: that the rows are in the order of the texts would be a guess.
func (s *source) idColumn(at string, columns []table.Column) (string, error) {
	names := idColumns
	if s.spec.ID != nil {
		if names = []string{*s.spec.ID}; *s.spec.ID == "" {
			return "", nil
		}
	}
	var others []string
	for _, name := range names {
		for _, c := range columns {
			switch {
			case c.Name == name && c.IsID():
				return name, nil
			case c.Name == name:
				return "", dataset.FileError(at, `write it as texts or as whole numbers; or name another column as "id" in vectors.json, or "" where the rows are in the order of the texts`,
					"column %s is of type %s, which is not read as ids", excerpt.Quote(name), excerpt.Text(c.Type))
			case c.IsID():
				others = append(others, c.Name)
			}
		}
	}
	if s.spec.ID == nil {
		return "", nil
	}
	return "", dataset.FileError(at, `name one of them as "id" in vectors.json`, "there is no column %s of ids; there are: %s", excerpt.Quote(*s.spec.ID), excerpt.Text(strings.Join(others, ", ")))
}

// checkNoIDs fails where a part that was read has ids, in this part or in a line of it, and the rows before have none.
func (s *source) checkNoIDs(at string, columns []table.Column) error {
	id, err := s.idColumn(at, columns)
	if err != nil || id == "" {
		return err
	}
	e := dataset.FileError(at, `give each row its id; or say "id": "" in vectors.json where the rows are in the order of the texts`, "it has ids in column %s, and the rows before have none", excerpt.Quote(id))
	for _, c := range columns {
		if c.Name == id {
			e.Line = c.Line
		}
	}
	return e
}

// openTables converts the vectors of a table. Where it has ids, they are given in the order of ids, unless those are nil.
func (f *Folder) openTables(s *source, ids dataset.IDs, w dataset.Watch) (_ dataset.Matrix, err error) {
	vector, id, err := f.choose(s)
	if err != nil {
		return nil, err
	}
	var rows []uint32
	if ids != nil && id != "" {
		if rows, err = f.match(s, id, ids); err != nil {
			return nil, err
		}
	}
	to := &stored{name: f.path(s.name), watch: w}
	if ids != nil {
		to.expected = ids.Len()
	}
	defer func() {
		if err != nil && to.StoredRows != nil {
			err = errors.Join(err, to.Close())
		}
	}()
	for _, part := range s.parts {
		to.parts, to.begins = append(to.parts, f.path(part)), append(to.begins, to.rows)
		err := f.withTable(s, part, func(t table.Table) error {
			if err := t.ReadVectors(vector, &storedTo{to}); err != nil || id != "" {
				return err
			}
			return s.checkNoIDs(f.path(part), t.Columns())
		})
		if err != nil {
			return nil, err
		}
	}
	if to.StoredRows == nil {
		return nil, dataset.FileError(f.path(s.name), "make the vectors again", "there are no rows")
	}
	return dataset.Reorder(to, rows), nil
}

// match finds the rows of ids in a table. It is nil where they are in their order.
func (f *Folder) match(s *source, column string, ids dataset.IDs) (rows []uint32, err error) {
	listed, err := dataset.NewIDs(f.path(s.name), func(each func(line int, id []byte) error) (string, error) {
		for _, part := range s.parts {
			err := f.withTable(s, part, func(t table.Table) error {
				return table.ReadRows(t, f.path(part), []string{column}, func(line int, texts [][]byte) error { return each(line, texts[0]) })
			})
			if err != nil {
				return "", err
			}
		}
		return "", nil
	})
	if err != nil {
		return nil, err
	}
	rows, err = dataset.MatchRows(ids, listed)
	return rows, errors.Join(err, listed.Close())
}

// stored is the rows of a table that was converted, and where they were.
type stored struct {
	*dataset.StoredRows // nil until there are rows
	name                string
	parts               []string // paths
	begins              []int    // the first row of each
	rows, expected      int
	watch               dataset.Watch
}

var _ table.To = (*storedTo)(nil)
var _ dataset.Placed = (*stored)(nil)

// Rows is the number of vectors.
func (s *stored) Rows() int { return s.rows }

// Place is the part that a row lies in.
func (s *stored) Place(row int) (string, int) {
	part := sort.Search(len(s.begins), func(i int) bool { return s.begins[i] > row }) - 1
	return s.parts[part], row - s.begins[part]
}

// storedTo takes the rows that a table gives.
type storedTo struct{ *stored }

// Rows takes rows.
func (s *storedTo) Rows(dtype safetensors.DType, width, n int, values []byte) (err error) {
	if err := s.watch.Err(); err != nil {
		return err
	}
	if s.StoredRows == nil && s.watch.Dry {
		s.StoredRows = dataset.CountedRows(s.name, dtype, width, 0)
	} else if s.StoredRows == nil {
		if s.StoredRows, err = dataset.NewStoredRows(s.name, dtype, width); err != nil {
			return err
		}
	}
	if dtype != s.DType() || width != s.Width() {
		return dataset.FileError(s.parts[len(s.parts)-1], "one model makes all parts: make the vectors again", "%d columns of %s; %s has %d of %s", width, dtype, s.parts[0], s.Width(), s.DType())
	}
	s.rows += n
	stage := "convert "
	if s.watch.Dry {
		stage = "check "
	}
	s.watch.Progress.Report(stage+s.name, int64(s.rows), int64(max(s.expected, s.rows)))
	return s.Write(values)
}
