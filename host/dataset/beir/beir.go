// Package beir opens a folder in BEIR layout, with vectors beside the texts, as a data set.
//
// Input: a folder of corpus.jsonl[.gz], queries.jsonl[.gz] and qrels/<split>.tsv, as BEIR has them, and
// vectors/<model>/{docs,queries}.npy with one row for each line of the corpus or query file, or vectors of another format
// that package vectors reads. Where there are no texts, docs.ids and queries.ids give one id a line. Output: a dataset.Dataset, or a *dataset.Error that names file and
// line. The commands and the tests call it.
package beir

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/quarry-hn/quarry/host/dataset"
	files "github.com/quarry-hn/quarry/host/dataset/vectors"
)

const (
	folderHint = "give the folder that holds corpus.jsonl, queries.jsonl, qrels and vectors"
	qrelsHint  = "add qrels/train.tsv with lines query-id, corpus-id, score, separated by tabs"
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
	models, err := files.Models(fsys, root)
	if err != nil {
		return nil, err
	}
	var qrels []*dataset.Qrels
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
func (f *folder) path(name string) string { return dataset.PathIn(f.root, name) }

// existing returns those of the names that are there.
func (f *folder) existing(names ...string) (found []string) {
	for _, name := range names {
		if _, err := fs.Stat(f.fsys, name); err == nil {
			found = append(found, name)
		}
	}
	return found
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
	side.Vectors = files.New(f.fsys, f.root, vectors, models)
	side.Texts = dataset.NoTexts{Err: dataset.FileError(f.root, "add corpus.jsonl and queries.jsonl", "there are no texts, only ids")}
	found := f.existing(texts+".jsonl", texts+".jsonl.gz")
	if len(found) > 1 {
		return dataset.Side{}, dataset.FileError(f.path(found[0]), "remove one of them", "there is %s too", path.Base(found[1]))
	}
	if len(found) == 1 {
		if ids, err = f.readIDs(found[0], textID); err != nil {
			return dataset.Side{}, err
		}
		side.Texts = &textFile{f, found[0], ids}
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
