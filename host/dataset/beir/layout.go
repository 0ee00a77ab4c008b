package beir

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
	"github.com/quarry-hn/quarry/host/dataset/pairs"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// sources is which files of a folder are read, and as what.
type sources struct {
	documents, queries textsFile
	qrels              []split
	pairs              []pairs.Split // nil where the folder has documents, queries and judgements
}

// textsFile is a file of texts. It has no name where there are ids alone.
type textsFile struct {
	name    string
	table   bool        // MS MARCO's columns; otherwise JSON
	members lines.Names // of JSON
}

// choicesFile says how a folder is read whose files do not tell it.
const (
	choicesFile = "texts.json"
	choicesHint = `as {"docs":{"path":"passages.jsonl","id":"pid","text":"body"},"qrels":{"train":"judged.txt"}}; docs/FORMATS.md has all keys`
)

// choices are what that file says.
type choices struct {
	Docs    textsChoice           `json:"docs"`
	Queries textsChoice           `json:"queries"`
	Qrels   map[string]string     `json:"qrels"` // by split: a file
	Pairs   map[string]pairChoice `json:"pairs"` // by split
}

// textsChoice is a file of texts, and the names of its members.
type textsChoice struct {
	Path   string `json:"path"`
	Format string `json:"format"` // "jsonl" or "tsv"; empty: told by the path's ending
	ID     string `json:"id"`
	Title  string `json:"title"`
	Text   string `json:"text"`
}

// pairChoice is the pairs of a split, and the names of their members or columns.
type pairChoice struct {
	Path     lines.Texts `json:"path"` // as vectors.Parts takes it
	Query    string      `json:"query"`
	Positive string      `json:"positive"`
	Negative string      `json:"negative"`
}

// readChoices reads the file of choices, where there is one.
func (f *folder) readChoices() (c choices, err error) {
	text, err := fs.ReadFile(f.fsys, choicesFile)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, dataset.ReadError(f.path(choicesFile), err, choicesHint)
	}
	if err := lines.UnmarshalFile(text, &c); err != nil {
		return c, dataset.FileError(f.path(choicesFile), choicesHint, "not what it should be: %v", excerpt.Error(err))
	}
	for _, path := range c.paths() {
		if !fs.ValidPath(path) {
			return c, dataset.FileError(f.path(choicesFile), choicesHint, "path %s is not that of a file of this folder, with slashes", excerpt.Quote(path))
		}
	}
	for _, t := range []textsChoice{c.Docs, c.Queries} {
		if t.Format != "" && t.Format != "jsonl" && t.Format != "tsv" {
			return c, dataset.FileError(f.path(choicesFile), choicesHint, `format is %s; it is "jsonl" or "tsv"`, excerpt.Quote(t.Format))
		}
	}
	if c.Pairs != nil && (c.Docs != textsChoice{} || c.Queries != textsChoice{} || c.Qrels != nil) {
		return c, dataset.FileError(f.path(choicesFile), choicesHint, "there are pairs, and docs, queries or qrels too: a folder has the one or the other")
	}
	return c, nil
}

// paths are those of all files that were chosen.
func (c choices) paths() (paths []string) {
	for _, t := range []textsChoice{c.Docs, c.Queries} {
		if t.Path != "" {
			paths = append(paths, t.Path)
		}
	}
	paths = slices.AppendSeq(paths, maps.Values(c.Qrels))
	for _, p := range c.Pairs {
		if paths = append(paths, p.Path...); p.Path == nil {
			paths = append(paths, "") // which is not valid
		}
	}
	slices.Sort(paths) // so that the error is the same each time
	return paths
}

// sources tells them by the names of the folder's files, and by its choices.
func (f *folder) sources() (s sources, err error) {
	c, err := f.readChoices()
	if err != nil {
		return s, err
	}
	if s.pairs, err = f.pairs(c); s.pairs != nil || err != nil {
		return s, err
	}
	if s.documents, err = f.texts(c.Docs, "corpus.jsonl", "collection.tsv"); err != nil {
		return s, err
	}
	if s.queries, err = f.texts(c.Queries, "queries.jsonl", "queries.tsv"); err != nil {
		return s, err
	}
	s.qrels, err = f.qrelsFiles(c.Qrels)
	return s, err
}

