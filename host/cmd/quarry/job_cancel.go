package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/job"
)

func (a *app) jobCancelCommand() *cobra.Command {
	var f jobFlags
	cmd := &cobra.Command{
		Use: "cancel JOB", Short: "Stop a job, and remove its parts", Args: cobra.ExactArgs(1),
		Long: `Stop a job: workers that are given its shards from now on do nothing, and the parts that they mined so far are removed. A result that
is there stays, and so does what was uploaded.

A worker that is mining meanwhile may leave a part; the same command again removes it. Only init --force makes a job of that name again.`,
		Example: `  quarry job cancel s3://my-quarry/jobs/nightly`,
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := f.existing(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			finished, err := job.Cancel(cmd.Context(), at)
			if err != nil {
				return whenInterrupted(uploadError(err), "run it again: parts may be left")
			}
			s := struct {
				Job      string `json:"job"`
				Finished bool   `json:"finished"` // the result is there
			}{at.Name, finished}
			return a.summary(s, func(w io.Writer) error {
				text := "its parts are removed"
				if finished {
					text += "; it had finished, and the result stays"
				}
				_, err := fmt.Fprintf(w, "%s is cancelled: %s\n", at.In.URL(), text)
				return err
			})
		},
	}
	f.add(cmd.Flags())
	return cmd
}
