package dataset

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/option"
)

// Dataset is the documents and queries to be mined, and the judgements on them. New makes one; Close it after use.
type Dataset struct {
	Name string // what messages call it: a folder's path

	Documents, Queries Side
	Qrels              []*Qrels // one for each split: train first, then by name
	Judged             []*Qrels // judgements beside those of the splits: they make no pairs, and what they say is relevant is no negative; see Judge
	Models             []string // the encoders whose vectors are there, in the order of their names

	opened  map[string]Model // by name
	owned   []io.Closer
	watched Watch
}

// Watch is what stops the conversions of vectors that cannot be read as they lie, and is told how far they are. The zero
// value stops nothing and tells nobody.
type Watch struct {
	Context  context.Context // may be nil
	Progress option.Progress
	// Dry says that only the shape of a Matrix is asked for. What would be converted is read as far as that takes, and not kept: the rows
	// of such a Matrix cannot be read.
	Dry bool
}

// Err is why the work is to stop, or nil.
func (w Watch) Err() error {
	if w.Context == nil {
		return nil
	}
	return w.Context.Err()
}

// Watch has w watch the conversions from now on.
func (d *Dataset) Watch(w Watch) { d.watched = w }

// Own has Close close c last, such as the file system that the data set lies in.
func (d *Dataset) Own(c io.Closer) { d.owned = append(d.owned, c) }

// Side is the documents of a data set, or its queries.
type Side struct {
	IDs             // one for each row
	Texts   Texts   // NoTexts, or nil for New, where there are only ids
	Vectors Vectors // of each encoder, one row for each id, in the order of the ids
}

// Vectors are the vectors of one side, of each encoder.
type Vectors interface {
	// Models names the encoders, in the order of their names. There is at least one.
	Models() []string
	// Open opens one encoder's vectors. A name that Models does not give is an *Error that lists those that it gives.
	// Dataset calls it once for each name, when the vectors are first asked for. It closes a Matrix that is an
	// io.Closer.
	Open(model string) (Matrix, error)
}

// Matched are Vectors that may have to find their rows by id, or to convert a file before its rows can be read. Dataset
// opens them with what that takes.
type Matched interface {
	Vectors
	// OpenMatched is Open for vectors of those ids, in their order.
	OpenMatched(model string, ids IDs, w Watch) (Matrix, error)
}

// Model is one encoder's vectors.
type Model struct {
	Name               string
	Documents, Queries Matrix
}

// New puts a data set together of sources, which may be of several formats. It closes none of them where it fails;
// Close of the data set closes all that are an io.Closer.
func New(name string, documents, queries Side, qrels []*Qrels) (*Dataset, error) {
	for _, side := range []Side{documents, queries} {
		if side.IDs == nil || side.Vectors == nil {
			return nil, FileError(name, "give ids and vectors of documents and of queries", "there are no ids, or no vectors")
		}
		if side.Len() == 0 {
			return nil, FileError(side.Name(), "it needs an id for each text", "there are no ids")
		}
	}
	if len(qrels) == 0 {
		return nil, FileError(name, "add judgements of at least one split", "there are no judgements")
	}
	models := documents.Vectors.Models()
	if len(models) == 0 {
		return nil, FileError(name, "add vectors of at least one encoder", "there are no vectors")
	}
	for _, side := range []*Side{&documents, &queries} {
		if side.Texts == nil {
			side.Texts = NoTexts{FileError(name, "", "there are no texts, only ids")}
		}
	}
	d := &Dataset{Name: name, Documents: documents, Queries: queries, Qrels: slices.Clone(qrels), Models: models, opened: map[string]Model{}}
	slices.SortStableFunc(d.Qrels, func(a, b *Qrels) int { return CompareSplits(a.Split, b.Split) })
	return d, nil
}

// Close closes the vectors that are open, the sources, and what the data set owns.
func (d *Dataset) Close() error {
	var errs []error
	for _, m := range d.opened {
		errs = append(errs, CloseSource(m.Documents), CloseSource(m.Queries))
	}
	d.opened = map[string]Model{}
	for _, side := range []Side{d.Documents, d.Queries} {
		errs = append(errs, CloseSource(side.IDs), CloseSource(side.Texts), CloseSource(side.Vectors))
	}
	for _, c := range d.owned {
		errs = append(errs, c.Close())
	}
	d.owned = nil
	return errors.Join(errs...)
}

