// Package dataset reads what quarry mines: a folder of texts, relevance judgements and vectors.
//
// In go a folder in BEIR layout (corpus.jsonl[.gz], queries.jsonl[.gz], qrels/<split>.tsv) and, beside it,
// vectors/<model>/{docs,queries}.npy with one row per line of the corpus or query file. Out come ids, judgements and
// matrices, checked against one another; texts and vectors are read as they are asked for. Package host calls it.
package dataset

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Folder is an opened folder.
type Folder struct {
	fsys fs.FS
	root string // for messages

	Documents *IDs
	Queries   *IDs
	HasText   bool     // both files are there as jsonl, not as ids alone
	Qrels     []*Qrels // train first, then by name
	Models    []string // names of the folders of vectors/, sorted

	corpus, queries string // names of the jsonl files, empty where there is no text
	open            []io.Closer
	models          map[string]Model // opened
}

// Model is one encoder's vectors.
type Model struct {
	Name               string
	Documents, Queries Matrix
}

// Open opens a folder on disk.
func Open(dir string) (*Folder, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, ReadError(dir, err, "give the folder that holds corpus.jsonl, queries.jsonl, qrels and vectors")
	}
	if !info.IsDir() {
		return nil, fileError(dir, "give the folder that holds corpus.jsonl, queries.jsonl, qrels and vectors", "not a folder")
	}
	return OpenFS(os.DirFS(dir), dir)
}

