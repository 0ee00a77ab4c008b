package run

import (
	"errors"
	"fmt"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// CheckInputs fails where the run would refuse its inputs, as far as that is known without reading vectors: an unknown
// model or split, vectors that are not there, a query or positive that is missing.
func (r Run) CheckInputs(data *dataset.Dataset) error {
	if r.Projection == nil {
		return mining.CheckBeforeFit(data, r.Fit, r.Mine)
	}
	if _, err := r.Projection.Vectors(data); err != nil {
		return err
	}
	return mining.CheckPairs(data, r.Mine)
}

// UseFitted looks for a file where the run would write the projection that it fits. Where the file is the projection of
// that very fit, the run uses it and does not write it, as if it had been given; found is its path. A file that is
// another is an error of option.ErrExists, unless Outputs.Force replaces it.
func (r *Run) UseFitted(data *dataset.Dataset) (found string, err error) {
	path := r.Outputs.Projection
	if path == "" {
		return "", nil
	}
	if err := atomicfile.Check(path, r.Outputs.Force); r.Projection != nil || !errors.Is(err, option.ErrExists) {
		return "", err
	}
	p, err := fittedThere(data, r.Fit, path)
	if err != nil {
		return "", err
	}
	r.use(p)
	return path, nil
}

// use makes the run one with a projection that lies already where it would be written.
func (r *Run) use(p *projection.Projection) {
	r.Projection, r.found, r.Outputs.Projection = p, r.Outputs.Projection, ""
}

// fittedThere loads the projection at path, which must be what a fit with these options gives, or says how it differs.
func fittedThere(data *dataset.Dataset, o projection.FitOptions, path string) (*projection.Projection, error) {
	p, err := projection.Load(path)
	if err != nil {
		problem := err.Error()
		if e := (*dataset.Error)(nil); errors.As(err, &e) {
			problem = e.Problem
		}
		return nil, fmt.Errorf("%s %w, and cannot be used: %s\n  hint: write to another folder, or replace it with --force", path, option.ErrExists, problem)
	}
	now, err := o.Settings(data)
	if err != nil {
		return nil, err
	}
	why := strings.Join(differentSettings(projection.SettingsOf(p.Projection), now), "; ")
	if why == "" {
		gives, err := projection.Gives(p, data, o)
		if err != nil || gives {
			return p, err
		}
		why = "its vectors were others, or those that are zero were left out"
	}
	return nil, fmt.Errorf("%s %w, of another fit than this run's: %s\n  hint: use it with --projection, write to another folder, or replace it with --force",
		path, option.ErrExists, why)
}
