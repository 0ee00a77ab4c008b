package projection

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/fit"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// DefaultVariance is the share of the variance that the paper keeps.
const DefaultVariance = 0.95

// Weight is a model and what its vectors are multiplied by.
type Weight struct {
	Model  string
	Weight float64
}

// FitOptions say how to fit a projection. The zero value is the paper's: all models at weight 1, L2-normalised, PCA on the documents,
// centred, keeping 95 % of the variance.
type FitOptions struct {
	Models      []Weight      // in order of concatenation; empty means all, by name, at weight 1
	NoNormalize bool          // leave each model's vectors as they are before weighting
	Variance    float64       // share of the variance to keep; 0 means DefaultVariance
	Components  int           // a fixed number of components instead; 0 means by Variance
	NoPCA       bool          // concatenate only
	NoCenter    bool          // do not subtract the mean: a truncated SVD
	FitOn       string        // FitOnDocs (default), FitOnAll, or "sample:N"
	Seed        uint64        // chooses the sample, and the random subspace of a wide fit
	Zero        string        // option.ZeroError (default) or option.ZeroSkip: such rows are not fitted on
	Threads     int           // 0 means all cores; the result does not depend on it
	Memory      option.Budget // that the fit may take; the zero value means the whole process with option.DefaultMemory
	Progress    option.Progress

	// Fitted is returned instead of being fitted again where it is of the same vectors and options. It may be nil.
	Fitted *Projection
	// Keep is where the fit keeps what it has done, so that a later call with the same vectors and options goes on
	// from there; nil means nowhere. Fit fills in Keep.Of. The result does not depend on it.
	Keep *fit.Keep
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
	var errs option.Problems
	if o.FitOn == "" {
		o.FitOn = FitOnDocs
	}
	errs.Check(o.Variance == 0 || o.Components == 0, "variance and components are both given; choose one")
	errs.Check(!o.NoPCA || o.Variance == 0 && o.Components == 0, "without PCA there is no variance or number of components to choose")
	errs.Check(!o.NoPCA || o.FitOn == FitOnDocs, "without PCA there is nothing to fit on: %s", excerpt.Text(o.FitOn))
	errs.Check(!o.NoPCA || !o.NoCenter, "without PCA nothing is centred anyway")
	if o.Variance == 0 {
		o.Variance = DefaultVariance
	}
	errs.Check(o.Variance > 0 && o.Variance <= 1, "variance is %v; it goes from above 0 to 1", o.Variance)
	errs.Check(o.Components >= 0 && o.Components <= abi.MaxColumns, "components is %d; it goes from 1 to %d", o.Components, abi.MaxColumns)
	_, sample := sampleSize(o.FitOn)
	errs.Check(sample || o.FitOn == FitOnDocs || o.FitOn == FitOnAll, "fit on is %s; it is docs, all, or sample:N", excerpt.Quote(o.FitOn))
	errs.OneOf("zero", &o.Zero, option.ZeroError, option.ZeroSkip)
	errs.Check(o.Threads >= 0, "threads is %d; it is 1 or more, or 0 for all cores", o.Threads)
	seen := map[string]bool{}
	for _, m := range o.Models {
		errs.Check(!seen[m.Model], "model %s is given twice", excerpt.Quote(m.Model))
		errs.Check(m.Weight > 0 && m.Weight-m.Weight == 0, "model %s has weight %v; it must be finite and above 0", excerpt.Quote(m.Model), m.Weight)
		seen[m.Model] = true
	}
	return o, errs.Err()
}

// Fit fits a projection on a data set's vectors.
func Fit(ctx context.Context, data *dataset.Dataset, o FitOptions) (*Projection, error) {
	rows, o, err := prepare(data, o)
	if err != nil {
		return nil, err
	}
	if o.Fitted != nil && rows.gives(o.Fitted, o) {
		return o.Fitted, nil
	}
	if !o.NoPCA {
		if err := rows.fit(ctx, o); err != nil {
			return nil, err
		}
	}
	file, err := rows.projection.Marshal()
	if err != nil {
		return nil, err
	}
	return Parse(file)
}

