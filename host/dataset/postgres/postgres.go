// Package postgres copies documents, queries, judgements and vectors from PostgreSQL with pgvector to a data folder.
//
// Input: a connection string, and a table or a query for each of documents, queries and judgements. Output: a folder in
// BEIR layout with vectors as .npy files, which package beir opens. Rows go from the server to the files one by one, in
// the order of their ids, so memory does not grow with the tables, and equal tables give equal files. The command import
// calls it.
package postgres

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/option"
)

// Options say what is copied.
type Options struct {
	// Documents and Queries have a column id, and may have title and text. Every column of pgvector's types vector and
	// halfvec is a model of the column's name.
	Documents, Queries Source
	// Judgements have query_id, document_id and score, and may have split, the name of the file of judgements; without
	// it all are of train.
	Judgements Source
	Models     []string // the models to copy (default all)
	Force      bool     // replace a folder that an earlier import made
	Progress   option.Progress
}

// Source is a table or a query.
type Source struct {
	// From is the name of a table or a view, as documents or shop.products; or a query, which begins with select, with,
	// values or table.
	From string
	// Columns gives the column that is read as id, title and so on, or as a model, where it has another name.
	Columns map[string]string
}

// validate fails where the options make no sense, what is imported is not in PostgreSQL, or the folder is not on this
// machine.
func (o Options) validate(url, folder string) error {
	var errs option.Problems
	errs.Check(strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://"), "what is imported is not a URL that begins with postgres:// or postgresql://")
	errs.Check(!strings.Contains(folder, "://"), "%s is not a folder on this machine: copy the folder there once it is made", folder)
	for _, s := range []struct {
		flag string
		Source
	}{{"docs", o.Documents}, {"queries", o.Queries}, {"qrels", o.Judgements}} {
		errs.Check(strings.TrimSpace(s.From) != "", "--%s is empty; it names a table, or is a query", s.flag)
		columns := slices.Sorted(maps.Values(s.Columns))
		errs.Check(len(slices.Compact(columns)) == len(s.Columns), "--%s-columns names a column twice", s.flag)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Judgements.Columns)) {
		errs.Check(slices.Contains(judgementColumns, name), "--qrels-columns has %s; it may have %s", excerpt.Quote(name), strings.Join(judgementColumns, ", "))
	}
	errs.Check(!slices.Contains(o.Models, ""), "a name in --models is empty")
	return errs.Err()
}

// Imported is what was copied.
type Imported struct {
	Documents  int            `json:"documents"`
	Queries    int            `json:"queries"`
	Texts      bool           `json:"texts"`      // of both; otherwise the documents, the queries or both are ids alone
	Judgements map[string]int `json:"judgements"` // by split
	Models     []Model        `json:"models"`     // by name
	Folder     string         `json:"folder"`
}

// Model is the vectors of one column.
type Model struct {
	Name    string `json:"name"`
	Columns int    `json:"columns"`
	DType   string `json:"dtype"` // of the documents' vectors: F32 of a vector, F16 of a halfvec
}

// Import copies what the options say to a folder, which appears whole or not at all. Everything is read in one
// transaction, so what others write meanwhile has no part in it. What is wrong with the data, or keeps them from being
// read, is a *dataset.Error.
func Import(ctx context.Context, url, folder string, o Options) (_ *Imported, err error) {
	if err := o.validate(url, folder); err != nil {
		return nil, err
	}
	if err := checkReplaceable(folder, o.Force); err != nil {
		return nil, err
	}
	db, err := open(ctx, url)
	if err != nil {
		return nil, err
	}
	defer db.close()
	out, err := atomicfile.CreateFolder(folder, o.Force)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	i := &importer{database: db, out: out, progress: o.Progress}
	imported, err := i.run(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := checkReplaceable(folder, o.Force); err != nil {
		return nil, err
	}
	imported.Folder = folder
	return imported, out.Commit()
}

// importer copies from a database to a folder.
type importer struct {
	*database
	out      *atomicfile.Folder
	progress option.Progress
}

func (i *importer) run(ctx context.Context, o Options) (*Imported, error) {
	documents, err := i.side(ctx, "docs", "corpus.jsonl", o.Documents, o.Models)
	if err != nil {
		return nil, err
	}
	queries, err := i.side(ctx, "queries", "queries.jsonl", o.Queries, o.Models)
	if err != nil {
		return nil, err
	}
	if err := sameModels(documents, queries); err != nil {
		return nil, err
	}
	judged, err := i.judgements(ctx, o.Judgements)
	if err != nil {
		return nil, err
	}
	if err := judged.check(ctx, documents, queries); err != nil {
		return nil, err
	}
	imported := &Imported{Documents: documents.rows, Queries: queries.rows, Texts: documents.hasTexts() && queries.hasTexts()}
	if imported.Judgements, err = judged.copy(ctx); err != nil {
		return nil, err
	}
	for _, s := range []*side{queries, documents} { // the few first: what is wrong with them shows early
		if err := s.copy(ctx); err != nil {
			return nil, err
		}
	}
	for n, m := range documents.models {
		if q := queries.models[n]; q.width != m.width {
			return nil, dataset.FileError(queries.name, "one model encodes both: make the vectors again", "column %s has vectors of %d values, and column %s of %s has vectors of %d",
				excerpt.Quote(q.column.name), q.width, excerpt.Quote(m.column.name), documents.name, m.width)
		}
		imported.Models = append(imported.Models, Model{m.name, m.width, string(m.dtype())})
	}
	return imported, nil
}

// What an import writes, as patterns of paths.
var written = []string{"corpus.jsonl", "docs.ids", "queries.jsonl", "queries.ids", "qrels/*.tsv", "vectors/*/docs.npy", "vectors/*/queries.npy"}

// checkReplaceable fails where a folder of that path exists and force is off, or where it holds what is not of an import:
// to replace the folder would remove it.
func checkReplaceable(folder string, force bool) error {
	if err := atomicfile.CheckFolder(filepath.Clean(folder), force); err != nil {
		return err
	}
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if !slices.ContainsFunc(written, func(pattern string) bool { ok, _ := path.Match(pattern, name); return ok }) {
			e := dataset.FileError(dataset.PathIn(folder, name), "choose another folder, or move the file elsewhere", "it is no file of an import, and --force would remove it")
			e.Err = option.ErrExists
			return e
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
