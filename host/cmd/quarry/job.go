package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
)

const jobLong = `A sharded job is mined by many workers: on one machine, on several, or by AWS Lambda as the shards are uploaded. The result has
the same bytes as that of quarry mine with the same options.

init cuts a folder's documents into shards and uploads them. run mines them here; where the Lambda function is deployed, it has
begun by then. status, sweep and cancel work at any time. fetch writes the result to a file.

A job is at BUCKET/jobs/NAME. BUCKET is s3://name, s3://name/prefix, or a folder. What is mined goes to another bucket, which is
BUCKET-results unless init's --results names it.

For S3, region and credentials come from where AWS's own programs find them: AWS_REGION, AWS_PROFILE, or AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY. AWS_ENDPOINT_URL_S3 names another server than Amazon's.`

const jobExample = `  quarry job init mydata --shards 40 --bucket s3://my-quarry --job nightly
  quarry job status s3://my-quarry/jobs/nightly
  quarry job run s3://my-quarry/jobs/nightly             # mine here; several may run at once
  quarry job fetch s3://my-quarry/jobs/nightly -o negatives.jsonl`

func (a *app) jobCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "job", Short: "Mine in shards, on several machines or on AWS Lambda", Long: jobLong, Example: jobExample,
		SuggestionsMinimumDistance: 2, Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.jobInitCommand(), a.jobStatusCommand(), a.jobRunCommand(), a.jobSweepCommand(), a.jobCancelCommand(), a.jobFetchCommand())
	return cmd
}

// jobFlags say, beside a job's URL, where the job is.
type jobFlags struct{ results string }

func (f *jobFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.results, "results", "", "bucket that the results go to (default the one that init was given, or the bucket's name followed by -results)")
}

// args are the arguments by which another command finds the job.
func (f *jobFlags) args(at *job.Place) string {
	args := shellWord(at.In.URL())
	if f.results != "" {
		args += " --results " + shellWord(f.results)
	}
	return args
}

// locate opens the stores of the job at a URL.
func (f *jobFlags) locate(ctx context.Context, url string) (*job.Place, error) {
	at, err := job.Locate(ctx, url, f.results)
	return at, placeError(err)
}

// existing is locate for a job that must be there.
func (f *jobFlags) existing(ctx context.Context, url string) (*job.Place, error) {
	at, err := f.locate(ctx, url)
	if err != nil {
		return nil, err
	}
	return at, requireJob(ctx, at)
}

// requireJob fails where there is no manifest: a mistyped name is not a job that waits for its upload.
func requireJob(ctx context.Context, at *job.Place) error {
	problem := "there is no job: no " + job.ManifestKey
	for _, s := range []objstore.Store{at.In, at.Out} {
		r, _, err := s.Get(ctx, job.ManifestKey, 0, "") // S3 does not tell a HEAD request why it was denied
		switch {
		case err == nil:
			return r.Close()
		case s == at.In && errors.Is(err, objstore.ErrDenied):
			problem = fmt.Sprintf("there is no job, or it may not be read: %v", err)
		// The first worker may make the results' bucket. S3 denies an object that is not there to a user who may not
		// list.
		case !errors.Is(err, objstore.ErrNotExist) && !errors.Is(err, objstore.ErrDenied) && (s == at.In || !errors.Is(err, objstore.ErrNoBucket)):
			return err
		}
	}
	return inputError(at.In.URL(), "make the job with quarry job init, or check the name and who may read it", "%s", problem)
}

// placeError is err as a mistake of the command line, where a store could not be opened.
func placeError(err error) error {
	if errors.As(err, new(*job.OpenError)) {
		return usageError{err}
	}
	return err
}

// inputError is a problem with what a job is made of.
func inputError(place, hint, format string, args ...any) error {
	return &dataset.Error{Path: place, Row: -1, Problem: fmt.Sprintf(format, args...), Hint: hint}
}

// partlyDone is the error of a command that keeps what it had done when it is interrupted.
type partlyDone struct {
	error
	kept string // what the user is told of it
}

func (e *partlyDone) Unwrap() error { return e.error }

// whenInterrupted is err with what the user is told, in place of "nothing was written", where err is an interruption.
func whenInterrupted(err error, kept string) error {
	if err == nil {
		return nil
	}
	return &partlyDone{err, kept}
}

// firstNames lists the first names, and counts the rest.
func firstNames(names []string, most int) string {
	if len(names) <= most {
		return join(names)
	}
	return fmt.Sprintf("%s and %d more", join(names[:most]), len(names)-most)
}

// writeShards writes rows of a table: the shards that are yet to mine, those that are not uploaded, and what was
// refused, with the problem and a hint. Of each kind it names most at most.
func writeShards(w io.Writer, toMine, absent []string, refused []job.Refusal, most int) {
	if n := len(toMine); n > 0 {
		fmt.Fprintf(w, "to mine\t%d uploaded: %s\n", n, firstNames(toMine, most))
	}
	if n := len(absent); n > 0 {
		fmt.Fprintf(w, "missing\t%d not uploaded: %s\n", n, firstNames(absent, most))
	}
	for i, r := range refused {
		if i == most {
			fmt.Fprintf(w, "\tand %d more; --json lists all\n", len(refused)-most)
			return
		}
		label := ""
		if i == 0 {
			label = "refused"
		}
		fmt.Fprintf(w, "%s\t%s: %s\n\t  hint: %s\n", label, r.Name, strings.ReplaceAll(r.Problem, "\n", "\n\t"), r.Hint)
	}
}

// waitsFor says what a job waits for; it is empty for a job that does not wait.
func waitsFor(state job.Action, problem string) string {
	if state == job.Waits {
		return "waits: " + problem
	}
	return ""
}
