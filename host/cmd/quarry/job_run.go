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

// A run that waits for shards looks for them every twentieth of --wait, but no more often than pollLeast and no more
// seldom than pollMost.
const (
	pollLeast = 50 * time.Millisecond
	pollMost  = 15 * time.Second
)

// jobRun is a command line of job run.
type jobRun struct {
	place   jobFlags
	compute computeFlags
	wait    time.Duration
}

func (a *app) jobRunCommand() *cobra.Command {
	var c jobRun
	cmd := &cobra.Command{
		Use: "run JOB", Short: "Mine a job here, until it is finished", Args: cobra.ExactArgs(1),
		Long: `Mine a job's shards in this process, by the protocol that the Lambda function follows, and write the result once all shards
are mined, by this process or another.

Several runs may work at once, on one machine or many, and beside the function. Each takes the shards in an order of its own. Where two
of them mine the same shard, both are right, and the work is done twice.

A shard that is not uploaded is an error, unless --wait says how long to wait for it. The other shards are mined first. While a shard
is mined it is kept in the folder of temporary files, one shard at a time.`,
		Example: `  quarry job run s3://my-quarry/jobs/nightly
  quarry job run s3://my-quarry/jobs/nightly --wait 10m      # while the upload still goes on
  quarry job run ./bucket/jobs/nightly --threads 4 --memory 2GiB`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.do(a, cmd, args[0]) },
	}
	c.place.add(cmd.Flags())
	c.compute.add(cmd.Flags())
	cmd.Flags().DurationVar(&c.wait, "wait", 0, "how long to wait for the next shard that is not uploaded yet, as 90s or 10m (default: not at all)")
	return cmd
}

func (c *jobRun) do(a *app, cmd *cobra.Command, url string) error {
	ctx := cmd.Context()
	if c.wait < 0 {
		return usageError{fmt.Errorf("--wait is %v; it is a time such as 90s or 10m", c.wait)}
	}
	workers, err := a.newLocalWorkers(cmd, &c.compute)
	if err != nil {
		return err
	}
	defer workers.close(ctx)
	at, err := c.place.locate(ctx, url)
	if err == nil && c.wait == 0 {
		err = requireJob(ctx, at)
	}
	if err != nil {
		return err
	}
	w, err := workers.open(at)
	if err != nil {
		return err
	}
	err = errors.Join(w.mineToEnd(ctx, c.wait), w.close(ctx))
	w.meter.stop()
	if err != nil {
		return w.keepingShards(err)
	}
	return a.summary(w.summary, func(to io.Writer) error {
		t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
		w.summary.write(t)
		if err := t.Flush(); err != nil {
			return err
		}
		_, err := fmt.Fprintf(to, "\nnext: quarry job fetch %s\n", c.place.args(at))
		return err
	})
}

// errCancelled is the error of a job that has no result and gets none.
var errCancelled = errors.New("the job is cancelled\n  hint: quarry job init --force makes it again")

// mineToEnd mines until the job is finished. It waits for the next shard for as long as wait.
func (w *localWorker) mineToEnd(ctx context.Context, wait time.Duration) error {
	poll := max(pollLeast, min(wait/20, pollMost))
	end := time.Now().Add(wait)
	for {
		if err := w.refresh(ctx); err != nil {
			return err
		}
		switch w.summary.State {
		case job.Finished:
			return nil
		case job.Cancelled:
			return fmt.Errorf("%s: %w", w.at.In.URL(), errCancelled)
		}
		if len(w.summary.ToMine) > 0 {
			progress, err := w.mine(ctx, shuffled(w.summary.ToMine))
			if err != nil {
				return err
			}
			if progress {
				end = time.Now().Add(wait)
				continue
			}
		}
		// What is refused does not come right by waiting; the rest may. Where nothing is missing, others put the last
		// parts this moment.
		onlyRefused := len(w.summary.Absent) == 0 && w.summary.Problem == ""
		if missing := w.missingError(); missing != nil && (onlyRefused || !time.Now().Before(end)) {
			return missing
		}
		w.meter.next("wait")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

// shuffled returns the names in a random order. Two runs that took the shards in the same order would be at the same
// shard from where they meet on.
func shuffled(names []string) []string {
	names = slices.Clone(names)
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}
