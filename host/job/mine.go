package job

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// mineShard mines a shard for some groups, and puts a part for each. The outcome says whether the shard was mined, is
// refused, or waits for an input.
func (w *Worker) mineShard(ctx context.Context, o *Outcome, shard int, groups []int) (*Outcome, error) {
	began := time.Now()
	s := w.manifest.Shards[shard]
	o.Rows, o.Bytes = s.Rows, s.Size
	timed, cancel := w.withoutReserve(ctx)
	defer cancel()
	err := w.mineGroups(ctx, timed, o, shard, groups)
	if err == nil {
		o.Action = Mined
		return o, nil
	}
	if outOfTime(ctx, timed, err) {
		what := fmt.Sprintf("%s, %d documents, %d bytes, after %v", s.Name, s.Rows, s.Size, time.Since(began).Round(time.Millisecond))
		return nil, givenUp(what, err, "give workers more time or memory, or make the job with more shards")
	}
	if r, ok := refusalOf(s.Name, err); ok {
		return w.refuse(ctx, o, r)
	}
	if errors.Is(err, objstore.ErrNotExist) && !errors.Is(err, errPut) {
		o.Action, o.Problem = Waits, err.Error()
		return o, nil
	}
	return nil, fmt.Errorf("%s: %w", s.Name, err)
}

// mineGroups fetches a shard, mines it for some groups, and puts a part for each. timed ends Options.Reserve before ctx
// does; only a put may use the time after that.
func (w *Worker) mineGroups(ctx, timed context.Context, o *Outcome, shard int, groups []int) (err error) {
	began := time.Now()
	s := w.manifest.Shards[shard]
	if err := w.checkSize(s); err != nil {
		return err
	}
	if err := w.loadProjection(timed); err != nil {
		return err
	}
	if err := w.startMiner(timed); err != nil {
		return err
	}
	file, err := w.fetchShard(timed, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.remove()) }()
	var hashes []idHash
	if slices.Contains(groups, 0) {
		if hashes, err = hashesOfShard(s, file.ids); err != nil {
			return err
		}
	}
	for i, g := range w.heldFirst(groups) {
		part, err := w.mineGroup(timed, file.shardFile, s, g, w.progress(i, len(groups)))
		if err != nil {
			return err
		}
		effort := Effort{Milliseconds: time.Since(began).Milliseconds(), MemoryMiB: w.options.PaidMemoryMiB, Rows: s.Rows, Bytes: s.Size}
		began = time.Now() // what comes next is the next part's
		object, err := w.manifest.marshalPart(shard, g, part, file.ids, effort)
		if err != nil {
			return err
		}
		if g == 0 {
			err = w.putHashes(ctx, shard, hashes)
		}
		if err == nil {
			err = w.putPart(ctx, shard, g, object)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errPut, err)
		}
		o.count(part)
	}
	return nil
}

// checkSize refuses a shard that is too large for this worker.
func (w *Worker) checkSize(s Shard) error {
	if most := w.options.MaxShard; most > 0 && s.Size > most {
		return &inputError{Refusal{Name: s.Name, Problem: fmt.Sprintf("%d bytes; this worker takes at most %d", s.Size, most), Hint: "make the job with more shards, or give workers more room"}}
	}
	return nil
}

// startMiner starts the plugin's instances, unless they run. They have room for the largest of the groups.
func (w *Worker) startMiner(ctx context.Context) (err error) {
	if w.miner != nil {
		return nil
	}
	var largest mining.GroupSize
	for _, g := range w.manifest.Groups {
		largest.Pairs, largest.Positives, largest.Excluded = max(largest.Pairs, g.Pairs), max(largest.Positives, g.Positives), max(largest.Excluded, g.Excluded)
	}
	w.miner, err = mining.NewMiner(ctx, w.projection, &w.manifest.Result, w.options.Compute, largest)
	return err
}

// stopMiner frees the plugin's instances. The next shard starts new ones.
func (w *Worker) stopMiner(ctx context.Context) error {
	if w.miner == nil {
		return nil
	}
	miner := w.miner
	w.miner = nil
	return miner.Close(ctx)
}

// heldFirst puts the group that the instances hold since the last shard before the others.
func (w *Worker) heldFirst(groups []int) []int {
	if held := slices.IndexFunc(groups, func(g int) bool { return w.miner.Has(w.manifest.pairsID(g)) }); held > 0 {
		groups[0], groups[held] = groups[held], groups[0]
	}
	return groups
}

