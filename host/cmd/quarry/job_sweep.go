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

func (a *app) jobSweepCommand() *cobra.Command {
	var f jobFlags
	var compute computeFlags
	cmd := &cobra.Command{
		Use: "sweep JOB|BUCKET", Short: "Do what is left of a job, or of all jobs of a bucket, once", Args: cobra.ExactArgs(1),
		Long: `Mine what is uploaded and not mined, and write the result where that was all. It is safe at any time, waits for nothing, and is for
schedules: it does what a worker that died left undone. What is not uploaded, or refused, is no failure of a sweep; it says so.`,
		Example: `  quarry job sweep s3://my-quarry/jobs/nightly
  quarry job sweep s3://my-quarry                            # all its jobs`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withWorkers(cmd, &compute, func(open func(*job.Place) (*jobWork, error)) error {
				places, err := f.places(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				s := struct {
					Jobs []*jobWorkSummary `json:"jobs"`
				}{[]*jobWorkSummary{}}
				var errs []error
				for _, at := range places {
					did, err := sweep(cmd.Context(), at, open)
					if err != nil && len(places) > 1 {
						err = fmt.Errorf("job %s: %w", at.Name, err)
					}
					if errs = append(errs, err); err == nil {
						s.Jobs = append(s.Jobs, did)
					} else if cmd.Context().Err() != nil {
						return err
					}
				}
				if len(s.Jobs) > 0 || len(places) == 0 {
					errs = append(errs, a.summary(s, func(to io.Writer) error { return writeSweep(to, args[0], s.Jobs) }))
				}
				return errors.Join(errs...)
			})
		},
	}
	f.add(cmd.Flags())
	compute.add(cmd.Flags())
	return cmd
}

// places are those of the job at a URL, or of all jobs of the bucket there.
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

// sweep makes one pass over a job.
func sweep(ctx context.Context, at *job.Place, open func(*job.Place) (*jobWork, error)) (did *jobWorkSummary, err error) {
	w, err := open(at)
	if err != nil {
		return nil, err
	}
	defer func() { err = w.interruption(errors.Join(err, w.close(ctx))) }()
	defer w.meter.next("")
	if err := w.look(ctx); err != nil {
		return nil, err
	}
	if len(w.did.ToMine) > 0 {
		if _, err := w.mine(ctx, w.did.ToMine); err != nil {
			return nil, err
		}
		if err := w.look(ctx); err != nil {
			return nil, err
		}
	}
	return &w.did, nil
}

func writeSweep(to io.Writer, place string, jobs []*jobWorkSummary) error {
	if len(jobs) == 0 {
		_, err := fmt.Fprintf(to, "there are no jobs in %s\n", place)
		return err
	}
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for i, did := range jobs {
		if i > 0 {
			fmt.Fprintln(t)
		}
		fmt.Fprintf(t, "job\t%s\n", did.Job)
		did.write(t)
	}
	return t.Flush()
}
