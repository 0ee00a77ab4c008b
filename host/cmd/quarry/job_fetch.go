package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/run"
)

func (a *app) jobFetchCommand() *cobra.Command {
	var f jobFlags
	var output string
	var force bool
	cmd := &cobra.Command{
		Use: "fetch JOB", Short: "Write a finished job's negatives to a file", Args: cobra.ExactArgs(1),
		Long: `Write the negatives of a finished job, and their manifest beside them. Both have the same bytes as those of quarry mine. What is
downloaded is checked against the fingerprint in the manifest. A job that is not finished is a failure, with exit code 1.`,
		Example: `  quarry job fetch s3://my-quarry/jobs/nightly
  quarry job fetch ./bucket/jobs/nightly -o nightly.jsonl && quarry export nightly.jsonl mydata`,
		RunE: func(cmd *cobra.Command, args []string) error {
			outputs := run.OutputsBeside(output, false, force)
			if err := outputs.Check(); err != nil {
				return err
			}
			at, err := f.existing(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			m, err := fetch(cmd.Context(), at, outputs)
			if err != nil {
				return err
			}
			s := struct {
				Job         string            `json:"job"`
				Tallies     negatives.Tallies `json:"tallies"`
				Written     []string          `json:"written"`
				NegativesID string            `json:"negatives_sha256"`
			}{at.Name, m.Tallies, outputs.Paths(), m.Negatives}
			return a.summary(s, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%d negatives, for %d of %d pairs, of %d documents\nwritten: %s\n",
					m.Tallies.Negatives, m.Tallies.WithNegatives, m.Tallies.Pairs, m.Tallies.Documents, join(s.Written))
				return err
			})
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "negatives.jsonl", "file to write")
	cmd.Flags().BoolVar(&force, "force", false, "replace outputs that exist")
	return cmd
}

// fetch writes the negatives and their manifest, or neither.
func fetch(ctx context.Context, at *job.Place, outputs run.Outputs) (m *negatives.Manifest, err error) {
	var files atomicfile.Group
	defer func() { err = errors.Join(err, files.Discard()) }()
	err = files.Create(outputs.Negatives, outputs.Force, func(w io.Writer) (err error) {
		m, err = job.Fetch(ctx, at, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := files.Create(outputs.Manifest, outputs.Force, m.Write); err != nil {
		return nil, err
	}
	return m, files.Commit()
}