// CloseSource closes a source, or a Matrix, that is an io.Closer.
func CloseSource(source any) error {
	if c, ok := source.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Vectors gives the vectors of a model. It opens them the first time, and checks them against the ids.
func (d *Dataset) Vectors(name string) (Model, error) {
	if m, ok := d.opened[name]; ok {
		return m, nil
	}
	m := Model{Name: name}
	var err error
	if m.Documents, err = d.Documents.openVectors(name, d.watched); err != nil {
		return Model{Name: name}, err
	}
	if m.Queries, err = d.Queries.openVectors(name, d.watched); err == nil {
		err = m.checkWidths()
	}
	if err != nil {
		return Model{Name: name}, errors.Join(err, CloseSource(m.Documents), CloseSource(m.Queries))
	}
	d.opened[name] = m
	return m, nil
}

// CheckVectors finds all that Vectors refuses of a model, of both sides. It keeps no rows, see Watch.Dry.
func (d *Dataset) CheckVectors(name string, w Watch) (problems []error) {
	w.Dry = true
	documents, ofDocuments := d.Documents.openVectors(name, w)
	queries, ofQueries := d.Queries.openVectors(name, w)
	problems = append(problems, ofDocuments, ofQueries)
	if ofDocuments == nil && ofQueries == nil {
		problems = append(problems, Model{name, documents, queries}.checkWidths())
	}
	problems = append(problems, CloseSource(documents), CloseSource(queries))
	return slices.DeleteFunc(problems, func(err error) bool { return err == nil })
}

// openVectors opens one encoder's vectors, by what their format needs, and checks that there is one for each id.
func (s Side) openVectors(model string, w Watch) (x Matrix, err error) {
	if v, ok := s.Vectors.(Matched); ok {
		x, err = v.OpenMatched(model, s.IDs, w)
	} else {
		x, err = s.Vectors.Open(model)
	}
	if err != nil {
		return nil, err
	}
	if x.Rows() != s.Len() {
		err = FileError(x.Name(), "one row for each id, in their order: make the vectors again", "%d rows; %s has %d ids", x.Rows(), s.Name(), s.Len())
		return nil, errors.Join(err, CloseSource(x))
	}
	return x, nil
}

// checkWidths fails where the two sides have not as many columns.
func (m Model) checkWidths() error {
	if documents, queries := m.Documents.Width(), m.Queries.Width(); documents != queries {
		return FileError(m.Queries.Name(), "one model encodes both: make the vectors again", "%d columns; %s has %d", queries, filepath.Base(m.Documents.Name()), documents)
	}
	return nil
}

// NoModel is the error of Vectors for a name that is not among its models. path says where the vectors would be.
func NoModel(path string, models []string) error {
	return FileError(path, "", "there is no such model; there are %s", excerpt.Text(strings.Join(models, ", ")))
}

// HasTexts tells whether both sides have texts, not ids alone.
func (d *Dataset) HasTexts() bool { return hasTexts(d.Documents.Texts) && hasTexts(d.Queries.Texts) }

// Fingerprints returns the SHA-256, in hexadecimal, of everything that mining those models reads, by what it is:
// "corpus", "queries", "qrels/train", "vectors/mpnet/docs" and so on; of Judged, "judgements/<Qrels.Split>". Up to threads matrices are read at once.
func (d *Dataset) Fingerprints(threads int, models []Model) (map[string]string, error) {
	sums := map[string]string{}
	for _, q := range d.Qrels {
		sums["qrels/"+q.Split] = q.SHA256
	}
	for _, q := range d.Judged {
		sums["judgements/"+q.Split] = q.SHA256
	}
	var errs [2]error
	sums["corpus"], errs[0] = d.Documents.SHA256()
	sums["queries"], errs[1] = d.Queries.SHA256()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	var names []string
	var matrices []Matrix
	for _, m := range models {
		names = append(names, "vectors/"+m.Name+"/docs", "vectors/"+m.Name+"/queries")
		matrices = append(matrices, m.Documents, m.Queries)
	}
	of, err := SHA256s(threads, matrices)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		sums[name] = of[i]
	}
	return sums, nil
}
