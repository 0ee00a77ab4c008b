// Package beir opens a folder in BEIR layout, with vectors beside the texts, as a data set.
//
// Input: a folder of corpus.jsonl[.gz], queries.jsonl[.gz] and qrels/<split>.tsv[.gz], as BEIR has them, and
// vectors/<model>/{docs,queries}.npy with one row for each line of the corpus or query file, or vectors of another format
// that package vectors reads. Where there are no texts, docs.ids and queries.ids give one id a line. The texts may be those
// of MS MARCO too: collection.tsv and queries.tsv, with id and text separated by a tab, and judgements in
// qrels.<split>.tsv[.gz]. A folder of pairs has neither: its .jsonl, .parquet and .arrow files are a split each, or a part
// of one, see package pairs. Where the names of files or of members are others, texts.json says which. Output: a
// dataset.Dataset, or a *dataset.Error that names file and line. The commands and the tests call it.
package beir

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"sync"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/lines"
	"github.com/quarry-hn/quarry/host/dataset/pairs"
	files "github.com/quarry-hn/quarry/host/dataset/vectors"
)

const (
	folderHint = "give the folder that holds corpus.jsonl, queries.jsonl, qrels and vectors"
	qrelsHint  = "add qrels/train.tsv with lines query-id, corpus-id, score, separated by tabs"

	qrelsNameHint = "name it qrels/<split>.tsv, move it elsewhere, or name all files of judgements in " + choicesFile
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
			err = errors.Join(err, dataset.CloseSource(documents.IDs), dataset.CloseSource(queries.IDs))
		}
	}()
	models, err := files.Models(f.fsys, f.root)
	if err != nil {
		return nil, err
	}
	from, err := f.sources()
	if err != nil {
		return nil, err
	}
	var qrels []*dataset.Qrels
	if from.pairs != nil {
		if documents, queries, qrels, err = pairs.Read(f.root, from.pairs); err != nil {
			return nil, err
		}
		documents.Vectors, queries.Vectors = files.New(f.fsys, f.root, "docs", models), files.New(f.fsys, f.root, "queries", models)
		return dataset.New(f.root, documents, queries, qrels)
	}
	var errs [3]error
	var reading sync.WaitGroup
	reading.Go(func() { documents, errs[0] = f.openSide(from.documents, "corpus", "docs", models) })
	reading.Go(func() { queries, errs[1] = f.openSide(from.queries, "queries", "queries", models) })
	reading.Go(func() { qrels, errs[2] = f.readQrels(from.qrels) })
	reading.Wait()
	if err := cmp.Or(errs[0], errs[1], errs[2]); err != nil { // the same one each time, whichever comes first
		return nil, err
	}
	return dataset.New(f.root, documents, queries, qrels)
}

// folder is the folder to be read.
type folder struct {
	fsys fs.FS
	root string // what messages call it
}

// path is what messages call a file of the folder.
func (f *folder) path(name string) string { return dataset.PathIn(f.root, name) }

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

// openSide opens the documents, where texts is "corpus" and vectors "docs", or the queries. Their ids come from their file
// of texts, or from an ids file where there is none. Every other ids file must give the same.
func (f *folder) openSide(from textsFile, texts, vectors string, models []string) (side dataset.Side, err error) {
	var ids *dataset.StoredIDs
	defer func() {
		if err != nil && ids != nil {
			err = errors.Join(err, ids.Close())
		}
	}()
	found := files.New(f.fsys, f.root, vectors, models)
	side.Vectors = found
	side.Texts = dataset.NoTexts{Err: dataset.FileError(f.root, "add corpus.jsonl and queries.jsonl", "there are no texts, only ids")}
	if from.name != "" {
		if ids, err = f.readIDs(from.name, from.members, from.id); err != nil {
			return dataset.Side{}, err
		}
		side.Texts = &textFile{f, from.name, ids, from.parse}
	}
	for _, name := range f.idsFiles(vectors, models) {
		listed, err := f.readIDs(name, nil, plainID)
		if err != nil {
			return dataset.Side{}, err
		}
		if ids == nil {
			ids = listed
		} else if err := errors.Join(ids.CheckSame(listed), listed.Close()); err != nil {
			return dataset.Side{}, err
		}
	}
	if ids == nil { // those of a table that has the vectors of all models
		stored, read, err := found.Texts()
		if err != nil {
			return dataset.Side{}, err
		}
		if stored != nil {
			ids, side.Texts = stored, read
		}
	}
	if ids == nil {
		return dataset.Side{}, dataset.FileError(f.path(texts+".jsonl"), "add it, or "+vectors+".ids with one id a line",
			"there is no %s.jsonl, %s.jsonl.gz or %s.ids", texts, texts, vectors)
	}
	side.IDs = ids
	return side, nil
}

// idsFiles are the ids files of one side: "docs" or "queries".
func (f *folder) idsFiles(side string, models []string) []string {
	places := []string{side + ".ids", "vectors/" + side + ".ids"}
	for _, m := range models {
		places = append(places, "vectors/"+m+"/"+side+".ids")
	}
	return f.existing(places...)
}
