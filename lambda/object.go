package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/quarry-hn/quarry/host/job"
)

// record is a record of S3's notification: an upload. It has the fields that this function reads; whatever else is in a
// record does not matter.
type record struct {
	EventSource string `json:"eventSource"`
	EventName   string `json:"eventName"`
	S3          entity `json:"s3"`
}

type entity struct {
	Bucket struct {
		Name string `json:"name"`
	} `json:"bucket"`
	Object struct {
		Key string `json:"key"` // form-encoded: a space is a plus sign
	} `json:"object"`
}

// object handles an upload: of a shard, or of a manifest, pairs or a projection.
func (h *Handler) object(ctx context.Context, log *slog.Logger, r record) error {
	bucket := r.S3.Bucket.Name
	log = log.With("bucket", bucket, "event", r.EventName)
	key, err := url.QueryUnescape(r.S3.Object.Key)
	if err != nil {
		log.Warn("ignored: the key is not form-encoded", "key", r.S3.Object.Key)
		return nil
	}
	name, object, ok := job.ParseKey(key)
	switch {
	case !strings.HasPrefix(r.EventName, "ObjectCreated:"):
		log.Info("ignored: nothing was uploaded", "key", key)
		return nil
	case !ok:
		log.Info("ignored: not a key of a job's", "key", key)
		return nil
	}
	log = log.With("job", name)
	if strings.HasPrefix(object, job.ShardsPrefix) {
		return h.shard(ctx, log, bucket, name, object)
	}
	return h.mineWaiting(ctx, log.With("object", object), bucket, name)
}

// shard has a shard mined, and the job merged where that was the last one. An error means that its turn must come again.
func (h *Handler) shard(ctx context.Context, log *slog.Logger, bucket, name, shard string) error {
	log = log.With("shard", shard)
	if err := h.checkTime(ctx, log); err != nil {
		return err
	}
	began := time.Now()
	o, err := h.withWorker(ctx, bucket, name, func(w *job.Worker) (*job.Outcome, error) { return w.Shard(ctx, shard) })
	if err != nil {
		log.Error("failed: its turn comes again", "problem", err.Error(), "milliseconds", time.Since(began).Milliseconds())
		return err
	}
	if o.Action == job.Mined {
		h.shardTook = time.Since(began)
	}
	logOutcome(log, o, began)
	return nil
}

// mineWaiting looks at a job whose manifest, pairs or projection was uploaded, and has the shards mined that were
// uploaded before it.
func (h *Handler) mineWaiting(ctx context.Context, log *slog.Logger, bucket, name string) error {
	if err := h.checkTime(ctx, log); err != nil {
		return err
	}
	began := time.Now()
	o, err := h.withWorker(ctx, bucket, name, func(w *job.Worker) (*job.Outcome, error) { return w.Sweep(ctx) })
	if err == nil && len(o.Uploaded) > 0 {
		err = h.mineShards(ctx, log, bucket, name, o.Uploaded)
	}
	if err != nil {
		log.Error("failed: its turn comes again", "problem", err.Error())
		return err
	}
	logOutcome(log, o, began)
	return nil
}

// mineShards sends a message for each shard to the queue, or mines them here where there is no queue.
func (h *Handler) mineShards(ctx context.Context, log *slog.Logger, bucket, name string, shards []string) error {
	if h.config.Queue == nil {
		var errs []error
		for _, shard := range shards {
			err := h.shard(ctx, log, bucket, name, shard)
			errs = append(errs, err)
			if errors.Is(err, job.ErrDeadline) {
				break
			}
		}
		return errors.Join(errs...)
	}
	bodies := make([]string, len(shards))
	for i, shard := range shards {
		body, err := json.Marshal(uploadEvent(bucket, job.Folder+name+"/"+shard))
		if err != nil {
			return err
		}
		bodies[i] = string(body)
	}
	return h.config.Queue.Send(ctx, bodies)
}

// uploaded returns the event that S3 would send of an upload, as far as this function reads it.
func uploadEvent(bucket, key string) map[string][]record {
	r := record{EventSource: "aws:s3", EventName: "ObjectCreated:Waited"}
	r.S3.Bucket.Name, r.S3.Object.Key = bucket, url.QueryEscape(key)
	return map[string][]record{"Records": {r}}
}

// withWorker calls do with the worker of a job. After an error the worker is closed, and the next call gets a new one,
// with new plugin instances.
func (h *Handler) withWorker(ctx context.Context, bucket, name string, do func(*job.Worker) (*job.Outcome, error)) (*job.Outcome, error) {
	w, err := h.workerOf(ctx, bucket, name)
	if err != nil {
		return nil, err
	}
	o, err := do(w)
	if err != nil {
		err = errors.Join(err, h.Close(context.WithoutCancel(ctx)))
	}
	return o, err
}

// sweep finishes each job of a bucket that has all its parts and no result, because its last worker died. It takes the
// jobs in random order, so that each is looked at sooner or later, however short the time. It logs a line for each job
// under way, and of those that have ended the number only.
func (h *Handler) sweep(ctx context.Context, log *slog.Logger, bucket string) error {
	if bucket == "" {
		return fmt.Errorf("the event of a sweep has no bucket")
	}
	at, err := h.jobAt(ctx, bucket, "")
	if err != nil {
		return err
	}
	var names []string
	for name, err := range job.Names(ctx, at.Out) {
		if err != nil {
			return err
		}
		names = append(names, name)
	}
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	ended := map[job.Action]int{} // jobs that had ended before this sweep
	swept := log.With("bucket", bucket, "jobs", len(names))
	defer func() { swept.Info("swept", "finished", ended[job.Finished], "cancelled", ended[job.Cancelled]) }()
	var errs []error
	for i, name := range names {
		log := log.With("job", name)
		if err := h.checkTime(ctx, log); err != nil {
			return errors.Join(append(errs, fmt.Errorf("the sweep of %s ends after %d of %d jobs: %w", bucket, i, len(names), err))...)
		}
		began := time.Now()
		o, err := h.withWorker(ctx, bucket, name, func(w *job.Worker) (*job.Outcome, error) { return w.Sweep(ctx) })
		if err != nil {
			log.Error("sweep failed", "problem", err.Error())
			errs = append(errs, err)
			continue
		}
		if !o.Committed && (o.Action == job.Finished || o.Action == job.Cancelled) {
			ended[o.Action]++
			continue
		}
		logOutcome(log.With("uploaded_not_mined", len(o.Uploaded), "not_uploaded", len(o.Absent)), o, began)
	}
	return errors.Join(errs...)
}

// logOutcome logs what a worker did. The line has no vector, no text, and no id of a document or a query.
func logOutcome(log *slog.Logger, o *job.Outcome, began time.Time) {
	log = log.With("action", string(o.Action), "milliseconds", time.Since(began).Milliseconds())
	if o.Action == job.Mined {
		log = log.With("pairs", o.Pairs, "negatives", o.Negatives, "documents", o.Rows, "bytes", o.Bytes)
	}
	if o.PartsNeeded > 0 {
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
func (h *Handler) checkTime(ctx context.Context, log *slog.Logger) error {
	end, ok := ctx.Deadline()
	if left := time.Until(end) - reserve; ok && left < h.shardTook {
		log.Warn("left for another invocation", "seconds_left", left.Seconds(), "last_shard_seconds", h.shardTook.Seconds())
		return job.ErrDeadline
	}
	return nil
}
