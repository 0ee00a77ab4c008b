// Package run is mining from a data set to files: it fits a projection where none is given, mines in parts, writes the outputs, and goes on
// from what an earlier run left.
//
// Input: a data set, options and the names of outputs. Output: negatives.jsonl, its manifest and, where it was fitted, the projection; and, for
// whoever prints it, a Summary. The command line's quarry mine calls it.
package run

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/projection"
)

// Run is what to mine, and where to.
type Run struct {
	Projection *projection.Projection // nil to fit one
	Fit        projection.FitOptions  // where it is fitted
	Mine       mining.Options
	Outputs    Outputs

	// Resume goes on with what an earlier run left, or starts where there is nothing. Without it, what a run that was cut short left must be
	// removed first, with Outputs.Force.
	Resume bool
}

// Done is what a run gave.
type Done struct {
	*negatives.Result
	Projection *projection.Projection
	Parts      int  // that the work was cut into
	Reused     int  // parts that an earlier run had finished
	Finished   bool // an earlier run had finished everything; nothing was done, and there is no Result
}

// Kept is the error of a run that was cut short and keeps what it had finished in Folder: the same run with Resume goes on from there.
type Kept struct {
	Folder string
	error
}

// Unwrap returns the cause.
func (k *Kept) Unwrap() error { return k.error }

// Do makes the run. It starts anew, goes on from an earlier run's checkpoint, or finds that an earlier run finished everything.
func (r Run) Do(ctx context.Context, data *dataset.Dataset) (*Done, error) {
	if err := errors.Join(r.Mine.Validate(), r.Fit.Validate()); err != nil {
		return nil, err
	}
	earlier, err := openCheckpoint(r.Outputs, r.Resume)
	switch {
	case err != nil:
		return nil, err
	case earlier != nil:
		return r.goOn(ctx, data, earlier)
	case r.Resume && r.outputsExist():
		return r.alreadyFinished(ctx, data)
	}
	if err := r.Outputs.Check(); err != nil {
		return nil, err
	}
	return r.begin(ctx, data)
}

// begin makes a run from the start. Where there are several parts, or with Resume, it keeps each part as soon as it is finished.
func (r Run) begin(ctx context.Context, data *dataset.Dataset) (done *Done, err error) {
	p := r.Projection
	if p == nil {
		if err := mining.CheckPairs(data, r.Mine); err != nil { // a plan does too, but after what may be a long fit
			return nil, err
		}
		if p, err = projection.Fit(ctx, data, r.Fit); err != nil {
			return nil, err
		}
	}
	plan, err := r.plan(ctx, data, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close(ctx)) }()
	pieces := plan.Pieces()
	// What an earlier run left is replaced now that this one is sure to begin.
	if err := checkpointOf(r.Outputs).remove(); err != nil {
		return nil, err
	}
	if !r.Resume && len(pieces) == 1 {
		return r.mine(ctx, plan, p, pieces, nil)
	}
	c, err := newCheckpoint(r.Outputs, plan, p)
	if err != nil {
		return nil, err
	}
	return c.keep(r.mine(ctx, plan, p, pieces, c))
}

// goOn makes a run from an earlier run's checkpoint: it must be of the same inputs and options.
func (r Run) goOn(ctx context.Context, data *dataset.Dataset, c *checkpoint) (done *Done, err error) {
	p := r.Projection
	if p == nil {
		if p, err = r.fitted(data, c.projection()); err != nil {
			return nil, err
		}
	}
	plan, err := r.plan(ctx, data, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close(ctx)) }()
	pieces, err := c.resumePieces(plan)
	if err != nil {
		return nil, err
	}
	return c.keep(r.mine(ctx, plan, p, pieces, c))
}

// alreadyFinished finds that outputs which are there are of this run, or says how they differ.
func (r Run) alreadyFinished(ctx context.Context, data *dataset.Dataset) (done *Done, err error) {
	p := r.Projection
	if p == nil {
		if p, err = r.fitted(data, r.Outputs.Projection); err != nil {
			return nil, err
		}
	}
	plan, err := r.plan(ctx, data, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close(ctx)) }()
	m, err := negatives.LoadManifest(r.Outputs.Manifest)
	if err != nil {
		return nil, err
	}
	if err := sameManifest(r.Outputs.Manifest, m, plan); err != nil {
		return nil, err
	}
	// A run that was killed while it removed its parts may have left some.
	return &Done{Projection: p, Finished: true}, checkpointOf(r.Outputs).remove()
}

// plan makes the plan. Before the plugin's instances take their memory, what reading and fitting took goes back to the system.
func (r Run) plan(ctx context.Context, data *dataset.Dataset, p *projection.Projection) (*mining.Plan, error) {
	debug.FreeOSMemory()
	return mining.NewPlan(ctx, data, p, r.Mine)
}

// mine mines the pieces that the checkpoint does not have, and writes the outputs. A nil checkpoint has none and keeps none.
func (r Run) mine(ctx context.Context, plan *mining.Plan, p *projection.Projection, pieces []mining.Piece, c *checkpoint) (*Done, error) {
	done := &Done{Projection: p, Parts: len(pieces)}
	merge := plan.NewMerge()
	for _, piece := range pieces {
		part, err := c.load(plan, piece)
		if err != nil {
			return nil, err
		}
		if part != nil {
			done.Reused++
		} else {
			if part, err = plan.MinePiece(ctx, piece); err != nil {
				return nil, err
			}
			if err := c.save(piece, part); err != nil {
				return nil, err
			}
		}
		if err := merge.Add(part); err != nil {
			return nil, err
		}
	}
	var err error
	if done.Result, err = merge.Result(); err != nil {
		return nil, err
	}
	r.Mine.Progress.Report("write", 0, 1)
	if err := r.Outputs.save(done.Result, p, c); err != nil {
		return nil, err
	}
	return done, c.remove()
}

// outputsExist reports whether all outputs are there.
func (r Run) outputsExist() bool {
	return !slices.ContainsFunc(r.Outputs.Paths(), func(path string) bool {
		_, err := os.Stat(path)
		return err != nil
	})
}

// fitted loads the projection that an earlier run fitted. It must be of the same options.
func (r Run) fitted(data *dataset.Dataset, path string) (*projection.Projection, error) {
	p, err := projection.Load(path)
	if err != nil {
		return nil, err
	}
	now, err := r.Fit.Settings(data)
	if err != nil {
		return nil, err
	}
	return p, sameSettings(path, projection.SettingsOf(p.Projection), now)
}
