// Package run is fitting and mining from a data set to files. It fits a projection and writes it. Or it fits one
// where none is given, mines in parts, and writes the outputs. Both go on from what an earlier run left.
//
// Input: a data set, options and the names of outputs. Output: negatives.jsonl, its manifest and, where it was
// fitted, the projection; and, for whoever prints it, a Summary. The command line's quarry fit and quarry mine call
// it.
package run

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
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
	// Summarize asks for Done.Summary, whose examples take reading texts again. It is made while the outputs are written.
	Summarize bool
	// PartRows is how many rows a fit adds up before it keeps the sums; 0 means about half a minute's work.
	PartRows int

	found string // Done.Found
}

// Done is what a run gave.
type Done struct {
	*negatives.Result
	Projection *projection.Projection
	Found      string   // the projection file that was there already and was used, as UseFitted says; empty where there was none
	Parts      int      // that the work was cut into
	Reused     int      // parts that an earlier run had finished
	Finished   bool     // an earlier run had finished everything; nothing was done, and there is no Result
	Summary    *Summary // where Run.Summarize asks for it, and there is a Result
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
	if err := errors.Join(r.Mine.Validate(), r.Fit.Validate(), validRows(r.PartRows)); err != nil {
		return nil, err
	}
	earlier, err := openCheckpoint(r.Outputs, r.Resume)
	if err != nil {
		return nil, err
	}
	if earlier != nil {
		return r.goOn(ctx, data, earlier)
	}
	c := checkpointBeside(r.Outputs.Negatives)
	goesOn := false
	if r.Projection == nil {
		if goesOn, err = c.keepsFit(data, r.Fit, r.Resume); err != nil {
			return nil, err
		}
	}
	if r.Resume && !goesOn && r.Outputs.exist() {
		return r.alreadyFinished(ctx, data)
	}
	r.Outputs.Force = r.Outputs.Force || goesOn // the outputs were not there, or could be replaced, when the fit began
	if r.Projection == nil {
		if err := r.CheckInputs(data); err != nil { // a plan does too, but after what may be a long fit
			return nil, err
		}
	}
	if err := r.Outputs.Check(); err != nil {
		return nil, err
	}
	if _, err := r.UseFitted(data); err != nil {
		return nil, err
	}
	return r.begin(ctx, data, c)
}

// begin makes a run from the start, or from what a fit kept. Where there are several parts, or with Resume, or where
// the fit was long enough to be kept, it keeps each part as soon as it is finished.
func (r Run) begin(ctx context.Context, data *dataset.Dataset, c *checkpoint) (done *Done, err error) {
	p, keeps := r.Projection, false
	if p == nil {
		if p, keeps, err = c.fit(ctx, data, r.Fit, r.Resume, r.PartRows); err != nil {
			return nil, err
		}
	}
	defer func() {
		if keeps {
			done, err = c.keep(done, err)
		}
	}()
	plan, err := r.plan(ctx, data, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.Close(ctx)) }()
	pieces := plan.Pieces()
	if !r.Resume && !keeps && len(pieces) == 1 {
		if err := c.remove(); err != nil {
			return nil, err
		}
		return r.mine(ctx, data, plan, p, pieces, nil)
	}
	// What an earlier run left is replaced now that this one is sure to begin.
	if err := c.removeButFit(); err != nil {
		return nil, err
	}
	if err := c.begin(r.Outputs, plan, p); err != nil {
		return nil, err
	}
	keeps = true
	if err := c.dropFit(); err != nil {
		return nil, err
	}
	return r.mine(ctx, data, plan, p, pieces, c)
}

// goOn makes a run from an earlier run's checkpoint: it must be of the same inputs and options.
func (r Run) goOn(ctx context.Context, data *dataset.Dataset, c *checkpoint) (done *Done, err error) {
	same := false // the run is that of the checkpoint
	defer func() {
		if same || ctx.Err() != nil {
			done, err = c.keep(done, err)
		}
	}()
	p, lost := r.Projection, false
	if p == nil {
		if p, lost, err = r.keptProjection(ctx, data, c); err != nil {
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
	same = true
	if lost {
		if err := p.Save(c.projectionPath(), true); err != nil {
			return nil, err
		}
	}
	if err := c.dropFit(); err != nil {
		return nil, err
	}
	return r.mine(ctx, data, plan, p, pieces, c)
}

// keptProjection loads the projection that the run fitted, or found. Where neither file is the one that run.json names,
// it is lost, and fitted again.
func (r *Run) keptProjection(ctx context.Context, data *dataset.Dataset, c *checkpoint) (p *projection.Projection, lost bool, err error) {
	if err := c.sameFit(data, r.Fit); err != nil {
		return nil, false, err
	}
	want := c.record.Manifest.Projection.SHA256
	if p, err = projection.Load(c.projectionPath()); err == nil && p.Fingerprint == want {
		return p, false, nil
	}
	if p, err = projection.Load(r.Outputs.Projection); err == nil && p.Fingerprint == want {
		r.use(p)
		return p, false, nil
	}
	if err := atomicfile.Check(r.Outputs.Projection, r.Outputs.Force); errors.Is(err, option.ErrExists) { // the run may have found one there, which was not its to replace
		return nil, false, fmt.Errorf("%s %w, and is not the projection that the parts in %s are of\n  hint: move it elsewhere, or replace it with --force",
			r.Outputs.Projection, option.ErrExists, c.folder)
	}
	p, _, err = c.fit(ctx, data, r.Fit, true, r.PartRows)
	return p, true, err
}

// alreadyFinished finds that outputs which are there are of this run, or says how they differ.
func (r Run) alreadyFinished(ctx context.Context, data *dataset.Dataset) (done *Done, err error) {
	p := r.Projection
	if p == nil {
		if p, err = fittedBefore(data, r.Fit, r.Outputs.Projection); err != nil {
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
	return &Done{Projection: p, Finished: true}, checkpointBeside(r.Outputs.Negatives).remove()
}

// plan makes the plan. Before the plugin's instances take their memory, what reading and fitting took goes back to the system.
func (r Run) plan(ctx context.Context, data *dataset.Dataset, p *projection.Projection) (*mining.Plan, error) {
	debug.FreeOSMemory()
	return mining.NewPlan(ctx, data, p, r.Mine)
}

// mine mines the pieces that the checkpoint does not have, and writes the outputs. A nil checkpoint has none and keeps none.
func (r Run) mine(ctx context.Context, data *dataset.Dataset, plan *mining.Plan, p *projection.Projection, pieces []mining.Piece, c *checkpoint) (*Done, error) {
	done := &Done{Projection: p, Found: r.found, Parts: len(pieces)}
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
	var summarizing sync.WaitGroup
	if r.Summarize {
		summarizing.Go(func() {
			done.Summary = Summarize(data, p, done.Result, r.Outputs.Paths())
			done.Summary.Found = r.found
		})
	}
	err = r.Outputs.save(done.Result, p, c)
	summarizing.Wait()
	if err != nil {
		return nil, err
	}
	return done, c.remove()
}
