package vectors

import (
	"cmp"
	"encoding/json"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/npy"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Spec is what vectors.json says of a side. What it does not say is found out.
type Spec struct {
	Path   string  `json:"path"`   // of the file, the folder of parts, or a pattern of parts such as part-*.npy; from the folder that vectors.json is in
	Format string  `json:"format"` // a name of Formats
	Column string  `json:"column"` // of the vectors: a column, tensor or array
	ID     *string `json:"id"`     // the column of the ids; empty where the rows are in the order of the texts
}

// specFile is the name of the file that says where vectors lie and what they are.
const specFile = "vectors.json"

// source is where vectors lie.
type source struct {
	name   string   // of the file or folder, or the pattern
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
	if spec.Path != "" {
		s.name = path.Join(folder, spec.Path)
		if !fs.ValidPath(s.name) {
			return nil, dataset.FileError(f.path(folder+"/"+specFile), "make a link in the folder to what lies elsewhere", "path %s leads out of the data folder", excerpt.Quote(spec.Path))
		}
	} else if s.name, s.parts, err = f.candidate(folder); err != nil || s.name == "" {
		return nil, err
	}
	if s.parts == nil {
		if s.parts, err = f.listParts(s.name); err != nil {
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
		info, err := fs.Stat(f.fsys, folder+"/"+n) // Stat follows a link
		switch {
		case err != nil:
		case n == f.side && info.IsDir():
			known = append(known, n)
		case info.IsDir() || !isData(n):
		case strings.HasPrefix(n, f.side+".") && byName(n) != "":
			known = append(known, n)
		case strings.HasPrefix(n, f.side+"."):
			others = append(others, n)
		case strings.HasPrefix(n, f.side+"-") && byName(n) != "":
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

// isData tells whether a file can hold vectors, by its name: the others lie beside those.
func isData(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return false
	}
	for _, ending := range []string{".ids", ".json", npy.ScaleEnding, npy.RangesEnding} {
		if strings.HasSuffix(name, ending) {
			return false
		}
	}
	return true
}

// listParts lists the files of a name: one, those of a folder, or those that match a pattern.
func (f *Folder) listParts(name string) (parts []string, err error) {
	info, err := fs.Stat(f.fsys, name)
	switch {
	case err != nil && strings.ContainsAny(name, "*?["):
		if parts, err = fs.Glob(f.fsys, name); err != nil || len(parts) == 0 {
			return nil, dataset.FileError(f.path(name), "write it anew", "no file matches the pattern")
		}
	case err != nil:
		return nil, dataset.ReadError(f.path(name), err, Hint)
	case !info.IsDir():
		return []string{name}, nil
	default:
		return f.listFolder(name)
	}
	slices.SortFunc(parts, inOrder)
	return parts, nil
}

// listFolder lists the parts of a folder, in the order of their names; those of a data set that datasets saved, in the order
// that it says.
func (f *Folder) listFolder(name string) (parts []string, err error) {
	if _, err := fs.Stat(f.fsys, name+"/dataset_dict.json"); err == nil {
		return nil, dataset.FileError(f.path(name), `name the folder of one split as "path" in vectors.json`, "it holds several splits")
	}
	if text, err := fs.ReadFile(f.fsys, name+"/state.json"); err == nil {
		var state struct {
			Files []struct {
				Name string `json:"filename"`
			} `json:"_data_files"`
		}
		if json.Unmarshal(text, &state) == nil && len(state.Files) > 0 {
			for _, file := range state.Files {
				part := path.Join(name, file.Name)
				if !fs.ValidPath(part) {
					return nil, dataset.FileError(f.path(name+"/state.json"), "save the data set again", "file %s is not in the folder", excerpt.Quote(file.Name))
				}
				parts = append(parts, part)
			}
			return parts, nil
		}
	}
	entries, err := fs.ReadDir(f.fsys, name)
	if err != nil {
		return nil, dataset.ReadError(f.path(name), err)
	}
	for _, e := range entries {
		if info, err := fs.Stat(f.fsys, name+"/"+e.Name()); err == nil && !info.IsDir() && isData(e.Name()) {
			parts = append(parts, name+"/"+e.Name())
		}
	}
	if len(parts) == 0 {
		return nil, dataset.FileError(f.path(name), "put the parts there", "the folder has no file of vectors")
	}
	slices.SortFunc(parts, inOrder)
	return parts, nil
}

// inOrder compares names. Numbers in them are compared as numbers, so that part-10 comes after part-9.
func inOrder(a, b string) int {
	all := a
	for whole := b; a != "" && b != ""; {
		x, y := digits(a), digits(b)
		if x == "" || y == "" {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		n, m := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if c := cmp.Or(cmp.Compare(len(n), len(m)), strings.Compare(n, m)); c != 0 {
			return c
		}
		if a, b = a[len(x):], b[len(y):]; a == "" && b == "" {
			return strings.Compare(all, whole)
		}
	}
	return cmp.Compare(len(a), len(b))
}

// digits are the digits that a text begins with.
func digits(s string) string {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return s[:n]
}
