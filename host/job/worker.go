package job

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

var (
	// ErrDeadline is returned, wrapped, where the time that is left is too short for a shard, or for the merge. Of the group of pairs it was
	// at, or of the result, nothing was put.
	ErrDeadline = errors.New("too little time is left")
	// ErrConflict is returned, wrapped, where two workers gave different bytes for the same thing, which no input can bring about; only a worker that
	// was at work on a job while it was replaced, or whoever else writes among the results.
	ErrConflict = errors.New("two workers gave different results")
)

// Options are how a worker works, not what comes of it.
type Options struct {
	mining.Compute
	// Dir is where shards are kept while they are mined; empty means the system's folder for temporary files.
	Dir string
	// MaxShard is the largest shard that is taken, in bytes; 0 means any.
	MaxShard int64
	// Reserve is how long before its context's deadline a worker stops mining, or merging.
	Reserve time.Duration
	// PaidMemoryMiB is the memory that the worker's time is paid for by; 0 where it is not.
	PaidMemoryMiB int
}

// Action is what a worker did with what it was given.
type Action string

// What became of a shard, or of a look at a job.
const (
	Mined     Action = "mined"     // its part was put
	There     Action = "there"     // its part was there already
	Waits     Action = "waits"     // the manifest, or what it names, is not there yet; once it is, the shard's turn comes again
	Refused   Action = "refused"   // it is not what the manifest says; a record is under refused/
	Cancelled Action = "cancelled" // the job is cancelled: nothing was done
	Finished  Action = "finished"  // the result is there: nothing was done, or this was the last step
	Pending   Action = "pending"   // of a sweep: shards are missing
)

// Outcome is what a call did.
type Outcome struct {
	Action    Action
	Problem   string // of what was refused, or waits
	Hint      string // of what was refused: how to mend it
	Refused   string // name of what was refused: of a shard, or of what all shards need
	Pairs     int    // mined, each against the shard's documents
	Rows      int    // documents of the shard
	Bytes     int64  // of the shard
	Negatives int    // in the shard's parts
	Parts, Of int    // parts that the job has, and needs
	Committed bool   // this call wrote the result

	Uploaded []string // of a sweep: shards that are there and not mined
	Absent   []string // of a sweep: shards that are not there yet
}

// Worker mines shards of a job, keeping what it needs for all of them from one to the next. It is for one goroutine at a time.
type Worker struct {
	in, out objstore.Store
	options Options
	dir     string // of its own, for temporary files

	manifest     *Manifest
	manifestETag string // of the object that the manifest was read from
	projection   *projection.Projection
	miner        *mining.Miner
}

// NewWorker returns a worker for the job whose inputs are in one store and whose results go to another. Close it after use.
func NewWorker(in, out objstore.Store, o Options) (*Worker, error) {
	dir, err := os.MkdirTemp(o.Dir, "quarry-job-")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", option.ErrWrite, err)
	}
	return &Worker{in: in, out: out, options: o, dir: dir}, nil
}

// Manifest is the one that the job goes by; nil until Shard or Sweep has read it.
func (w *Worker) Manifest() *Manifest { return w.manifest }

// Close frees the plugin's instances and removes temporary files.
func (w *Worker) Close(ctx context.Context) error {
	return errors.Join(w.drop(ctx), os.RemoveAll(w.dir))
}

// drop gives up the plugin's instances; the next shard gets new ones.
func (w *Worker) drop(ctx context.Context) error {
	if w.miner == nil {
		return nil
	}
	miner := w.miner
	w.miner = nil
	return miner.Close(ctx)
}

