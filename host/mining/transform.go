package mining

import (
	"context"
	"errors"
	"io"
	"path/filepath"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/npy"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// TransformOptions say how to project a data set's vectors.
type TransformOptions struct {
	Compute
	Zero  string // option.ZeroError (default) or option.ZeroSkip: such a row becomes zeros
	Force bool   // replace files that are there
}

// Validate reports all that is wrong with the options.
func (o TransformOptions) Validate() error {
	_, err := o.withDefaults()
	return err
}

func (o TransformOptions) withDefaults() (TransformOptions, error) {
	var errs option.Problems
	errs.OneOf("zero", &o.Zero, option.ZeroError, option.ZeroSkip)
	o.Compute.check(&errs)
	return o, errs.Err()
}

// Transformed says what was projected.
type Transformed struct {
	Documents, Queries int // rows
	Components         int // columns
	Zero               int // rows of zeros, in either
}

// Transform projects all documents and queries of a data set to docs.npy and queries.npy in the folder out: float32, one row per
// line of the corpus or query file.
func Transform(ctx context.Context, data *dataset.Dataset, p *projection.Projection, out string, o TransformOptions) (t *Transformed, err error) {
	if o, err = o.withDefaults(); err != nil {
		return nil, err
	}
	models, err := p.Vectors(data)
	if err != nil {
		return nil, err
	}
	for _, file := range []string{"docs.npy", "queries.npy"} {
		if err := atomicfile.Check(filepath.Join(out, file), o.Force); err != nil {
			return nil, err
		}
	}
	split, err := o.splitFor(func(c Compute) need { return c.needOfTransform(sizeOfProjection(p)) }, 0)
	if err != nil {
		return nil, err
	}
	s, err := o.open(ctx, p, split)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()

	var documents, queries []dataset.Matrix
	for _, m := range models {
		documents, queries = append(documents, m.Documents), append(queries, m.Queries)
	}
	t = &Transformed{Documents: documents[0].Rows(), Queries: queries[0].Rows(), Components: p.Width()}
	var files atomicfile.Group
	defer func() { err = errors.Join(err, files.Discard()) }()
	for _, side := range []struct {
		file string
		xs   []dataset.Matrix
	}{{"docs.npy", documents}, {"queries.npy", queries}} {
		err := files.Create(filepath.Join(out, side.file), o.Force, func(to io.Writer) error {
			zeros, err := s.writeProjected(ctx, to, side.xs, o, "project "+side.file)
			t.Zero += zeros
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if err := files.Commit(); err != nil {
		return nil, err
	}
	return t, nil
}

// transformBytes is how much of what is projected is held.
const transformBytes = 16 << 20

// writeProjected writes a .npy file of all rows, projected, and returns how many were zero.
func (s *instances) writeProjected(ctx context.Context, to io.Writer, xs []dataset.Matrix, o TransformOptions, stage string) (zeros int, err error) {
	n, k := xs[0].Rows(), s.projection.Width()
	if _, err := to.Write(npy.Header(n, k)); err != nil {
		return 0, err
	}
	done := o.Progress.Count(stage, n)
	heldRows := max(64, min(4096, transformBytes/(4*k))) // rows whose projections are held; all threads share them
	for first := 0; first < n; first += heldRows {
		rows := make([]int, min(heldRows, n-first))
		for i := range rows {
			rows[i] = first + i
		}
		y, zero, err := s.project(ctx, xs, rows, o.Zero, done)
		if err != nil {
			return 0, err
		}
		for _, z := range zero {
			if z {
				zeros++
			}
		}
		if _, err := to.Write(safetensors.OfFloat32("", y).Data); err != nil {
			return 0, err
		}
	}
	return zeros, nil
}
