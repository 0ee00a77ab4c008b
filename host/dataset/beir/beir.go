// Package beir opens a folder in BEIR layout, with vectors beside the texts, as a data set.
//
// Input: a folder of corpus.jsonl[.gz], queries.jsonl[.gz] and qrels/<split>.tsv, as BEIR has them, and
// vectors/<model>/{docs,queries}.npy with one row for each line of the corpus or query file. Where there are no texts,
// docs.ids and queries.ids give one id a line. The texts may be those of MS MARCO too: collection.tsv and queries.tsv, with
// id and text separated by a tab, and judgements in qrels.<split>.tsv. A folder of pairs has neither: its .jsonl files
// are a split each, see package pairs. Output: a dataset.Dataset, or a *dataset.Error that names file and
// line. The commands and the tests call it.
package beir

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
	"github.com/quarry-hn/quarry/host/dataset/npy"
	"github.com/quarry-hn/quarry/host/dataset/pairs"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

const (
	folderHint  = "give the folder that holds corpus.jsonl, queries.jsonl, qrels and vectors"
	vectorsHint = "add vectors/<model>/docs.npy and vectors/<model>/queries.npy for each model"
	qrelsHint   = "add qrels/train.tsv with lines query-id, corpus-id, score, separated by tabs"
)

// Open opens a folder on disk. Close the data set after use.
func Open(dir string) (*dataset.Dataset, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, dataset.ReadError(dir, err, folderHint)
	}
	if !info.IsDir() {
		return nil, dataset.FileError(dir, folderHint, "not a folder")
	}
	return OpenFS(os.DirFS(dir), dir)
}

// OpenFS opens the folder that a file system is. Its files can be read at an offset, as those of os.DirFS and embed.FS
// can, and several at once. root is what messages call the folder.
func OpenFS(fsys fs.FS, root string) (_ *dataset.Dataset, err error) {
	f := &folder{fsys: fsys, root: root}
	var documents, queries dataset.Side
	defer func() {
		if err != nil {
			err = errors.Join(err, closeIDs(documents), closeIDs(queries))
		}
	}()
	models, err := f.modelNames()
	if err != nil {
		return nil, err
	}
	var qrels []*dataset.Qrels
	if splits := f.pairs(); splits != nil {
		if documents, queries, qrels, err = pairs.Read(root, splits); err != nil {
			return nil, err
		}
		documents.Vectors, queries.Vectors = &modelFolders{f, "docs.npy", models}, &modelFolders{f, "queries.npy", models}
		return dataset.New(root, documents, queries, qrels)
	}
	var errs [3]error
	var reading sync.WaitGroup
	reading.Go(func() { documents, errs[0] = f.openSide("corpus", "docs", models) })
	reading.Go(func() { queries, errs[1] = f.openSide("queries", "queries", models) })
	reading.Go(func() { qrels, errs[2] = f.readQrels() })
	reading.Wait()
	if err := cmp.Or(errs[0], errs[1], errs[2]); err != nil { // the same one each time, whichever comes first
		return nil, err
	}
	return dataset.New(root, documents, queries, qrels)
}

// pairs are the files of pairs of a folder that has no texts or ids of documents and no judgements: its .jsonl files, a
// split each, train first and then by name. It is nil for every other folder.
func (f *folder) pairs() (splits []pairs.Split) {
	if f.existing("corpus.jsonl", "corpus.jsonl.gz", "queries.jsonl", "queries.jsonl.gz", tables["corpus"], tables["corpus"]+".gz", "docs.ids", "queries.ids", "qrels") != nil {
		return nil
	}
	names, _ := fs.Glob(f.fsys, "*.jsonl")
	zipped, _ := fs.Glob(f.fsys, "*.jsonl.gz")
	for _, name := range append(names, zipped...) {
		splits = append(splits, pairs.Split{Name: strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".jsonl"), File: f.file(name)})
	}
	slices.SortFunc(splits, func(a, b pairs.Split) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Name, b.Name))
	})
	return splits
}

// rank is 0 for the split train, and else 1.
func rank(s pairs.Split) int {
	if s.Name == "train" {
		return 0
	}
	return 1
}

// tables are what MS MARCO calls the files of texts.
var tables = map[string]string{"corpus": "collection.tsv", "queries": "queries.tsv"}

