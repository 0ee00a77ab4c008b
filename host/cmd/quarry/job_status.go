package main

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/job"
)

func (a *app) jobStatusCommand() *cobra.Command {
	var f jobFlags
	cmd := &cobra.Command{
		Use: "status JOB", Short: "Say how far a job is, what is missing, and what it cost so far", Args: cobra.ExactArgs(1),
		Long: `Say how far a job is: which shards are mined, which are uploaded and not mined, which are not uploaded, what was refused and why,
and how long mining took. The command reads both buckets and changes nothing.

The cost is about what AWS asks for the parts that Lambda mined: its time and memory, its calls, and the requests to S3, at list prices
of us-east-1 and without free tiers.`,
		Example: `  quarry job status s3://my-quarry/jobs/nightly
  quarry job status ./bucket/jobs/nightly --json | jq .state`,
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := f.existing(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			s, err := job.ReadStatus(cmd.Context(), at)
			if err != nil {
				return err
			}
			return a.summary(s, func(w io.Writer) error { return writeStatus(w, at, f.args(at), s) })
		},
	}
	f.add(cmd.Flags())
	return cmd
}

// writeStatus writes how a job stands. args are the arguments by which other commands find the job.
func writeStatus(w io.Writer, at *job.Place, args string, s *job.Status) error {
	const names = 3
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "job\t%s, in %s\n", s.Job, at.In.URL())
	switch s.State {
	case job.Finished:
		c := s.Tallies
		fmt.Fprintf(t, "state\tfinished\n")
		fmt.Fprintf(t, "mined\t%d pairs against %d documents in %d %s\n", c.Pairs, c.Documents, s.Shards, plural(s.Shards, "shard"))
		fmt.Fprintf(t, "negatives\t%d, for %d pairs (%.1f %%)\n", c.Negatives, c.WithNegatives, percent(c.WithNegatives, c.Pairs))
		fmt.Fprintf(t, "result\t%s\n", at.Out.URL())
	case job.Cancelled:
		what := "nothing more is mined"
		if s.Tallies != nil {
			what = "it had finished, and the result is in " + at.Out.URL()
		}
		fmt.Fprintf(t, "state\tcancelled: %s\n", what)
	default:
		fmt.Fprintf(t, "state\t%s\n", cmp.Or(waitsFor(s.State, s.Problem), "pending"))
		fmt.Fprintf(t, "mined\t%d of %d %s; %d of %d documents (%.1f %%)\n", s.Mined, s.Shards, plural(s.Shards, "shard"), s.Rows, s.Documents,
			100*float64(s.Rows)/float64(max(s.Documents, 1)))
		if s.State == job.Pending && s.Mined == s.Shards {
			fmt.Fprintf(t, "result\tnot written yet: quarry job sweep %s writes it, or says what is in the way\n", args)
		}
		fmt.Fprintf(t, "pairs\t%d\n", s.Pairs)
	}
	writeShards(t, s.Uploaded, s.Absent, s.Refused, names)
	if s.Seconds > 0 {
		fmt.Fprintf(t, "time\t%.1f s of mining, all workers together\n", s.Seconds)
	}
	if s.GBSeconds > 0 {
		fmt.Fprintf(t, "cost\tabout $%.4f on Lambda (%.1f GB-seconds)\n", s.Dollars, s.GBSeconds)
	}
	return t.Flush()
}