// texts finds the file of texts of one side, by its choice or by one of its names, plain or compressed.
func (f *folder) texts(c textsChoice, names ...string) (t textsFile, err error) {
	t.members = lines.Names{}.Rename(c.ID, "_id", "id").Rename(c.Title, "title").Rename(c.Text, "text")
	if t.name = c.Path; t.name == "" {
		var both []string
		for _, name := range names {
			both = append(both, name, name+".gz")
		}
		found := f.existing(both...)
		if len(found) > 1 {
			return t, dataset.FileError(f.path(found[0]), chooseHint, "there is %s too", path.Base(found[1]))
		}
		if len(found) == 1 {
			t.name = found[0]
		}
	}
	t.table = cmp.Or(c.Format, strings.TrimPrefix(path.Ext(strings.TrimSuffix(t.name, ".gz")), ".")) == "tsv"
	if t.name == "" && c != (textsChoice{}) {
		return t, dataset.FileError(f.path(choicesFile), choicesHint, "it names no path, and there is none of %s", strings.Join(names, ", "))
	}
	if t.table && len(t.members) > 0 {
		return t, dataset.FileError(f.path(choicesFile), choicesHint, "%s is id and text, separated by a tab, and has no members to name", excerpt.Quote(t.name))
	}
	return t, nil
}

// qrelsFiles are the splits that were chosen; else the files qrels/<split>.tsv that BEIR has, and qrels.<split>.tsv that MS
// MARCO has beside its texts, in the order of their names. A file there of any other name is an error: what it judged to be
// relevant would be mined.
func (f *folder) qrelsFiles(chosen map[string]string) (splits []split, err error) {
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		splits = append(splits, split{name, chosen[name]})
	}
	if splits != nil {
		return splits, nil
	}
	names, err := f.qrelsNames()
	if err != nil {
		return nil, err
	}
	files := map[string]string{} // by split
	for _, name := range names {
		file := strings.TrimPrefix(name, "qrels")[1:] // after qrels/ or qrels.
		if strings.HasPrefix(file, ".") {
			continue // hidden, such as those of macOS
		}
		of, isTSV := strings.CutSuffix(strings.TrimSuffix(file, ".gz"), ".tsv")
		info, err := fs.Stat(f.fsys, name)
		switch {
		case err != nil:
			return nil, dataset.ReadError(f.path(name), err, qrelsNameHint)
		case info.IsDir():
			return nil, dataset.FileError(f.path(name), qrelsNameHint, "a folder, where files of judgements are looked for")
		case !isTSV || of == "":
			return nil, dataset.FileError(f.path(name), qrelsNameHint, "not the name of a file of judgements, which is <split>.tsv or <split>.tsv.gz")
		case files[of] != "":
			return nil, dataset.FileError(f.path(files[of]), chooseHint, "there is %s too", name)
		}
		files[of] = name
		splits = append(splits, split{of, name})
	}
	if splits == nil {
		return nil, dataset.FileError(f.path("qrels"), qrelsHint, "there is no .tsv file")
	}
	slices.SortFunc(splits, func(a, b split) int { return strings.Compare(a.name, b.name) })
	return splits, nil
}

// qrelsNames are what is in qrels/, and what is named qrels.* beside it. Where there is neither, the error says so.
func (f *folder) qrelsNames() (names []string, err error) {
	names, _ = fs.Glob(f.fsys, "qrels.*") // the pattern is sound
	entries, err := fs.ReadDir(f.fsys, "qrels")
	if err != nil && (names == nil || !errors.Is(err, fs.ErrNotExist)) {
		return nil, dataset.ReadError(f.path("qrels"), err, qrelsHint)
	}
	for _, e := range entries {
		names = append(names, "qrels/"+e.Name())
	}
	return names, nil
}

func (c choices) isZero() bool {
	return c.Docs == textsChoice{} && c.Queries == textsChoice{} && c.Qrels == nil && c.Pairs == nil
}
