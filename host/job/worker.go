package job

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/mine"
)

var (
	// ErrDeadline is returned, wrapped, where too little time is left for a shard, or for the merge. Nothing was put of
	// the group of pairs that the worker was at, or of the result.
	ErrDeadline = errors.New("too little time is left")
	// ErrConflict is returned, wrapped, where two workers gave different bytes for the same object. Inputs cannot cause
	// this; a worker of a replaced job can, and so can any other program that writes among the results.
	ErrConflict = errors.New("two workers gave different results")
)

// Options say how a worker works. They do not change the result.
type Options struct {
	mining.Compute
	// Dir is the folder for the worker's files: the shard that it mines, and the groups. Default: the system's folder
	// for temporary files.
	Dir string
	// MaxShard is the size of the largest shard that the worker takes, in bytes. Default: any.
	MaxShard int64
	// Reserve is how long before its context's deadline a worker stops mining, or merging. Default: 0.
	Reserve time.Duration
	// PaidMemoryMiB is the memory by which the worker's time is paid for, in MiB. Default: 0, it is not paid for.
	PaidMemoryMiB int
}

// Action is what a worker did with a shard or a job, or how a job stands.
type Action string

// Actions.
const (
	Mined        Action = "mined"     // the shard's parts were put
	AlreadyMined Action = "there"     // the shard's parts were there already
	Waits        Action = "waits"     // the manifest, or what it names, is not there yet: someone has to come back
	Refused      Action = "refused"   // an input is not what the manifest says; a record under refused/ says so
	Cancelled    Action = "cancelled" // the job is cancelled, and nothing was done
	Finished     Action = "finished"  // the result is there; Outcome.Committed says whether this call wrote it
	Pending      Action = "pending"   // shards are not mined yet
)

// Outcome is what a call of Shard or Sweep did.
type Outcome struct {
	Action      Action
	Problem     string // of what is refused, or why the shard waits
	Hint        string // how to mend what is refused
	Refused     string // key of what is refused, below the job's: the shard, or what all shards need
	Pairs       int    // pairs that were mined against the shard
	Rows        int    // documents in the shard
	Bytes       int64  // of the shard
	Negatives   int    // negatives in the parts that were put
	Parts       int    // parts that the job has
	PartsNeeded int    // parts that a finished job has
	Committed   bool   // this call wrote the result

	Uploaded []string // of a sweep: shards that are there and not mined
	Absent   []string // of a sweep: shards that are not there yet

	uploadedAt []time.Time // of each of Uploaded; zero where that is not known
}

// count adds a part that was put.
func (o *Outcome) count(part *mine.Part) {
	o.Pairs += len(part.Found)
	for _, found := range part.Found {
		o.Negatives += len(found)
	}
}

// Worker mines shards of a job. It keeps the projection, the groups and the plugin's instances from one shard to the
// next. It is for one goroutine at a time: a second one gets mining.ErrBusy.
type Worker struct {
	using   sync.Mutex // is held by each call; none waits for it
	in, out objstore.Store
	options Options
	dir     string     // the worker's own folder, for temporary files
	kept    *keptFiles // files of groups, in dir

	manifest     *Manifest
	manifestETag string // of the object that the manifest was read from
	projection   *projection.Projection
	miner        *mining.Miner
}

// NewWorker returns a worker of the job whose inputs are in one store and whose results are in the other. Close it
// after use. It fails with option.ErrWrite where Options.Dir cannot be written to.
func NewWorker(in, out objstore.Store, o Options) (*Worker, error) {
	dir, err := os.MkdirTemp(o.Dir, "quarry-job-")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", option.ErrWrite, err)
	}
	return &Worker{in: in, out: out, options: o, dir: dir, kept: newKeptFiles(dir)}, nil
}

// Manifest is the manifest that the job goes by. It is nil until Shard or Sweep has read one.
func (w *Worker) Manifest() *Manifest { return w.manifest }

// Close frees the plugin's instances and removes the worker's files.
func (w *Worker) Close(ctx context.Context) error {
	if !w.using.TryLock() {
		return mining.ErrBusy
	}
	defer w.using.Unlock()
	return errors.Join(w.stopMiner(ctx), os.RemoveAll(w.dir))
}

// Shard mines the shard of that name for the groups that have no part of it yet. Where all parts of the job are there
// then, it merges them and commits the result. After an error the shard's turn must come again: ErrDeadline,
// ErrConflict, Denied, or an error of a store or the disk.
func (w *Worker) Shard(ctx context.Context, name string) (*Outcome, error) {
	return w.alone(ctx, func() (*Outcome, error) { return w.mineAndMerge(ctx, name) })
}

