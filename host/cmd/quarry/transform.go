package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// transformCommand is a command line of transform.
type transformCommand struct {
	compute                  computeFlags
	projection, output, zero string
	force                    bool
}

func (a *app) transformCommand() *cobra.Command {
	var c transformCommand
	cmd := &cobra.Command{
		Use: "transform DIR --projection FILE -o FOLDER", Short: "Project a folder's vectors", Args: cobra.ExactArgs(1),
		Long: `Project all documents and queries, and write them as docs.npy and queries.npy: float32, one row for each line of the corpus
or query file.`,
		Example: `  quarry transform mydata --projection projection.safetensors -o projected`,
		RunE:    func(cmd *cobra.Command, args []string) error { return c.do(a, cmd, args[0]) },
	}
	flags := cmd.Flags()
	c.compute.add(flags)
	flags.StringVar(&c.projection, "projection", "", "projection file that fit wrote")
	flags.StringVarP(&c.output, "output", "o", "", "folder to write docs.npy and queries.npy to")
	flags.StringVar(&c.zero, "zero", option.ZeroError, "rows that are zero vectors: error, or skip (they become rows of zeros)")
	flags.BoolVar(&c.force, "force", false, "replace outputs that exist")
	mustGive(cmd, "projection", "output")
	return cmd
}

func (c *transformCommand) do(a *app, cmd *cobra.Command, dir string) error {
	meter := a.newMeter()
	compute, err := c.compute.options(cmd, meter)
	if err != nil {
		return err
	}
	o := mining.TransformOptions{Compute: compute, Zero: c.zero, Force: c.force}
	if err := o.Validate(); err != nil {
		return err
	}
	p, err := projection.Load(c.projection)
	if err != nil {
		return err
	}
	e, data, err := c.compute.openWith(cmd.Context(), meter, o.Memory, dir)
	if err != nil {
		return err
	}
	defer closeEngine(cmd.Context(), e)
	defer data.Close()
	o.Engine = e
	if err := os.MkdirAll(c.output, 0o755); err != nil {
		return fmt.Errorf("%w: %w", option.ErrWrite, err)
	}
	t, err := mining.Transform(cmd.Context(), data, p, c.output, o)
	if err != nil {
		return err
	}
	meter.stop()
	s := map[string]any{"documents": t.Documents, "queries": t.Queries, "components": t.Components, "zero_rows": t.Zero, "folder": c.output}
	return a.summary(s, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d documents and %d queries x %d, float32, in %s (%d rows are zero)\n", t.Documents, t.Queries, t.Components, c.output, t.Zero)
		return err
	})
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
