// Package vectors opens the vectors of a data folder, in whatever format they lie there.
//
// Input: a folder that has vectors/<model>/docs and vectors/<model>/queries, each as a file with an ending (docs.npy,
// docs.parquet) or as a folder of parts; or vectors/docs and vectors/queries, tables with a column for each model. Output:
// dataset.Vectors, which Open gives as matrices of the rows in the order of the ids. A format is told by the first bytes
// of a file; vectors.json beside the files says otherwise. Package beir calls it, and package inspect. docs/FORMATS.md lists the
// formats.
package vectors

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/faiss"
	"github.com/quarry-hn/quarry/host/dataset/flat"
	"github.com/quarry-hn/quarry/host/dataset/npy"
	"github.com/quarry-hn/quarry/host/dataset/npz"
	"github.com/quarry-hn/quarry/host/dataset/table"
	"github.com/quarry-hn/quarry/host/dataset/tensors"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Hint says what to add where there are no vectors.
const Hint = "add vectors/<model>/docs.npy and vectors/<model>/queries.npy for each model"

// top is the folder of all vectors.
const top = "vectors"

// Folder is the vectors of one side.
type Folder struct {
	fsys   fs.FS
	root   string // what messages call the folder
	side   string // "docs" or "queries"
	models []string
}

var _ dataset.Matched = (*Folder)(nil)

// New is the vectors of a side, "docs" or "queries", of a data folder. root is what messages call the folder; models are
// what Models gives.
func New(fsys fs.FS, root, side string, models []string) *Folder {
	return &Folder{fsys, root, side, models}
}

// Models lists the models of a data folder, in order: the folders of vectors, and the columns of vectors/docs where that is
// a table.
func Models(fsys fs.FS, root string) (names []string, err error) {
	entries, err := fs.ReadDir(fsys, top)
	if err != nil {
		return nil, dataset.ReadError(dataset.PathIn(root, top), err, Hint)
	}
	f := New(fsys, root, "docs", nil)
	shared, err := f.shared()
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		name := entry.Name()
		if shared != nil && (name == "docs" || name == "queries") {
			continue
		}
		// Stat follows a link to a folder elsewhere.
		if info, err := fs.Stat(fsys, top+"/"+name); err == nil && info.IsDir() && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	if shared != nil {
		columns, err := f.columnsOf(shared)
		if err != nil {
			return nil, err
		}
		for _, c := range columns {
			if c.Kind == table.Vectors && !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	if len(names) == 0 {
		return nil, dataset.FileError(dataset.PathIn(root, top), Hint, "there is no model folder")
	}
	slices.Sort(names)
	return names, nil
}

// path is what messages call a file.
func (f *Folder) path(name string) string { return dataset.PathIn(f.root, name) }

// Models names the models.
func (f *Folder) Models() []string { return f.models }

// Open opens a model's vectors in the order in which they lie there.
func (f *Folder) Open(model string) (dataset.Matrix, error) {
	return f.OpenMatched(model, nil, dataset.Watch{})
}

// OpenMatched opens a model's vectors. Of a table with a column of ids it gives the rows of those ids, in their order.
func (f *Folder) OpenMatched(model string, ids dataset.IDs, w dataset.Watch) (dataset.Matrix, error) {
	s, err := f.find(model)
	if err != nil {
		return nil, err
	}
	return f.open(s, ids, w)
}

// find finds where a model's vectors lie.
func (f *Folder) find(model string) (*source, error) {
	if !slices.Contains(f.models, model) {
		return nil, dataset.NoModel(f.path(top+"/"+excerpt.Text(model)), f.models)
	}
	if info, err := fs.Stat(f.fsys, top+"/"+model); err == nil && info.IsDir() {
		s, err := f.locate(top + "/" + model)
		if err != nil {
			return nil, err
		}
		if s == nil { // say that it is not there, by the name that is looked for first
			s = &source{name: top + "/" + model + "/" + f.side + ".npy"}
			s.parts = []string{s.name}
			if s.format, s.why, err = f.tell(s.name); err != nil {
				return nil, err
			}
		}
		s.model = model
		return s, nil
	}
	s, err := f.shared()
	if err == nil && s == nil {
		err = dataset.FileError(f.path(top), "add the table of the other side too", "there is no %s.parquet, or table of another format, for model %s", f.side, excerpt.Quote(model))
	}
	if err != nil {
		return nil, err
	}
	s.model, s.spec.Column = model, model
	return s, nil
}

// open opens what lies at a place.
func (f *Folder) open(s *source, ids dataset.IDs, w dataset.Watch) (_ dataset.Matrix, err error) {
	if s.format != "npy" && s.format != "safetensors" { // which look for the scale of integers themselves
		for _, name := range s.parts {
			if err := npy.CheckNoScale(f.fsys, name, f.path(name)); err != nil {
				return nil, err
			}
		}
	}
	if s.isTable() {
		return f.openTables(s, ids, w)
	}
	var parts []dataset.Matrix
	defer func() {
		if err != nil {
			for _, p := range parts {
				err = errors.Join(err, dataset.CloseSource(p))
			}
		}
	}()
	for _, name := range s.parts {
		p, err := f.openPart(s, name, w)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return dataset.Join(f.path(s.name), parts)
}

// openPart opens a file of a format that is no table.
func (f *Folder) openPart(s *source, name string, w dataset.Watch) (dataset.Matrix, error) {
	at := f.path(name)
	switch s.format {
	case "npy":
		x, err := npy.Open(f.fsys, name, at, w, Hint)
		if err != nil {
			return nil, err // not a nil *npy.File in an interface
		}
		return x, nil
	case "npz":
		return npz.Open(f.fsys, name, at, s.spec.Column, s.model, w)
	case "safetensors":
		return tensors.Open(f.fsys, name, at, s.spec.Column, s.model)
	case "faiss":
		return faiss.OpenIndex(f.fsys, name, at)
	case "fvecs":
		return faiss.OpenVecs(f.fsys, name, at, flat.F32)
	case "bvecs":
		return faiss.OpenVecs(f.fsys, name, at, flat.U8)
	case "ivecs":
		return faiss.OpenVecs(f.fsys, name, at, flat.I32)
	}
	return nil, dataset.FileError(at, formatHint(f.side), "its format is %s; known are %s", excerpt.Quote(s.format), strings.Join(Formats(), ", "))
}