// OpenFS opens a folder in a file system whose files can be read at an offset, as those of os.DirFS and embed.FS can. root
// is what error messages call it.
func OpenFS(fsys fs.FS, root string) (_ *Folder, err error) {
	f := &Folder{fsys: fsys, root: root, models: map[string]Model{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if f.Models, err = f.modelNames(); err != nil {
		return nil, err
	}
	if f.Documents, f.corpus, err = f.readSide("corpus", "docs"); err != nil {
		return nil, err
	}
	if f.Queries, f.queries, err = f.readSide("queries", "queries"); err != nil {
		return nil, err
	}
	f.HasText = f.corpus != "" && f.queries != ""
	return f, f.readQrels()
}

// Close closes the vector files.
func (f *Folder) Close() error {
	var errs []error
	for _, c := range f.open {
		errs = append(errs, c.Close())
	}
	f.open, f.models = nil, map[string]Model{}
	return errors.Join(errs...)
}

// path is the name of a file of the folder, for messages.
func (f *Folder) path(name string) string { return filepath.Join(f.root, filepath.FromSlash(name)) }

// exists returns which of the names there are.
func (f *Folder) exists(names ...string) (found []string) {
	for _, name := range names {
		if _, err := fs.Stat(f.fsys, name); err == nil {
			found = append(found, name)
		}
	}
	return found
}

// readSide reads the ids of texts.jsonl[.gz], or of an ids file where there are no texts, and checks every ids file against
// the texts.
func (f *Folder) readSide(texts, vectors string) (ids *IDs, jsonl string, err error) {
	found := f.exists(texts+".jsonl", texts+".jsonl.gz")
	if len(found) > 1 {
		return nil, "", fileError(f.path(found[0]), "remove one of them", "there is %s too", path.Base(found[1]))
	}
	if len(found) == 1 {
		jsonl = found[0]
		if ids, err = readIDs(f.fsys, jsonl, f.path(jsonl), textID); err != nil {
			return nil, "", err
		}
		f.open = append(f.open, ids)
	}
	places := []string{vectors + ".ids", "vectors/" + vectors + ".ids"}
	for _, m := range f.Models {
		places = append(places, "vectors/"+m+"/"+vectors+".ids")
	}
	for _, name := range f.exists(places...) {
		listed, err := readIDs(f.fsys, name, f.path(name), plainID)
		if err != nil {
			return nil, "", err
		}
		f.open = append(f.open, listed)
		if ids == nil {
			ids = listed
		} else if err := sameIDs(ids, listed); err != nil {
			return nil, "", err
		}
	}
	if ids == nil {
		return nil, "", fileError(f.path(texts+".jsonl"), "add it, or "+vectors+".ids with one id a line",
			"there is no %s.jsonl, %s.jsonl.gz or %s.ids", texts, texts, vectors)
	}
	return ids, jsonl, nil
}

// modelNames lists the folders of vectors/.
func (f *Folder) modelNames() (names []string, err error) {
	entries, err := fs.ReadDir(f.fsys, "vectors")
	if err != nil {
		return nil, ReadError(f.path("vectors"), err, vectorsHint)
	}
	for _, entry := range entries {
		// Stat follows a link to a folder elsewhere.
		if info, err := fs.Stat(f.fsys, "vectors/"+entry.Name()); err == nil && info.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	if len(names) == 0 {
		return nil, fileError(f.path("vectors"), vectorsHint, "there is no model folder")
	}
	slices.Sort(names)
	return names, nil
}

// Vectors opens the vectors of a model and checks them against the ids. Close closes them.
func (f *Folder) Vectors(model string) (Model, error) {
	if m, ok := f.models[model]; ok {
		return m, nil
	}
	m := Model{Name: model}
	if !slices.Contains(f.Models, model) {
		return m, fileError(f.path("vectors/"+model), "", "there is no such model; there are %s", strings.Join(f.Models, ", "))
	}
	for _, side := range []struct {
		file string
		ids  *IDs
		to   *Matrix
	}{{"docs.npy", f.Documents, &m.Documents}, {"queries.npy", f.Queries, &m.Queries}} {
		file := "vectors/" + model + "/" + side.file
		x, err := OpenNpy(f.fsys, file, f.path(file))
		if err != nil {
			return m, err
		}
		f.open = append(f.open, x)
		*side.to = x
		if x.Rows() != side.ids.Len() {
			return m, fileError(x.Name(), "one row per line, in the file's order: make the vectors again", "%d rows; %s has %d ids", x.Rows(), side.ids.Path, side.ids.Len())
		}
	}
	if d, q := m.Documents.Width(), m.Queries.Width(); d != q {
		return m, fileError(m.Queries.Name(), "one model encodes both: make the vectors again", "%d columns; docs.npy has %d", q, d)
	}
	f.models[model] = m
	return m, nil
}

// DocumentTexts returns the texts of those documents, by id; QueryTexts those of queries.
func (f *Folder) DocumentTexts(ids map[string]bool) (map[string]Text, error) {
	return f.texts(f.corpus, ids)
}

// QueryTexts returns the texts of those queries, by id.
func (f *Folder) QueryTexts(ids map[string]bool) (map[string]Text, error) {
	return f.texts(f.queries, ids)
}

func (f *Folder) texts(name string, ids map[string]bool) (map[string]Text, error) {
	if name == "" {
		return nil, fileError(f.root, "add corpus.jsonl and queries.jsonl", "there are no texts, only ids")
	}
	texts := map[string]Text{}
	_, err := eachLine(f.fsys, name, f.path(name), func(l *lineReader, line []byte) error {
		t, err := l.parseText(line)
		if ids[t.ID] {
			texts[t.ID] = t
		}
		return err
	})
	return texts, err
}

// Fingerprints returns the SHA-256, in hexadecimal, of everything that mining those models reads, by what it is: "corpus",
// "queries", "qrels/train", "vectors/mpnet/docs" and so on. Of texts it is that of their uncompressed bytes.
func (f *Folder) Fingerprints(models []Model) (map[string]string, error) {
	sums := map[string]string{"corpus": f.Documents.SHA256, "queries": f.Queries.SHA256}
	for _, q := range f.Qrels {
		sums["qrels/"+q.Split] = q.SHA256
	}
	for _, m := range models {
		for side, x := range map[string]Matrix{"docs": m.Documents, "queries": m.Queries} {
			sum, err := x.SHA256()
			if err != nil {
				return nil, err
			}
			sums["vectors/"+m.Name+"/"+side] = sum
		}
	}
	return sums, nil
}