// Shard mines the shard of that name, unless its part is there, and, where all parts are there then, merges them and commits the result. An error
// means that the shard's turn must come again.
func (w *Worker) Shard(ctx context.Context, name string) (*Outcome, error) {
	o, err := w.open(ctx)
	if o != nil || err != nil {
		return o, err
	}
	o = &Outcome{Action: There, Of: w.manifest.Parts()}
	shard, ok := w.manifest.shard(name)
	if !ok {
		return w.refuse(ctx, o, name, "the manifest does not name it", "upload it under a name that the manifest has, or remove it")
	}
	var missing []int
	for g := range w.manifest.Pairs {
		if there, err := w.has(ctx, w.out, w.manifest.partKey(shard, g)); err != nil {
			return nil, err
		} else if !there {
			missing = append(missing, g)
		}
	}
	if len(missing) > 0 {
		if o, err = w.mine(ctx, o, shard, missing); err != nil || o.Action != Mined {
			return o, err
		}
	}
	there, err := w.manifest.listParts(ctx, w.out)
	if err != nil {
		return o, err
	}
	if !w.manifest.mined(shard, there) { // if nobody saw the last part, nobody would merge
		if o, err := w.open(ctx); o != nil || err != nil {
			return o, err // the job was cancelled this moment
		}
		return nil, fmt.Errorf("%s: its parts were put, and the list of %s/%s has not all of them", name, w.out.URL(), partsPrefix)
	}
	return o, w.finish(ctx, o, there)
}

// Sweep looks at the job as a whole: where all parts are there it merges them and commits the result; otherwise it says which shards are missing.
func (w *Worker) Sweep(ctx context.Context) (*Outcome, error) {
	o, err := w.open(ctx)
	if o != nil || err != nil {
		return o, err
	}
	o = &Outcome{Action: Pending, Of: w.manifest.Parts()}
	switch b, _, err := objstore.ReadAll(ctx, w.in, ManifestKey, maxManifest); {
	case absent(err):
	case err != nil:
		return nil, err
	default:
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != w.manifest.identity {
			// The job goes on with the manifest that it began with.
			if _, err := w.refuse(ctx, &Outcome{}, ManifestKey, "it was changed after the job had begun", "cancel the job, and begin another"); err != nil {
				return nil, err
			}
		}
	}
	there, err := w.manifest.listParts(ctx, w.out)
	if err != nil {
		return o, err
	}
	if err := w.finish(ctx, o, there); err != nil || o.Action != Pending {
		return o, err
	}
	if o.Problem, err = w.lacks(ctx); err != nil {
		return nil, err
	}
	if o.Problem != "" {
		o.Action = Waits
		return o, nil
	}
	o.Uploaded, o.Absent, err = w.missing(ctx, there)
	return o, err
}

// open finds out whether there is anything to do, and loads the manifest. An outcome says that there is not.
func (w *Worker) open(ctx context.Context) (*Outcome, error) {
	if there, err := w.has(ctx, w.out, cancelledKey); err != nil {
		return nil, err
	} else if there {
		return &Outcome{Action: Cancelled}, nil
	}
	if _, err := readResult(ctx, w.in, w.out); err == nil {
		return &Outcome{Action: Finished}, nil
	} else if !absent(err) {
		return nil, err
	}
	pinned, err := w.out.Head(ctx, ManifestKey)
	if errors.Is(err, objstore.ErrDenied) {
		err = w.unlisted(ctx, ManifestKey, err)
	}
	if errors.Is(err, objstore.ErrNotExist) {
		return w.pin(ctx)
	}
	if err != nil {
		return nil, err
	}
	if w.manifest != nil && pinned.ETag == w.manifestETag {
		return nil, nil
	}
	return nil, w.loadPinned(ctx)
}

// unlisted is what a look-up among the results that was denied comes to: that there is no such object, where the list has none. S3 denies what is
// missing to who may not list it, and how it takes a policy that lists below a prefix is not documented.
func (w *Worker) unlisted(ctx context.Context, key string, denied error) error {
	for object, err := range w.out.List(ctx, key, "") {
		if err != nil {
			return errors.Join(denied, err)
		}
		if object.Key == key {
			return denied
		}
		break
	}
	return objstore.ErrNotExist
}