// alone calls f, unless another goroutine is using the worker. It records what was denied.
func (w *Worker) alone(ctx context.Context, f func() (*Outcome, error)) (*Outcome, error) {
	if !w.using.TryLock() {
		return nil, mining.ErrBusy
	}
	defer w.using.Unlock()
	o, err := f()
	return o, w.recordDenied(ctx, err)
}

// mineAndMerge is Shard without a record of what was denied.
func (w *Worker) mineAndMerge(ctx context.Context, name string) (*Outcome, error) {
	o, err := w.loadJob(ctx)
	if o != nil || err != nil {
		return o, err
	}
	o = &Outcome{Action: AlreadyMined, PartsNeeded: w.manifest.Parts()}
	shard, ok := w.manifest.shard(name)
	if !ok {
		return w.refuse(ctx, o, Refusal{Name: name, Problem: "the manifest does not name it", Hint: "upload it under a name that the manifest has, or remove it"})
	}
	groups, err := w.unminedGroups(ctx, shard)
	if err != nil {
		return nil, err
	}
	if len(groups) > 0 {
		if o, err = w.mineShard(ctx, o, shard, groups); err != nil || o.Action != Mined {
			return o, err
		}
	}
	parts, err := w.manifest.listParts(ctx, w.out)
	if err != nil {
		return o, err
	}
	// The list is trusted, not the puts: if the worker that puts the last part does not see all parts, nobody merges.
	if !w.manifest.mined(shard, parts) {
		if o, err := w.loadJob(ctx); o != nil || err != nil {
			return o, err // a cancel removed the part
		}
		return nil, fmt.Errorf("%s: its parts were put, and the list of %s/%s has not all of them", name, w.out.URL(), partsPrefix)
	}
	return o, w.finish(ctx, o, parts)
}

// unminedGroups returns the groups that have no part of a shard.
func (w *Worker) unminedGroups(ctx context.Context, shard int) (groups []int, err error) {
	for g := range w.manifest.Groups {
		there, err := exists(ctx, w.out, w.manifest.partKey(shard, g))
		if err != nil {
			return nil, err
		}
		if !there {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// Sweep looks at the job as a whole. Where all parts are there it merges them and commits the result. Otherwise the
// outcome says which shards are not mined.
func (w *Worker) Sweep(ctx context.Context) (*Outcome, error) {
	return w.alone(ctx, func() (*Outcome, error) { return w.mergeOrLook(ctx) })
}

// mergeOrLook is Sweep without a record of what was denied.
func (w *Worker) mergeOrLook(ctx context.Context) (*Outcome, error) {
	o, err := w.loadJob(ctx)
	if o != nil || err != nil {
		return o, err
	}
	o = &Outcome{Action: Pending, PartsNeeded: w.manifest.Parts()}
	if err := w.refuseOtherManifest(ctx); err != nil {
		return nil, err
	}
	parts, err := w.manifest.listParts(ctx, w.out)
	if err != nil {
		return o, err
	}
	if err := w.finish(ctx, o, parts); err != nil || o.Action != Pending {
		return o, err
	}
	if o.Problem, err = w.missingInput(ctx); err != nil {
		return nil, err
	}
	if o.Problem != "" {
		o.Action = Waits
		return o, nil
	}
	u, err := w.unminedShards(ctx, parts)
	o.Uploaded, o.uploadedAt, o.Absent = u.uploaded, u.at, u.absent
	return o, err
}

// finish counts the parts among those keys. Where they are all there it merges them and commits the result.
func (w *Worker) finish(ctx context.Context, o *Outcome, parts map[string]bool) (err error) {
	if o.Parts = w.manifest.count(parts); o.Parts < o.PartsNeeded {
		return nil
	}
	// A job that has an id twice was read in full when that was found; another look would find it again.
	if r, err := w.readRefusal(ctx, refusedKey(ManifestKey)); err == nil && r.Kind == kindSameID {
		o.Action, o.Refused, o.Problem, o.Hint = Refused, r.Name, r.Problem, r.Hint
		return nil
	} else if ignoreMissing(err) != nil {
		return err
	}
	o.Committed, err = w.commit(ctx)
	input := (*inputError)(nil)
	switch {
	case errors.As(err, &input):
		_, err = w.refuse(ctx, o, input.Refusal)
		return err
	case errors.Is(err, errCancelled):
		o.Action = Cancelled
		return nil
	case errors.Is(err, objstore.ErrNotExist): // a cancel removes parts while they are merged
		if there, e := exists(ctx, w.out, cancelledKey); e == nil && there {
			o.Action = Cancelled
			return nil
		}
	case err == nil && o.Action == Pending:
		o.Action = Finished
	}
	return err
}
