package lambda

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quarry-hn/quarry/host/job"
)

// concurrentLooks is how many jobs a sweep looks at at a time, to tell those that have ended from those under way.
const concurrentLooks = 16

// turn is a job under way, whose turn it is.
type turn struct {
	job   string
	swept time.Time // when its last turn was
}

// sweep does what is left of the jobs in the bucket of the inputs. A job that has all its parts and no result, because
// its last worker died, is merged. A shard that was uploaded longer ago than Config.SweepAge and has no part is brought
// back, because its message may be lost. The job whose last turn is longest ago comes first. The log has a line for each
// job under way, and of those that have ended the number only.
func (i *invocation) sweep(ctx context.Context, bucket string) error {
	log := i.log
	i.log = log.With("bucket", i.inputs)
	if bucket != "" {
		if err := i.checkBucket(bucket); err != nil {
			return i.failed(i.log, err)
		}
	}
	turns, ended, err := i.turns(ctx)
	if err != nil {
		return i.failed(i.log, fmt.Errorf("the sweep could not look at the jobs: %w", err))
	}
	done := 0
	defer func() {
		i.log.Info("swept", "jobs", len(turns)+ended[job.Finished]+ended[job.Cancelled], "finished", ended[job.Finished], "cancelled", ended[job.Cancelled],
			"under_way", len(turns), "had_their_turn", done)
	}()
	var errs []error
	for _, t := range turns {
		if err := i.checkTime(ctx, i.log.With("job", t.job)); err != nil {
			return errors.Join(append(errs, fmt.Errorf("the sweep of %s ends after %d of %d jobs: %w", i.config.Inputs, done, len(turns), err))...)
		}
		errs = append(errs, i.sweepJob(ctx, t.job))
		done++
	}
	return errors.Join(errs...)
}

// turns returns the jobs that are under way, in the order of their turns, and how many have ended in which way.
func (i *invocation) turns(ctx context.Context) (turns []turn, ended map[job.Action]int, err error) {
	root, err := i.place(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for name, err := range job.Names(ctx, root.In) {
		if err != nil {
			return nil, nil, err
		}
		if job.ValidJob(name) {
			names = append(names, name)
		}
	}
	standings := make([]job.Standing, len(names))
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(concurrentLooks)
	for n, name := range names {
		group.Go(func() error {
			at, err := i.place(limited, name)
			if err != nil {
				return err
			}
			// A job that cannot be looked at has its turn, which tells why.
			standings[n], _ = i.look(limited, at)
			return limited.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	ended = map[job.Action]int{}
	for n, s := range standings {
		if s.Ended != "" {
			ended[s.Ended]++
		} else {
			turns = append(turns, turn{names[n], s.Swept})
		}
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Or(a.swept.Compare(b.swept), cmp.Compare(a.job, b.job)) })
	return turns, ended, nil
}

// endedFor is how long a job that has ended is taken for ended without another look, which costs requests. A job that
// takes its place meanwhile is mined by its events all the same; only what is lost of it waits so long.
const endedFor = 4 * time.Hour

// look is job.Look, but for jobs that had ended a short time ago.
func (h *Handler) look(ctx context.Context, at *job.Place) (job.Standing, error) {
	h.mu.Lock()
	known, ok := h.ended[at.Name]
	h.mu.Unlock()
	if ok && time.Since(known.at) < endedFor {
		return known.Standing, nil
	}
	s, err := job.Look(ctx, at)
	h.mu.Lock()
	defer h.mu.Unlock()
	if delete(h.ended, at.Name); err == nil && s.Ended != "" {
		h.ended[at.Name] = endedJob{s, time.Now()}
	}
	return s, err
}

// endedJob is a job that had ended when it was looked at.
type endedJob struct {
	job.Standing
	at time.Time
}

// sweepJob gives a job its turn.
func (i *invocation) sweepJob(ctx context.Context, name string) error {
	log, began := i.log.With("job", name), time.Now()
	var back []string // shards
	o, err := i.workers.with(ctx, name, func(w *job.Worker) (o *job.Outcome, err error) {
		if err = w.TakeTurn(ctx); err == nil {
			o, err = w.Sweep(ctx)
		}
		if err == nil {
			err = w.BringBack(ctx, o, i.config.SweepAge, func(shards []string) error {
				back = shards
				if i.config.Queue == nil {
					return nil // they are mined below, once the worker is free
				}
				return i.send(ctx, name, shards)
			})
		}
		return o, err
	})
	if errors.Is(err, job.ErrPlace) { // it is not this function's job, which its events have said
		log.Warn("not swept", "problem", err.Error())
		return nil
	}
	if err != nil {
		return i.failed(log, err)
	}
	logOutcome(log.With("uploaded_not_mined", len(o.Uploaded), "not_uploaded", len(o.Absent), "brought_back", len(back)), o, began)
	if i.config.Queue == nil {
		return i.mineHere(ctx, log, name, back)
	}
	return nil
}
