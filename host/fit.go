package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/fit"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// Weight is a model and what its vectors are multiplied by.
type Weight struct {
	Model  string
	Weight float64
}

// FitOptions say how to fit a projection. The zero value is the paper's: all models at weight 1, L2-normalised, PCA on the documents,
// centred, keeping 95 % of the variance.
type FitOptions struct {
	Models      []Weight // in order of concatenation; empty means all, by name, at weight 1
	NoNormalize bool     // leave each model's vectors as they are before weighting
	Variance    float64  // share of the variance to keep; 0 means 0.95
	Components  int      // a fixed number of components instead; 0 means by Variance
	NoPCA       bool     // concatenate only
	NoCenter    bool     // do not subtract the mean: a truncated SVD
	FitOn       string   // FitOnDocs (default), FitOnAll, or "sample:N"
	Seed        uint64   // chooses the sample, and the random subspace of a wide fit
	Zero        string   // ZeroError (default) or ZeroSkip: such rows are not fitted on
	Threads     int      // 0 means all cores; the result does not depend on it
	Memory      int64    // bytes that the process may take; 0 means DefaultMemory
	Progress    Progress

	// Fitted, where it is of the same vectors and options, is returned instead of being fitted again. nil is no such.
	Fitted *Projection
}

// What a projection is fitted on, in FitOptions.FitOn; a sample of N documents is "sample:N".
const (
	FitOnDocs = "docs"
	FitOnAll  = "all"
)

// sampleSize reads "sample:N".
func sampleSize(fitOn string) (n int, ok bool) {
	if _, err := fmt.Sscanf(fitOn, "sample:%d", &n); err != nil || fitOn != "sample:"+strconv.Itoa(n) {
		return 0, false
	}
	return n, n > 0
}

// Validate reports all that is wrong with the options.
func (o FitOptions) Validate() error {
	_, err := o.withDefaults()
	return err
}

func (o FitOptions) withDefaults() (FitOptions, error) {
	var errs optionErrors
	if o.FitOn == "" {
		o.FitOn = FitOnDocs
	}
	errs.check(o.Variance == 0 || o.Components == 0, "variance and components are both given; choose one")
	errs.check(!o.NoPCA || o.Variance == 0 && o.Components == 0, "without PCA there is no variance or number of components to choose")
	errs.check(!o.NoPCA || o.FitOn == FitOnDocs, "without PCA there is nothing to fit on: %s", o.FitOn)
	errs.check(!o.NoPCA || !o.NoCenter, "without PCA nothing is centred anyway")
	if o.Variance == 0 {
		o.Variance = 0.95
	}
	errs.check(o.Variance > 0 && o.Variance <= 1, "variance is %v; it goes from above 0 to 1", o.Variance)
	errs.check(o.Components >= 0 && o.Components <= abi.MaxColumns, "components is %d; it goes from 1 to %d", o.Components, abi.MaxColumns)
	_, sample := sampleSize(o.FitOn)
	errs.check(sample || o.FitOn == FitOnDocs || o.FitOn == FitOnAll, "fit on is %q; it is docs, all, or sample:N", o.FitOn)
	errs.oneOf("zero", &o.Zero, ZeroError, ZeroSkip)
	errs.check(o.Threads >= 0, "threads is %d; it is 1 or more, or 0 for all cores", o.Threads)
	seen := map[string]bool{}
	for _, m := range o.Models {
		errs.check(!seen[m.Model], "model %q is given twice", m.Model)
		errs.check(m.Weight > 0 && m.Weight-m.Weight == 0, "model %q has weight %v; it must be finite and above 0", m.Model, m.Weight)
		seen[m.Model] = true
	}
	return o, errs.err()
}

// Fit fits a projection on a folder's vectors.
func Fit(ctx context.Context, folder *dataset.Dataset, o FitOptions) (*Projection, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	p := o.projection(folder)
	var models []dataset.Model
	for i, w := range p.Models {
		if !slices.Contains(folder.Models, w.Name) {
			return nil, fmt.Errorf("%w: there is no model %q; there are %s", ErrOption, w.Name, strings.Join(folder.Models, ", "))
		}
		m, err := folder.Vectors(w.Name)
		if err != nil {
			return nil, err
		}
		models = append(models, m)
		p.Models[i].Width = m.Documents.Width()
	}
	rows, err := newFitRows(p, models, o)
	if err != nil {
		return nil, err
	}
	if p.DataSHA256, err = rows.fingerprint(); err != nil {
		return nil, err
	}
	if o.Fitted != nil && rows.gave(o.Fitted, o) {
		return o.Fitted, nil
	}
	if !o.NoPCA {
		if err := rows.fit(ctx, o); err != nil {
			return nil, err
		}
	}
	file, err := p.Marshal()
	if err != nil {
		return nil, err
	}
	return ParseProjection(file)
}

// projection is what the options say of the projection to be: its models, without their widths, and settings.
func (o FitOptions) projection(folder *dataset.Dataset) *pca.Projection {
	p := &pca.Projection{Normalize: !o.NoNormalize, Center: !o.NoCenter && !o.NoPCA, FitOn: o.FitOn, Seed: o.Seed}
	for _, w := range o.Models {
		p.Models = append(p.Models, pca.Model{Name: w.Model, Weight: w.Weight})
	}
	if len(o.Models) == 0 {
		for _, name := range folder.Models {
			p.Models = append(p.Models, pca.Model{Name: name, Weight: 1})
		}
	}
	switch {
	case o.NoPCA:
		p.PCA = "none"
	case o.Components > 0:
		p.PCA = "components=" + strconv.Itoa(o.Components)
	default:
		p.PCA = "variance=" + strconv.FormatFloat(o.Variance, 'g', -1, 64)
	}
	return p
}

