package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/job"
)

// How often run looks for shards that it waits for.
const (
	pollLeast = 50 * time.Millisecond
	pollMost  = 15 * time.Second
)

func (a *app) jobRunCommand() *cobra.Command {
	var f jobFlags
	var compute computeFlags
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "run JOB", Short: "Mine a job here, until it is finished", Args: cobra.ExactArgs(1),
		Long: `Mine a job's shards in this process, by the protocol that the Lambda function follows, and write the result once all are mined,
by whomever. Several may run at once, on one machine or many, and while the function does: each takes the shards in an order of
its own, and what two of them mine is right, and mined twice. A shard that is not uploaded is an error, unless --wait says how long to wait
for it; the others are mined first. Shards are kept in the folder of temporary files while they are mined, one at a time.`,
		Example: `  quarry job run s3://my-quarry/jobs/nightly
  quarry job run s3://my-quarry/jobs/nightly --wait 10m      # the upload still goes on
  quarry job run ./bucket/jobs/nightly --threads 4 --memory 2GiB`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait < 0 {
				return usageError{fmt.Errorf("--wait is %v; it is a time such as 90s or 10m", wait)}
			}
			return a.withWorkers(cmd, &compute, func(open func(*job.Place) (*jobWork, error)) error {
				at, err := f.locate(cmd.Context(), args[0])
				if err == nil && wait == 0 {
					err = checkJob(cmd.Context(), at)
				}
				if err != nil {
					return err
				}
				w, err := open(at)
				if err != nil {
					return err
				}
				err = errors.Join(w.toEnd(cmd.Context(), wait), w.close(cmd.Context()))
				w.meter.stop()
				if err != nil {
					return w.interruption(err)
				}
				return a.summary(w.did, func(to io.Writer) error {
					t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
					w.did.write(t)
					if err := t.Flush(); err != nil {
						return err
					}
					_, err := fmt.Fprintf(to, "\nnext: quarry job fetch %s%s\n", word(at.In.URL()), f.again())
					return err
				})
			})
		},
	}
	f.add(cmd.Flags())
	compute.add(cmd.Flags())
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait for the next shard that is not uploaded yet, as 90s or 10m (default: not at all)")
	return cmd
}

// again is --results as the next command takes it.
func (f *jobFlags) again() string {
	if f.results == "" {
		return ""
	}
	return " --results " + word(f.results)
}

// errCancelled is the error of a job that has no result and gets none.
var errCancelled = errors.New("the job is cancelled\n  hint: quarry job init --force makes it again")

// toEnd mines until the job is finished, waiting for the next shard for as long as wait.
func (w *jobWork) toEnd(ctx context.Context, wait time.Duration) error {
	poll := max(pollLeast, min(wait/20, pollMost))
	end := time.Now().Add(wait)
	for {
		if err := w.look(ctx); err != nil {
			return err
		}
		switch w.did.State {
		case job.Finished:
			return nil
		case job.Cancelled:
			return fmt.Errorf("%s: %w", w.at.In.URL(), errCancelled)
		}
		if names := slices.Clone(w.did.ToMine); len(names) > 0 {
			// Two that took the same order would be at the same shard from where they meet.
			rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			progress, err := w.mine(ctx, names)
			if err != nil {
				return err
			}
			if progress {
				end = time.Now().Add(wait)
				continue
			}
		}
		// What is refused does not come right by waiting; the rest may. Where nothing is lacking, others put the last parts this moment.
		onlyRefused := len(w.did.Absent) == 0 && w.did.Problem == ""
		if lacks := w.lacks(); lacks != nil && (onlyRefused || !time.Now().Before(end)) {
			return lacks
		}
		w.meter.next("wait")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}