func closeIDs(side dataset.Side) error {
	if ids, ok := side.IDs.(*dataset.StoredIDs); ok {
		return ids.Close()
	}
	return nil
}

// folder is the folder to be read.
type folder struct {
	fsys fs.FS
	root string // what messages call it
}

// path is what messages call a file of the folder.
func (f *folder) path(name string) string { return filepath.Join(f.root, filepath.FromSlash(name)) }

// file is a text file of the folder.
func (f *folder) file(name string) lines.File {
	return lines.File{FS: f.fsys, Name: name, Path: f.path(name)}
}

// existing returns those of the names that are there.
func (f *folder) existing(names ...string) (found []string) {
	for _, name := range names {
		if _, err := fs.Stat(f.fsys, name); err == nil {
			found = append(found, name)
		}
	}
	return found
}

// modelNames lists the folders of vectors/, in order.
func (f *folder) modelNames() (names []string, err error) {
	entries, err := fs.ReadDir(f.fsys, "vectors")
	if err != nil {
		return nil, dataset.ReadError(f.path("vectors"), err, vectorsHint)
	}
	for _, entry := range entries {
		// Stat follows a link to a folder elsewhere.
		if info, err := fs.Stat(f.fsys, "vectors/"+entry.Name()); err == nil && info.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	if len(names) == 0 {
		return nil, dataset.FileError(f.path("vectors"), vectorsHint, "there is no model folder")
	}
	slices.Sort(names)
	return names, nil
}

// openSide opens the documents, where texts is "corpus" and vectors "docs", or the queries. Their ids come from
// texts.jsonl[.gz], or from an ids file where there are no texts. Every other ids file must give the same.
func (f *folder) openSide(texts, vectors string, models []string) (side dataset.Side, err error) {
	var ids *dataset.StoredIDs
	defer func() {
		if err != nil && ids != nil {
			err = errors.Join(err, ids.Close())
		}
	}()
	side.Vectors = &modelFolders{f, vectors + ".npy", models}
	side.Texts = dataset.NoTexts{Err: dataset.FileError(f.root, "add corpus.jsonl and queries.jsonl", "there are no texts, only ids")}
	found := f.existing(texts+".jsonl", texts+".jsonl.gz", tables[texts], tables[texts]+".gz")
	if len(found) > 1 {
		return dataset.Side{}, dataset.FileError(f.path(found[0]), "remove one of them", "there is %s too", path.Base(found[1]))
	}
	if len(found) == 1 {
		parse, id := parseText, textID
		if strings.HasPrefix(found[0], tables[texts]) {
			parse, id = parseRow, rowID
		}
		if ids, err = f.readIDs(found[0], id); err != nil {
			return dataset.Side{}, err
		}
		side.Texts = &textFile{f, found[0], ids, parse}
	}
	places := []string{vectors + ".ids", "vectors/" + vectors + ".ids"}
	for _, m := range models {
		places = append(places, "vectors/"+m+"/"+vectors+".ids")
	}
	for _, name := range f.existing(places...) {
		listed, err := f.readIDs(name, plainID)
		if err != nil {
			return dataset.Side{}, err
		}
		if ids == nil {
			ids = listed
		} else if err := errors.Join(ids.CheckSame(listed), listed.Close()); err != nil {
			return dataset.Side{}, err
		}
	}
	if ids == nil {
		return dataset.Side{}, dataset.FileError(f.path(texts+".jsonl"), "add it, or "+vectors+".ids with one id a line",
			"there is no %s.jsonl, %s.jsonl.gz or %s.ids", texts, texts, vectors)
	}
	side.IDs = ids
	return side, nil
}

// modelFolders are the folders of vectors/, and one side's file in each of them.
type modelFolders struct {
	folder *folder
	file   string // docs.npy or queries.npy
	models []string
}

var _ dataset.Vectors = (*modelFolders)(nil)

func (m *modelFolders) Models() []string { return m.models }

func (m *modelFolders) Open(model string) (dataset.Matrix, error) {
	if !slices.Contains(m.models, model) {
		return nil, dataset.NoModel(m.folder.path("vectors/"+excerpt.Text(model)), m.models)
	}
	name := "vectors/" + model + "/" + m.file
	x, err := npy.Open(m.folder.fsys, name, m.folder.path(name), vectorsHint)
	if err != nil {
		return nil, err
	}
	return x, nil
}
