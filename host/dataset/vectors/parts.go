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

// Parts lists the files that names in a data folder mean, in the order of the names. Each is that of a file, of a folder of parts,
// or a pattern of parts such as run/part-*.npy. root is what messages call the folder; hint says what to do where a name is
// that of nothing. A file that two names mean is an error.
func Parts(fsys fs.FS, root string, names []string, hint string) (parts []string, err error) {
	named := map[string]bool{}
	for _, name := range names {
		some, err := listParts(fsys, root, name, hint)
		if err != nil {
			return nil, err
		}
		for _, part := range some {
			if named[part] {
				return nil, dataset.FileError(dataset.PathIn(root, part), "name it once", "it is one of the parts twice")
			}
			named[part] = true
		}
		parts = append(parts, some...)
	}
	return parts, nil
}

// listParts lists the files of one name.
func listParts(fsys fs.FS, root, name, hint string) (parts []string, err error) {
	info, err := fs.Stat(fsys, name)
	switch {
	case err != nil && strings.ContainsAny(name, "*?["):
		if parts, err = fs.Glob(fsys, name); err != nil || len(parts) == 0 {
			return nil, dataset.FileError(dataset.PathIn(root, name), "write it anew", "no file matches the pattern")
		}
	case err != nil:
		return nil, dataset.ReadError(dataset.PathIn(root, name), err, hint)
	case !info.IsDir():
		return []string{name}, nil
	default:
		return listFolder(fsys, root, name)
	}
	slices.SortFunc(parts, inOrder)
	return parts, nil
}

// listFolder lists the parts of a folder, in the order of their names; those of a data set that datasets saved, in the order
// that it says.
func listFolder(fsys fs.FS, root, name string) (parts []string, err error) {
	if _, err := fs.Stat(fsys, path.Join(name, "dataset_dict.json")); err == nil {
		return nil, dataset.FileError(dataset.PathIn(root, name), "name the folder of one split", "it holds several splits")
	}
	if text, err := fs.ReadFile(fsys, path.Join(name, "state.json")); err == nil {
		var state struct {
			Files []struct {
				Name string `json:"filename"`
			} `json:"_data_files"`
		}
		if json.Unmarshal(text, &state) == nil && len(state.Files) > 0 {
			for _, file := range state.Files {
				part := path.Join(name, file.Name)
				if !fs.ValidPath(part) {
					return nil, dataset.FileError(dataset.PathIn(root, name+"/state.json"), "save the data set again", "file %s is not in the folder", excerpt.Quote(file.Name))
				}
				parts = append(parts, part)
			}
			return parts, nil
		}
	}
	entries, err := fs.ReadDir(fsys, name)
	if err != nil {
		return nil, dataset.ReadError(dataset.PathIn(root, name), err)
	}
	for _, e := range entries {
		part := path.Join(name, e.Name())
		if info, err := fs.Stat(fsys, part); err == nil && !info.IsDir() && isData(e.Name()) {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return nil, dataset.FileError(dataset.PathIn(root, name), "put the parts there", "there are no parts in the folder")
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