// mineGroup mines a shard for one group. After an error the instances may be in any state, so they are freed.
func (w *Worker) mineGroup(ctx context.Context, file *shardFile, s Shard, group int, progress option.Progress) (*mine.Part, error) {
	if !w.miner.Has(w.manifest.pairsID(group)) {
		g, err := w.loadGroup(ctx, group, true)
		if err != nil {
			return nil, err
		}
		err = w.miner.Begin(ctx, g.Group)
		if e, ok := pluginRefusal(err); ok {
			err = &inputError{Refusal{Name: w.manifest.Groups[group].Name, Problem: e.Error(), Hint: hintNewJob}}
		}
		if err != nil {
			return nil, errors.Join(err, w.stopMiner(ctx))
		}
	}
	part, err := w.miner.Mine(ctx, w.manifest.pairsID(group), file.documents, s.First, progress)
	if err != nil {
		return nil, errors.Join(err, w.stopMiner(ctx))
	}
	return part, nil
}

// progress reports the documents of group i of n as a share of all groups', so that a shard is one stage.
func (w *Worker) progress(i, n int) option.Progress {
	report := w.options.Progress
	if report == nil || n == 1 {
		return report
	}
	return func(stage string, done, total int64) { report(stage, int64(i)*total+done, int64(n)*total) }
}

// pluginRefusal finds an error of the plugin that its input is the cause of. Others are of the plugin itself, or of its
// memory.
func pluginRefusal(err error) (*abi.Error, bool) {
	e := (*abi.Error)(nil)
	ok := errors.As(err, &e) && e.Code != abi.Internal && e.Code != abi.Memory
	return e, ok
}

// refusalOf turns an error of mining a shard into a refusal, where an input is the cause: the shard, unless the error
// names another.
func refusalOf(shard string, err error) (Refusal, bool) {
	input, data := (*inputError)(nil), (*dataset.Error)(nil)
	if errors.As(err, &input) {
		return input.Refusal, true
	}
	// A dataset.Error is of the shard where it has no cause, or the plugin is the cause. Any other cause is of this
	// worker's disk.
	if errors.As(err, &data) && (data.Err == nil || errors.As(data.Err, new(*abi.Error))) {
		problem := *data
		problem.Hint = "" // the refusal has it
		return Refusal{Name: shard, Problem: problem.Error(), Hint: cmp.Or(data.Hint, hintVectors)}, true
	}
	if e, ok := pluginRefusal(err); ok {
		return Refusal{Name: shard, Problem: e.Error(), Hint: hintNewJob}, true
	}
	return Refusal{}, false
}

// errPut is in errors of putting a part. Where such an error says that an object is missing, it is no input that is yet
// to come.
var errPut = errors.New("put the part")

// putPart puts a part's object. Where one is there already it must have the same result: it is another worker's, or
// this worker's own, where the answer to its put was lost.
func (w *Worker) putPart(ctx context.Context, shard, group int, object []byte) error {
	key := w.manifest.partKey(shard, group)
	err := w.out.PutNew(ctx, key, bytes.NewReader(object))
	if !errors.Is(err, objstore.ErrExists) {
		return err
	}
	found, _, err := objstore.ReadAll(ctx, w.out, key, int64(len(object))+1<<16)
	if err != nil {
		return err
	}
	own, err := w.manifest.parsePart(object, shard, group)
	if err != nil {
		return err
	}
	other, err := w.manifest.parsePart(found, shard, group)
	if err == nil && !own.sameResult(other) {
		err = errors.New("its negatives differ from this worker's")
	}
	if err != nil {
		return fmt.Errorf("%w: %s/%s: %v\n  hint: %s", ErrConflict, w.out.URL(), key, err, hintRemovePart)
	}
	return nil
}

// withoutReserve returns a context that ends Options.Reserve before ctx.
func (w *Worker) withoutReserve(ctx context.Context) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok && w.options.Reserve > 0 {
		return context.WithDeadline(ctx, end.Add(-w.options.Reserve))
	}
	return context.WithCancel(ctx)
}

// givenUp is the error of work for which the time was too short, with what was under way then. Where S3 held it up, more
// time would not help.
func givenUp(what string, err error, hint string) error {
	if errors.Is(err, objstore.ErrThrottled) {
		hint = "S3 asks for fewer requests: let fewer workers run at once (MaximumConcurrency of the function), or spread jobs over more buckets"
	}
	return fmt.Errorf("%s: %w: %w\n  hint: %s", what, ErrDeadline, err, hint)
}

// outOfTime reports whether an error came because timed has ended, and not ctx. An error of another cause stays what it
// is, even where it comes after the end of timed: more time would not help.
func outOfTime(ctx, timed context.Context, err error) bool {
	return ctx.Err() == nil && timed.Err() != nil && errors.Is(err, context.DeadlineExceeded)
}
