package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
)

// errBucket is in errors of an event of a bucket that is not the function's.
var errBucket = errors.New("the event is of another bucket than this function's")

// checkBucket fails where a bucket is not that of the inputs: a job of the same name may be there, and its result would
// take the place of the other's.
func (h *Handler) checkBucket(bucket string) error {
	if bucket == h.inputs {
		return nil
	}
	return fmt.Errorf("%w: it is of s3://%s; this function mines the jobs of %s\n  hint: deploy a function for each bucket of inputs, with its own bucket of results",
		errBucket, cut(bucket), h.config.Inputs)
}

// object handles an upload: of a shard, or of a manifest, pairs or a projection.
func (i *invocation) object(ctx context.Context, u upload) error {
	log := i.log.With("bucket", cut(u.bucket), "event", cut(u.event))
	if err := i.checkBucket(u.bucket); err != nil {
		return i.failed(log, err)
	}
	name, object, ok := job.ParseKey(u.key)
	if !ok {
		log.Info("ignored: not a key of a job's", "key", cut(u.key))
		return nil
	}
	log = log.With("job", name)
	if strings.HasPrefix(object, job.ShardsPrefix) {
		return i.shard(ctx, log, name, object)
	}
	return i.mineWaiting(ctx, log.With("object", object), name)
}

// shard has a shard mined, and the job merged where that was the last one. An error means that its turn must come again.
func (i *invocation) shard(ctx context.Context, log *slog.Logger, name, shard string) error {
	log = log.With("shard", shard)
	if err := i.checkTime(ctx, log); err != nil {
		return err
	}
	began := time.Now()
	o, err := i.workers.with(ctx, name, func(w *job.Worker) (*job.Outcome, error) { return w.Shard(ctx, shard) })
	if err != nil {
		return i.failed(log.With("milliseconds", time.Since(began).Milliseconds()), err)
	}
	if o.Action == job.Mined {
		i.shardTook = time.Since(began)
	}
	logOutcome(log, o, began)
	return nil
}

// mineWaiting looks at a job whose manifest, pairs or projection was uploaded, and has the shards mined that were
// uploaded before it.
func (i *invocation) mineWaiting(ctx context.Context, log *slog.Logger, name string) error {
	if err := i.checkTime(ctx, log); err != nil {
		return err
	}
	began := time.Now()
	o, err := i.workers.with(ctx, name, func(w *job.Worker) (*job.Outcome, error) { return w.Sweep(ctx) })
	if err != nil {
		return i.failed(log, err)
	}
	logOutcome(log.With("shards_waiting", len(o.Uploaded)), o, began)
	if i.config.Queue == nil {
		return i.mineHere(ctx, log, name, o.Uploaded)
	}
	if err := i.send(ctx, name, o.Uploaded); err != nil {
		return i.failed(log, err)
	}
	return nil
}

// mineHere has shards mined in this invocation, as far as its time goes.
func (i *invocation) mineHere(ctx context.Context, log *slog.Logger, name string, shards []string) error {
	var errs []error
	for _, shard := range shards {
		err := i.shard(ctx, log, name, shard)
		errs = append(errs, err)
		if errors.Is(err, job.ErrDeadline) {
			break
		}
	}
	return errors.Join(errs...)
}

// send sends a message for each shard to the queue.
func (i *invocation) send(ctx context.Context, name string, shards []string) error {
	bodies := make([]string, len(shards))
	for n, shard := range shards {
		body, err := json.Marshal(uploadEvent(i.inputs, job.Folder+name+"/"+shard))
		if err != nil {
			return err
		}
		bodies[n] = string(body)
	}
	return i.config.Queue.Send(ctx, bodies)
}

// failed logs the error of what must come again. The line tells a denied input, which a policy has to allow, from other
// failures.
func (i *invocation) failed(log *slog.Logger, err error) error {
	log.Error("failed: its turn comes again", "problem", err.Error(), "denied", errors.Is(err, objstore.ErrDenied))
	return err
}

// logOutcome logs what a worker did. The line has no vector, no text, and no id of a document or a query.
func logOutcome(log *slog.Logger, o *job.Outcome, began time.Time) {
	log = log.With("action", string(o.Action), "milliseconds", time.Since(began).Milliseconds())
	if o.Action == job.Mined {
		log = log.With("pairs", o.Pairs, "negatives", o.Negatives, "documents", o.Rows, "bytes", o.Bytes)
	}
	if o.PartsNeeded > 0 && o.Action != job.Finished {
		log = log.With("parts", o.Parts, "of", o.PartsNeeded)
	}
	if o.Committed {
		log = log.With("committed", true)
	}
	if o.Problem != "" {
		log = log.With("problem", o.Problem)
	}
	if o.Action == job.Refused {
		log.Warn("refused")
		return
	}
	log.Info(string(o.Action))
}

// checkTime returns job.ErrDeadline where the time left before the reserve is less than this invocation's last shard took.
func (i *invocation) checkTime(ctx context.Context, log *slog.Logger) error {
	end, ok := ctx.Deadline()
	if left := time.Until(end) - reserve; ok && left < i.shardTook {
		log.Warn("left for another invocation", "seconds_left", left.Seconds(), "last_shard_seconds", i.shardTook.Seconds())
		return job.ErrDeadline
	}
	return nil
}
