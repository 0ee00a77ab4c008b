// Package projection is projection files as the host handles them: it fits them on a data set's vectors, loads and saves them.
//
// Input: a data set and options. Output: a projection (package plugin/pca), its file's bytes, and the fingerprint that every later artifact
// names. The numbers come from package fit. Packages mining, run and job take projections.
package projection

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// Projection is a projection file: what it says, its bytes, and the fingerprint that every later artifact names.
type Projection struct {
	*pca.Projection
	File        []byte
	Fingerprint string // SHA-256 of File, in hexadecimal
}

// Parse reads a projection file's bytes.
func Parse(file []byte) (*Projection, error) {
	p, err := pca.Parse(file)
	if err != nil {
		return nil, excerpt.Error(err)
	}
	return &Projection{p, file, pca.Fingerprint(file)}, nil
}

// Load reads a projection file.
func Load(path string) (*Projection, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, dataset.ReadError(path, err, "make it with quarry fit")
	}
	p, err := Parse(file)
	if err != nil {
		return nil, &dataset.Error{Path: path, Row: -1, Problem: err.Error(), Hint: "make it again with quarry fit", Err: err}
	}
	return p, nil
}

// Write writes the projection file's bytes.
func (p *Projection) Write(w io.Writer) error {
	_, err := w.Write(p.File)
	return err
}

// Save writes the projection file, whole or not at all; without force it replaces nothing.
func (p *Projection) Save(path string, force bool) error {
	return atomicfile.Write(path, force, p.Write)
}

// Vectors opens the vectors of the projection's models and checks their widths.
func (p *Projection) Vectors(data *dataset.Dataset) ([]dataset.Model, error) {
	var models []dataset.Model
	for _, want := range p.Models {
		m, err := data.Vectors(want.Name)
		if e := (*dataset.Error)(nil); errors.As(err, &e) && !slices.Contains(data.Models, want.Name) {
			return nil, &dataset.Error{Path: e.Path, Row: -1, Problem: fmt.Sprintf("the projection has model %s, and %s", excerpt.Quote(want.Name), e.Problem), Hint: "give another projection, or make one with quarry fit", Err: e}
		}
		if err != nil {
			return nil, err
		}
		if got := m.Documents.Width(); got != want.Width {
			return nil, &dataset.Error{Path: m.Documents.Name(), Row: -1, Problem: fmt.Sprintf("%d columns; the projection has %d", got, want.Width),
				Hint: "the projection was fitted on vectors of another model: fit it again"}
		}
		models = append(models, m)
	}
	return models, nil
}

// ReadRaw reads n rows of each model.
func ReadRaw(xs []dataset.Matrix, first, n int) ([]pca.Raw, error) {
	models := make([]pca.Raw, len(xs))
	for i, x := range xs {
		models[i] = pca.Raw{DType: x.DType(), Data: make([]byte, n*x.Width()*x.DType().Size())}
		if err := x.ReadRows(models[i].Data, first, n); err != nil {
			return nil, err
		}
	}
	return models, nil
}