// fitRows are the rows to fit: all documents, then perhaps all queries, or some documents.
type fitRows struct {
	projection *pca.Projection
	documents  []dataset.Matrix // of each model
	queries    []dataset.Matrix // nil unless fitted on too
	sample     []int            // rows of documents, ascending; nil means all
	zero       pca.Zero
}

func newFitRows(p *pca.Projection, models []dataset.Model, o FitOptions) (*fitRows, error) {
	r := &fitRows{projection: p, zero: pca.Zero(o.Zero == ZeroSkip)}
	for _, m := range models {
		r.documents = append(r.documents, m.Documents)
		if o.FitOn == FitOnAll {
			r.queries = append(r.queries, m.Queries)
		}
	}
	if n, ok := sampleSize(o.FitOn); ok {
		all := r.documents[0].Rows()
		if n > all {
			return nil, fmt.Errorf("%w: a sample of %d was asked for; there are %d documents", ErrOption, n, all)
		}
		r.sample = rand.New(rand.NewPCG(o.Seed, 0)).Perm(all)[:n]
		slices.Sort(r.sample)
	}
	return r, nil
}

// fingerprint is the SHA-256 over a line "<model> <side> <fingerprint>" for each matrix that is fitted on.
func (r *fitRows) fingerprint() (string, error) {
	sum := sha256.New()
	for _, side := range []struct {
		name string
		of   []dataset.Matrix
	}{{"docs", r.documents}, {"queries", r.queries}} {
		for i, x := range side.of {
			fingerprint, err := x.SHA256()
			if err != nil {
				return "", err
			}
			fmt.Fprintf(sum, "%s %s %s\n", r.projection.Models[i].Name, side.name, fingerprint)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (r *fitRows) fit(ctx context.Context, o FitOptions) error {
	p := r.projection
	budget := RunOptions{Memory: o.Memory}.memory()
	result, err := fit.Fit(ctx, r, fit.Options{
		Variance: o.Variance, Components: o.Components, Center: !o.NoCenter, Threads: RunOptions{Threads: o.Threads}.threads(),
		Seed: o.Seed, Memory: max(1, budget-ProcessMemory), Progress: func(pass string, done, total int) { o.Progress.report(pass, int64(done), int64(total)) },
	})
	if little := (*fit.MemoryError)(nil); errors.As(err, &little) {
		return tooLittle(budget, little.Need+ProcessMemory)
	}
	if err != nil {
		return fmt.Errorf("fit: %w", err)
	}
	p.Mean, p.Components, p.Variances = result.Mean, result.Components, result.Variances
	p.Rows, p.TotalVariance, p.CapturedVariance = result.Rows, result.Total, result.Captured
	return nil
}

// gave reports whether a fit of these rows gave p.
func (r *fitRows) gave(p *Projection, o FitOptions) bool {
	want := r.projection
	skipped := !o.NoPCA && p.Rows < r.Rows()
	return p.DataSHA256 == want.DataSHA256 && slices.Equal(p.Models, want.Models) && reflect.DeepEqual(settingsOf(p.Projection), settingsOf(want)) &&
		(o.Zero == ZeroSkip || !skipped)
}

// Rows is how many rows there are to fit.
func (r *fitRows) Rows() int {
	if r.sample != nil {
		return len(r.sample)
	}
	n := r.documents[0].Rows()
	if r.queries != nil {
		n += r.queries[0].Rows()
	}
	return n
}

// Columns is the width of all models together.
func (r *fitRows) Columns() int { return r.projection.Columns() }

// Read fuses rows first to first+n-1.
func (r *fitRows) Read(dst []float32, first, n int) ([]bool, error) {
	d := r.Columns()
	skip := make([]bool, n)
	// fuse does rows [at, at+count) of dst, from rows of one side.
	fuse := func(xs []dataset.Matrix, row, at, count int) error {
		if count == 0 {
			return nil
		}
		s, err := r.readRange(dst[at*d:(at+count)*d], xs, row, count)
		copy(skip[at:], s)
		return err
	}
	if r.sample != nil {
		for i := range n {
			if err := fuse(r.documents, r.sample[first+i], i, 1); err != nil {
				return nil, err
			}
		}
		return skip, nil
	}
	all := r.documents[0].Rows()
	documents := max(0, min(n, all-first))
	if err := fuse(r.documents, first, 0, documents); err != nil {
		return nil, err
	}
	return skip, fuse(r.queries, first+documents-all, documents, n-documents)
}

// readRange fuses rows of one side, and says in errors which file and row is at fault.
func (r *fitRows) readRange(dst []float32, xs []dataset.Matrix, first, n int) ([]bool, error) {
	rows, err := readRaw(xs, first, n)
	if err != nil {
		return nil, err
	}
	skip, err := r.projection.Fuse(dst, rows, n, r.zero, func(model string) string { return model })
	if e := (*abi.Error)(nil); errors.As(err, &e) {
		for i, m := range r.projection.Models {
			if m.Name == e.Tensor {
				return nil, vectorError(xs[i].Name(), first+e.Row, e)
			}
		}
	}
	return skip, err
}
