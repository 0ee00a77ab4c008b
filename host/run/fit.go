package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/fit"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/internal/event"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// Fit is a projection to fit, and where to. What a fit of minutes has done is kept beside the output until it is written.
type Fit struct {
	Options  projection.FitOptions // without Keep
	Output   string                // projection.safetensors
	Force    bool                  // replace what is there
	Resume   bool                  // as that of Run
	PartRows int                   // as that of Run
}

// Validate reports all that is wrong with the options.
func (f Fit) Validate() error { return errors.Join(f.Options.Validate(), validRows(f.PartRows)) }

// validRows fails where PartRows is not valid.
func validRows(n int) error {
	var errs option.Problems
	errs.Check(n >= 0, "part documents is %d; it is 1 or more, or 0 to choose", n)
	return errs.Err()
}

// Do fits the projection and writes it. finished says that an earlier call had written it, and nothing was done.
func (f Fit) Do(ctx context.Context, data *dataset.Dataset) (p *projection.Projection, finished bool, err error) {
	if err := f.Validate(); err != nil {
		return nil, false, err
	}
	if _, err := projection.SizeToBe(data, f.Options); err != nil { // what is wrong with the inputs comes before outputs
		return nil, false, err
	}
	c := checkpointBeside(f.Output)
	if err := c.mayBegin(f.Resume, f.Force); err != nil {
		return nil, false, err
	}
	goesOn, err := c.keepsFit(data, f.Options, f.Resume)
	if err != nil {
		return nil, false, err
	}
	force := f.Force || goesOn // the output was not there, or could be replaced, when the fit began
	if f.Resume && !goesOn && (Outputs{Projection: f.Output}).exist() {
		p, err := f.alreadyFinished(data, c)
		return p, err == nil, err
	}
	if err := atomicfile.Check(f.Output, force); err != nil {
		return nil, false, err
	}
	p, kept, err := c.fit(ctx, data, f.Options, f.Resume, f.PartRows)
	if err != nil {
		return nil, false, err
	}
	if err := f.save(p, c, force); err != nil {
		if kept {
			err = &Kept{c.folder, err}
		}
		return nil, false, err
	}
	return p, false, c.remove()
}

// save writes the projection. What is not complete yet is in the checkpoint's folder, where a later call with Resume
// removes it.
func (f Fit) save(p *projection.Projection, c *checkpoint, force bool) error {
	temporary := ""
	if f.Resume {
		temporary = c.folder
		if err := c.makeFolder(); err != nil {
			return err
		}
	}
	file, err := atomicfile.CreateIn(temporary, f.Output, force, p.Write)
	if err != nil {
		return err
	}
	return file.Commit()
}

// alreadyFinished finds that the output is there and is of this fit, or says how it differs.
func (f Fit) alreadyFinished(data *dataset.Dataset, c *checkpoint) (*projection.Projection, error) {
	p, err := fittedBefore(data, f.Options, f.Output)
	if err != nil {
		return nil, err
	}
	gives, err := projection.Gives(p, data, f.Options)
	if err != nil {
		return nil, err
	}
	if !gives {
		return nil, fmt.Errorf("%s %w, of other vectors, or of vectors without those that are zero\n  hint: give the same inputs and options, or %s",
			f.Output, option.ErrExists, startAnew)
	}
	return p, c.remove() // a call that was killed may have left the folder
}

// fittedBefore loads the projection that an earlier call fitted. It must be of the same options.
func fittedBefore(data *dataset.Dataset, o projection.FitOptions, path string) (*projection.Projection, error) {
	p, err := projection.Load(path)
	if err != nil {
		return nil, err
	}
	now, err := o.Settings(data)
	if err != nil {
		return nil, err
	}
	return p, sameSettings(path, projection.SettingsOf(p.Projection), now)
}

// fitFile is the name of what a fit keeps in the folder until the projection is there for good. It is the first that
// is removed: where it is there, and run.json is not, a run was cut short in its fit, or soon after.
const fitFile = "fit.safetensors"

func (c *checkpoint) fitPath() string { return filepath.Join(c.folder, fitFile) }

// keepsFit reports whether the folder keeps something of a fit with those options, and whether it may be gone on from.
func (c *checkpoint) keepsFit(data *dataset.Dataset, o projection.FitOptions, resume bool) (bool, error) {
	if _, err := os.Stat(c.fitPath()); !resume || err != nil {
		return false, nil
	}
	o.Keep = &fit.Keep{File: c.fitPath()}
	return projection.IsKept(data, o)
}

// fit fits a projection. It keeps in the folder what it has done, and with resume it goes on from what is there of
// the same fit. It reports whether the folder keeps the result.
func (c *checkpoint) fit(ctx context.Context, data *dataset.Dataset, o projection.FitOptions, resume bool, partRows int) (p *projection.Projection, kept bool, err error) {
	if _, err := c.names(); err != nil { // to remove them would fail, after what may be a long fit
		return nil, false, err
	}
	o.Keep = &fit.Keep{File: c.fitPath(), Resume: resume, Rows: partRows, Prepare: func() error {
		if !resume {
			if err := c.remove(); err != nil {
				return err
			}
		}
		return c.makeFolder()
	}}
	p, err = projection.Fit(ctx, data, o)
	switch {
	case errors.Is(err, fit.ErrOption) || errors.Is(err, fit.ErrNothingToFit): // it would fail again
		if o.Keep.Kept() {
			err = errors.Join(err, c.dropFit())
			_ = os.Remove(c.folder) // it stays where it has something else
		}
	case err != nil && o.Keep.Kept():
		err = &Kept{c.folder, err}
	}
	return p, o.Keep.Kept(), err
}

// dropFit removes what a fit keeps.
func (c *checkpoint) dropFit() error { return c.removeFiles([]string{fitFile}) }

// makeFolder makes the folder.
func (c *checkpoint) makeFolder() error {
	event.At("file mkdir")
	return atomicfile.MakeFolders(c.folder)
}