// pin makes the manifest that was uploaded the job's: whatever becomes of it there, the job goes on with this one.
func (w *Worker) pin(ctx context.Context) (*Outcome, error) {
	w.manifest = nil // of a job that this one replaces
	b, _, err := objstore.ReadAll(ctx, w.in, ManifestKey, maxManifest)
	if absent(err) {
		return &Outcome{Action: Waits, Problem: fmt.Sprintf("there is no %s yet, or it may not be read: %v", ManifestKey, err)}, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := ParseManifest(b); err != nil {
		return w.refuse(ctx, &Outcome{}, ManifestKey, err.Error(), "upload a sound one")
	}
	if err := w.out.PutNew(ctx, ManifestKey, bytes.NewReader(b)); err != nil && !errors.Is(err, objstore.ErrExists) {
		return nil, err
	}
	return nil, w.loadPinned(ctx)
}

func (w *Worker) loadPinned(ctx context.Context) error {
	b, object, err := objstore.ReadAll(ctx, w.out, ManifestKey, maxManifest)
	if err != nil {
		return err
	}
	m, err := ParseManifest(b)
	if err != nil {
		return fmt.Errorf("%s/%s: %w\n  hint: cancel the job, and begin another", w.out.URL(), ManifestKey, err)
	}
	// Of a job that this one replaces nothing stays, its pairs on disk included.
	if err := errors.Join(w.drop(ctx), os.RemoveAll(w.dir), os.Mkdir(w.dir, 0o700)); err != nil {
		return err
	}
	w.manifest, w.manifestETag, w.projection = m, object.ETag, nil
	return nil
}

// has reports whether an object is there.
func (w *Worker) has(ctx context.Context, s objstore.Store, key string) (bool, error) {
	_, err := s.Head(ctx, key)
	if absent(err) {
		return false, nil
	}
	return err == nil, err
}

// absent reports whether an error says that an object is not there, as far as the worker is told: who may get but not list is denied what is
// not there.
func absent(err error) bool {
	return errors.Is(err, objstore.ErrNotExist) || errors.Is(err, objstore.ErrDenied)
}

// refusal is what is written of an object that is refused.
type refusal struct {
	Format   string `json:"format"`
	Name     string `json:"name"` // its key below the job's
	Problem  string `json:"problem"`
	Hint     string `json:"hint"`
	Manifest string `json:"manifest,omitempty"` // identity of the one that the job goes by
}

const refusalFormat = "quarry.refused.v1"

func refusedKey(name string) string {
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("%s%.16x.json", refusedPrefix, sum)
}

// refuse leaves a record of an object that is not what it should be.
func (w *Worker) refuse(ctx context.Context, o *Outcome, name, problem, hint string) (*Outcome, error) {
	r := refusal{Format: refusalFormat, Name: name, Problem: problem, Hint: hint}
	if w.manifest != nil {
		r.Manifest = w.manifest.identity
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	o.Action, o.Refused, o.Problem, o.Hint = Refused, name, problem, hint
	return o, w.out.Put(ctx, refusedKey(name), bytes.NewReader(append(b, '\n')))
}

// finish counts the parts among those keys and, where they are all, merges and commits.
func (w *Worker) finish(ctx context.Context, o *Outcome, there map[string]bool) (err error) {
	for s := range w.manifest.Shards {
		for g := range w.manifest.Pairs {
			if there[w.manifest.partKey(s, g)] {
				o.Parts++
			}
		}
	}
	if o.Parts < o.Of {
		return nil
	}
	o.Committed, err = w.commit(ctx)
	u := (*unlike)(nil)
	switch {
	case errors.As(err, &u):
		_, err = w.refuse(ctx, o, u.file, u.problem, u.hint)
		return err
	case errors.Is(err, errCancelled):
		o.Action = Cancelled
		return nil
	case errors.Is(err, objstore.ErrNotExist): // a cancel removes parts while they are merged
		if there, e := w.has(ctx, w.out, cancelledKey); e == nil && there {
			o.Action = Cancelled
			return nil
		}
	case err == nil && o.Action == Pending:
		o.Action = Finished
	}
	return err
}
