package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/run"
)

func (a *app) transformCommand() *cobra.Command {
	var compute computeFlags
	var projectionFile, output, zero string
	var force bool
	cmd := &cobra.Command{
		Use: "transform DIR --projection FILE -o FOLDER", Short: "Project a folder's vectors", Args: cobra.ExactArgs(1),
		Long: `Project all documents and queries, and write them as docs.npy and queries.npy: float32, one row for each line of the corpus
or query file.`,
		Example: `  quarry transform mydata --projection projection.safetensors -o projected`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			e, err := compute.open(cmd)
			if err != nil {
				return err
			}
			defer closeEngine(cmd.Context(), e)
			o := mining.TransformOptions{Zero: zero, Force: force}
			if err := o.Validate(); err != nil {
				return err
			}
			p, err := projection.Load(projectionFile)
			if err != nil {
				return err
			}
			folder, err := dataset.Open(args[0])
			if err != nil {
				return err
			}
			defer folder.Close()
			if err := os.MkdirAll(output, 0o755); err != nil {
				return fmt.Errorf("%w: %w", run.ErrWrite, err)
			}
			meter := a.newMeter()
			if o.Compute, err = compute.options(e, meter); err != nil {
				return err
			}
			t, err := mining.Transform(cmd.Context(), folder, p, output, o)
			if err != nil {
				return err
			}
			meter.stop()
			return a.summary(map[string]any{"documents": t.Documents, "queries": t.Queries, "components": t.Components, "zero_rows": t.Zero, "folder": output},
				func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "%d documents and %d queries x %d, float32, in %s (%d rows are zero)\n", t.Documents, t.Queries, t.Components, output, t.Zero)
					return err
				})
		},
	}
	compute.add(cmd.Flags())
	cmd.Flags().StringVar(&projectionFile, "projection", "", "projection file that fit wrote")
	cmd.Flags().StringVarP(&output, "output", "o", "", "folder to write docs.npy and queries.npy to")
	cmd.Flags().StringVar(&zero, "zero", option.ZeroError, "rows that are zero vectors: error, or skip (they become rows of zeros)")
	cmd.Flags().BoolVar(&force, "force", false, "replace outputs that exist")
	mustGive(cmd, "projection", "output")
	return cmd
}

// mustGive makes flags required. Cobra can do so too, but its error would not be a usage error here.
func mustGive(cmd *cobra.Command, names ...string) {
	args := cmd.Args
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		for _, name := range names {
			if !cmd.Flags().Changed(name) {
				return fmt.Errorf("--%s is missing", name)
			}
		}
		return args(cmd, given)
	}
}