// Gives reports whether Fit on a data set with these options gives p. It fits nothing.
func Gives(p *Projection, data *dataset.Dataset, o FitOptions) (bool, error) {
	rows, o, err := prepare(data, o)
	return err == nil && rows.gives(p, o), err
}

// IsKept reports whether the file of FitOptions.Keep has something of a fit on a data set with these options.
func IsKept(data *dataset.Dataset, o FitOptions) (bool, error) {
	rows, o, err := prepare(data, o)
	if err != nil || o.NoPCA {
		return false, err
	}
	return rows.keep(o).Has(), nil
}

// prepare returns the rows to fit, with the projection to be, which has all but what is fitted; and the options with
// their defaults.
func prepare(data *dataset.Dataset, o FitOptions) (*fitRows, FitOptions, error) {
	rows, o, err := rowsToFit(data, o)
	if err == nil {
		rows.projection.DataSHA256, err = rows.fingerprint(option.Threads(o.Threads))
	}
	return rows, o, err
}

// rowsToFit is prepare without the fingerprint of the rows, which takes reading them.
func rowsToFit(data *dataset.Dataset, o FitOptions) (*fitRows, FitOptions, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, o, err
	}
	p := o.projection(data)
	var models []dataset.Model
	for i, w := range p.Models {
		if !slices.Contains(data.Models, w.Name) {
			return nil, o, fmt.Errorf("%w: there is no model %s; there are %s", option.ErrOption, excerpt.Quote(w.Name), excerpt.Text(strings.Join(data.Models, ", ")))
		}
		m, err := data.Vectors(w.Name)
		if err != nil {
			return nil, o, err
		}
		models = append(models, m)
		p.Models[i].Width = m.Documents.Width()
	}
	rows, err := newFitRows(p, models, o)
	return rows, o, err
}

// Size is how large a projection is, as far as it is known before it is fitted.
type Size struct {
	Models, Columns int
	Least, Most     int // components
}

// SizeToBe is the size of the projection that Fit gives on a data set with these options. It reads no vectors.
func SizeToBe(data *dataset.Dataset, o FitOptions) (Size, error) {
	rows, o, err := rowsToFit(data, o)
	if err != nil {
		return Size{}, err
	}
	s := Size{Models: len(rows.projection.Models), Columns: rows.Columns()}
	switch {
	case o.NoPCA:
		s.Least, s.Most = s.Columns, s.Columns
	case o.Components > 0:
		s.Least, s.Most = o.Components, o.Components
	default:
		s.Least, s.Most = 1, max(1, min(s.Columns, rows.Rows()))
	}
	return s, nil
}

// projection is what the options say of the projection to be: its models, without their widths, and settings.
func (o FitOptions) projection(data *dataset.Dataset) *pca.Projection {
	p := &pca.Projection{Normalize: !o.NoNormalize, Center: !o.NoCenter && !o.NoPCA, FitOn: o.FitOn, Seed: o.Seed}
	for _, w := range o.Models {
		p.Models = append(p.Models, pca.Model{Name: w.Model, Weight: w.Weight})
	}
	if len(o.Models) == 0 {
		for _, name := range data.Models {
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

// Settings are the options of a fit that a projection keeps. Two fits of the same rows with equal settings give the same projection.
type Settings struct {
	Models            []Weight
	Normalize, Center bool
	PCA, FitOn        string
	Seed              uint64
}

// SettingsOf returns the settings that a projection was fitted with.
func SettingsOf(p *pca.Projection) Settings {
	s := Settings{Normalize: p.Normalize, Center: p.Center, PCA: p.PCA, FitOn: p.FitOn, Seed: p.Seed}
	for _, m := range p.Models {
		s.Models = append(s.Models, Weight{m.Name, m.Weight})
	}
	return s
}

// Settings returns the settings that a fit on a data set with these options has, or all that is wrong with the options.
func (o FitOptions) Settings(data *dataset.Dataset) (Settings, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Settings{}, err
	}
	return SettingsOf(o.projection(data)), nil
}

func (s Settings) equal(other Settings) bool {
	return slices.Equal(s.Models, other.Models) && s.Normalize == other.Normalize && s.Center == other.Center && s.PCA == other.PCA &&
		s.FitOn == other.FitOn && s.Seed == other.Seed
}
