package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
)

// jobSweep is a command line of job sweep.
type jobSweep struct {
	place   jobFlags
	compute computeFlags
}

func (a *app) jobSweepCommand() *cobra.Command {
	var c jobSweep
	cmd := &cobra.Command{
		Use: "sweep JOB|BUCKET", Short: "Do what is left of a job, or of all jobs of a bucket, once", Args: cobra.ExactArgs(1),
		Long: `Mine the shards that are uploaded and not mined, and write the result where that was all.

A sweep is for schedules: it does what a worker that died left undone. It is safe at any time, and waits for nothing. A shard that is not
uploaded, or is refused, is no failure of a sweep; the summary names it.`,
		Example: `  quarry job sweep s3://my-quarry/jobs/nightly
  quarry job sweep s3://my-quarry                            # all its jobs`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.do(a, cmd, args[0]) },
	}
	c.place.add(cmd.Flags())
	c.compute.add(cmd.Flags())
	return cmd
}

func (c *jobSweep) do(a *app, cmd *cobra.Command, url string) error {
	ctx := cmd.Context()
	workers, err := a.newLocalWorkers(cmd, &c.compute)
	if err != nil {
		return err
	}
	defer workers.close(ctx)
	places, err := c.place.places(ctx, url)
	if err != nil {
		return err
	}
	s := struct {
		Jobs []*workSummary `json:"jobs"`
	}{[]*workSummary{}}
	var errs []error
	for _, at := range places {
		summary, err := workers.sweep(ctx, at, c.place.results == "")
		if err != nil && len(places) > 1 {
			err = fmt.Errorf("job %s: %w", at.Name, err)
		}
		if errs = append(errs, err); err == nil {
			s.Jobs = append(s.Jobs, summary)
		} else if ctx.Err() != nil {
			return err
		}
	}
	if len(s.Jobs) > 0 || len(places) == 0 {
		errs = append(errs, a.summary(s, func(to io.Writer) error { return writeSweep(to, url, s.Jobs) }))
	}
	return errors.Join(errs...)
}

// places are the place of the job at a URL, or those of all jobs where the URL is a bucket's.
func (f *jobFlags) places(ctx context.Context, url string) ([]*job.Place, error) {
	bucket := strings.TrimRight(url, "/")
	if strings.Contains(bucket, "/"+job.Folder) || strings.HasPrefix(bucket, job.Folder) {
		at, err := f.existing(ctx, url)
		return []*job.Place{at}, err
	}
	if bucket == "" {
		bucket = url
	}
	in, out, err := job.OpenBuckets(ctx, bucket, f.results)
	if err != nil {
		return nil, placeError(err)
	}
	var places []*job.Place
	for name, err := range job.Names(ctx, objstore.Sub(in, job.Folder)) {
		if err != nil {
			return nil, err
		}
		if job.ValidJob(name) {
			places = append(places, job.Within(in, out, name))
		}
	}
	return places, nil
}

// sweep makes one pass over a job. Its results are where its record says, if there is one and recorded is set.
func (l *localWorkers) sweep(ctx context.Context, at *job.Place, recorded bool) (_ *workSummary, err error) {
	if recorded {
		if at, err = at.Recorded(ctx); err != nil {
			return nil, err
		}
	}
	w, err := l.open(at)
	if err != nil {
		return nil, err
	}
	defer func() { err = w.keepingShards(errors.Join(err, w.close(ctx))) }()
	defer w.meter.next("")
	if err := w.refresh(ctx); err != nil {
		return nil, err
	}
	if len(w.summary.ToMine) > 0 {
		if _, err := w.mine(ctx, w.summary.ToMine); err != nil {
			return nil, err
		}
		if err := w.refresh(ctx); err != nil {
			return nil, err
		}
	}
	return &w.summary, nil
}

func writeSweep(to io.Writer, place string, jobs []*workSummary) error {
	if len(jobs) == 0 {
		_, err := fmt.Fprintf(to, "there are no jobs in %s\n", place)
		return err
	}
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for i, summary := range jobs {
		if i > 0 {
			fmt.Fprintln(t)
		}
		fmt.Fprintf(t, "job\t%s\n", summary.Job)
		summary.write(t)
	}
	return t.Flush()
}
