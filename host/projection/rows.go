package projection

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/fit"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// fitRows are the rows to fit: all documents, then perhaps all queries, or some documents.
type fitRows struct {
	projection *pca.Projection
	documents  []dataset.Matrix // of each model
	queries    []dataset.Matrix // nil unless fitted on too
	sample     []int            // rows of documents, ascending; nil means all
	zero       pca.Zero
}

func newFitRows(p *pca.Projection, models []dataset.Model, o FitOptions) (*fitRows, error) {
	r := &fitRows{projection: p, zero: pca.Zero(o.Zero == option.ZeroSkip)}
	for _, m := range models {
		r.documents = append(r.documents, m.Documents)
		if o.FitOn == FitOnAll {
			r.queries = append(r.queries, m.Queries)
		}
	}
	if n, ok := sampleSize(o.FitOn); ok {
		all := r.documents[0].Rows()
		if n > all {
			return nil, fmt.Errorf("%w: a sample of %d was asked for; there are %d documents", option.ErrOption, n, all)
		}
		r.sample = rand.New(rand.NewPCG(o.Seed, 0)).Perm(all)[:n]
		slices.Sort(r.sample)
	}
	return r, nil
}

// fingerprint is the SHA-256 over a line "<model> <side> <fingerprint>" for each matrix that is fitted on. Up to
// threads are read at once.
func (r *fitRows) fingerprint(threads int) (string, error) {
	of, err := dataset.SHA256s(threads, slices.Concat(r.documents, r.queries))
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for i, fingerprint := range of {
		model, side := i, "docs"
		if i >= len(r.documents) {
			model, side = i-len(r.documents), "queries"
		}
		fmt.Fprintf(sum, "%s %s %s\n", r.projection.Models[model].Name, side, fingerprint)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (r *fitRows) fit(ctx context.Context, o FitOptions) error {
	p := r.projection
	budget := o.Memory.OrDefault()
	result, err := fit.Fit(ctx, r, fit.Options{
		Variance: o.Variance, Components: o.Components, Center: !o.NoCenter, Threads: option.Threads(o.Threads), Seed: o.Seed, Memory: budget.Unreserved(),
		Progress: func(pass string, done, total int) { o.Progress.Report(pass, int64(done), int64(total)) }, Keep: r.keep(o),
	})
	if little := (*fit.MemoryError)(nil); errors.As(err, &little) {
		return budget.TooLittle(little.Need + budget.Reserved)
	}
	if err != nil {
		return fmt.Errorf("fit: %w", err)
	}
	p.Mean, p.Components, p.Variances = result.Mean, result.Components, result.Variances
	p.Rows, p.TotalVariance, p.CapturedVariance = result.Rows, result.Total, result.Captured
	return nil
}

// keep is FitOptions.Keep with the fingerprint of what is fitted and how; nil where there is none.
func (r *fitRows) keep(o FitOptions) *fit.Keep {
	if o.Keep == nil {
		return nil
	}
	text, err := json.Marshal(struct {
		DataSHA256 string
		Models     []pca.Model
		Settings   Settings
		Zero       string
	}{r.projection.DataSHA256, r.projection.Models, SettingsOf(r.projection), o.Zero})
	if err != nil {
		panic(err) // the options are valid, so all numbers are finite
	}
	sum := sha256.Sum256(text)
	o.Keep.Of = hex.EncodeToString(sum[:])
	return o.Keep
}

// gives reports whether a fit of these rows with these options gives p.
func (r *fitRows) gives(p *Projection, o FitOptions) bool {
	want := r.projection
	skipped := !o.NoPCA && p.Rows < r.Rows()
	return p.DataSHA256 == want.DataSHA256 && slices.Equal(p.Models, want.Models) && SettingsOf(p.Projection).equal(SettingsOf(want)) &&
		(o.Zero == option.ZeroSkip || !skipped)
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
	// fuse fills rows at to at+count-1 of dst from rows of one side.
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

// readRange fuses rows of one side. Its errors name the file and the row that are at fault.
func (r *fitRows) readRange(dst []float32, xs []dataset.Matrix, first, n int) ([]bool, error) {
	rows, err := ReadRaw(xs, first, n)
	if err != nil {
		return nil, err
	}
	skip, err := r.projection.FuseWith(kernel.Fastest(), dst, rows, n, r.zero, func(model string) string { return model })
	if e := (*abi.Error)(nil); errors.As(err, &e) {
		for i, m := range r.projection.Models {
			if m.Name == e.Tensor {
				return nil, VectorError(xs[i], first+e.Row, e)
			}
		}
	}
	return skip, err
}
