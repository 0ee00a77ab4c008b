package vectors

import (
	"encoding/json"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Spec is what vectors.json says of a side. What it does not say is found out.
type Spec struct {
	Path   lines.Texts `json:"path"`   // of the files, as Parts takes it; from the folder that vectors.json is in
	Format string      `json:"format"` // a name of Formats
	Column string      `json:"column"` // of the vectors: a column, tensor or array
	ID     *string     `json:"id"`     // the column of the ids; empty where the rows are in the order of the texts
}

// specFile is the name of the file that says where vectors lie and what they are.
const specFile = "vectors.json"

// source is where vectors lie.
type source struct {
	name   string   // of the file or folder, or the pattern; of several, what messages call them
	parts  []string // its files, in order
	format string
	why    string // how the format was told
	spec   Spec
	model  string // whose column is looked for
}

func (s *source) isTable() bool { return isTable(s.format) }

// shared finds the table with a column for each model. It is nil where there is none.
func (f *Folder) shared() (*source, error) {
	if entries, err := fs.ReadDir(f.fsys, top+"/"+f.side); err == nil {
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), "docs") || strings.HasPrefix(e.Name(), "queries") || e.Name() == specFile {
				return nil, nil // it is the folder of a model of that name
			}
		}
	}
	s, err := f.locate(top)
	if err != nil || s == nil {
		return nil, err
	}
	if !s.isTable() {
		return nil, dataset.FileError(f.path(s.name), Hint, "vectors of format %s are of one model, and lie in the model's folder", s.format)
	}
	return s, nil
}

// locate finds the vectors of the side in a folder. It is nil where there are none.
func (f *Folder) locate(folder string) (*source, error) {
	spec, err := f.readSpec(folder)
	if err != nil {
		return nil, err
	}
	s := &source{spec: spec}
	var names []string
	for _, name := range spec.Path {
		if !fs.ValidPath(path.Join(folder, name)) {
			return nil, dataset.FileError(f.path(folder+"/"+specFile), "make a link in the folder to what lies elsewhere", "path %s leads out of the data folder", excerpt.Quote(name))
		}
		names = append(names, path.Join(folder, name))
	}
	if s.name = path.Join(folder, strings.Join(spec.Path, ", ")); names == nil {
		if s.name, s.parts, err = f.candidate(folder); err != nil || s.name == "" {
			return nil, err
		}
		names = []string{s.name}
	}
	if s.parts == nil {
		if s.parts, err = Parts(f.fsys, f.root, names, Hint); err != nil {
			return nil, err
		}
	}
	if s.format, s.why = spec.Format, specFile; spec.Format != "" {
		return s, nil
	}
	for i, part := range s.parts {
		format, why, err := f.tell(part)
		if err != nil {
			return nil, err
		}
		if i > 0 && format != s.format {
			return nil, dataset.FileError(f.path(part), "keep parts of one format, or name the format in vectors.json", "it is of format %s; %s is of format %s", format, path.Base(s.parts[0]), s.format)
		}
		s.format, s.why = format, why
	}
	return s, nil
}

// readSpec reads what vectors.json in a folder says of the side.
func (f *Folder) readSpec(folder string) (Spec, error) {
	name := folder + "/" + specFile
	text, err := fs.ReadFile(f.fsys, name)
	if err != nil {
		return Spec{}, nil // there is none
	}
	var both struct {
		Docs    Spec `json:"docs"`
		Queries Spec `json:"queries"`
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&both); err != nil {
		return Spec{}, dataset.FileError(f.path(name), `as in {"docs": {"path": "docs", "format": "parquet", "column": "embedding", "id": "_id"}}`, "not what vectors.json is: %v", excerpt.Error(err))
	}
	if f.side == "queries" {
		return both.Queries, nil
	}
	return both.Docs, nil
}

// candidate finds the file of the side in a folder, or its parts. name is empty where there is none.
func (f *Folder) candidate(folder string) (name string, parts []string, err error) {
	entries, err := fs.ReadDir(f.fsys, folder)
	if err != nil {
		return "", nil, dataset.ReadError(f.path(folder), err, Hint)
	}
	var known, others, pieces []string
	for _, e := range entries {
		n := e.Name()
		format, _ := ByName(n)
		info, err := fs.Stat(f.fsys, folder+"/"+n) // Stat follows a link
		switch {
		case err != nil:
		case n == f.side && info.IsDir():
			known = append(known, n)
		case info.IsDir() || !isData(n):
		case strings.HasPrefix(n, f.side+".") && format != "":
			known = append(known, n)
		case strings.HasPrefix(n, f.side+"."):
			others = append(others, n)
		case strings.HasPrefix(n, f.side+"-") && format != "":
			pieces = append(pieces, folder+"/"+n)
		}
	}
	if len(pieces) > 0 {
		known = append(known, f.side+"-*")
	} else if len(known) == 0 {
		known = others
	}
	switch {
	case len(known) == 0:
		return "", nil, nil
	case len(known) > 1:
		return "", nil, dataset.FileError(f.path(folder+"/"+known[0]), `remove one of them, or name the one as "path" in vectors.json`, "there is %s too", known[1])
	case len(pieces) > 0:
		slices.SortFunc(pieces, inOrder)
		return folder + "/" + known[0], pieces, nil
	}
	return folder + "/" + known[0], nil, nil
}
