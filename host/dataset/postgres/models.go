package postgres

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// models are the columns of vectors, in the order of their models' names: those that are wanted, or all where none is named.
func (r *relation) models(wanted []string) (models []*vectors, err error) {
	for _, c := range r.columns {
		name, renamed := r.nameOf(c)
		switch {
		case len(wanted) > 0 && !slices.Contains(wanted, name):
			continue
		case len(wanted) == 0 && c.kind == "" && !renamed, slices.Contains(textColumns, name):
			continue // an ordinary column
		}
		if err := r.checkModel(c, name); err != nil {
			return nil, err
		}
		if hasModel(models, name) {
			return nil, dataset.FileError(r.name, "give one of them another name by --"+r.flag+"-columns", "two columns are to be model %s", excerpt.Quote(name))
		}
		models = append(models, &vectors{name: name, column: c})
	}
	for _, name := range wanted {
		if !hasModel(models, name) {
			return nil, r.missing(name)
		}
	}
	if len(models) == 0 {
		return nil, dataset.FileError(r.name, "add a column of vectors; or cast what holds them in a query, as in --"+r.flag+" 'select id, embedding::vector from …'",
			"there is no column of pgvector's types vector or halfvec")
	}
	slices.SortFunc(models, func(a, b *vectors) int { return strings.Compare(a.name, b.name) })
	return models, nil
}

func hasModel(models []*vectors, name string) bool {
	return slices.ContainsFunc(models, func(m *vectors) bool { return m.name == name })
}

// checkModel fails where a column cannot be the vectors of a model.
func (r *relation) checkModel(c column, name string) error {
	switch {
	case c.kind == "":
		return dataset.FileError(r.name, "cast what holds vectors in a query, as in --"+r.flag+" 'select id, "+c.name+"::vector from …'",
			"column %s is to be model %s, and is not of pgvector's types vector or halfvec", excerpt.Quote(c.name), excerpt.Quote(name))
	case c.kind != vectorKind && c.kind != halfKind:
		return dataset.FileError(r.name, "leave it out: name the other models by --models, or give a query without it",
			"column %s is of type %s; models are of pgvector's types vector or halfvec", excerpt.Quote(c.name), c.kind)
	case !isFileName(name):
		return dataset.FileError(r.name, "give the model another name, as in --"+r.flag+"-columns 'NAME="+c.name+"'",
			"column %s cannot be a model of this name: a model is a folder", excerpt.Quote(c.name))
	}
	return nil
}

// isFileName tells whether a file or a folder of the data folder may have a name.
func isFileName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.HasPrefix(name, ".") && !strings.ContainsAny(name, "/\\:\x00")
}

// sameModels fails where one side has a model that the other lacks.
func sameModels(documents, queries *side) error {
	for _, sides := range [][2]*side{{documents, queries}, {queries, documents}} {
		for _, m := range sides[0].models {
			if !hasModel(sides[1].models, m.name) {
				return dataset.FileError(sides[1].name, "add the column; or say which it is, as in --"+sides[1].flag+"-columns "+m.name+"=COLUMN; or leave the model out, with --models",
					"there is no column %s of type vector or halfvec, and %s has one", excerpt.Quote(m.name), sides[0].name)
			}
		}
	}
	return nil
}
