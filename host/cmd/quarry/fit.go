package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/run"
)

// fitCommand is a command line of fit.
type fitCommand struct {
	fit          fitFlags
	compute      computeFlags
	output, zero string

	force, resume bool
	partDocuments int
}

func (a *app) fitCommand() *cobra.Command {
	var c fitCommand
	cmd := &cobra.Command{
		Use: "fit DIR", Short: "Fit a projection on a folder's vectors", Args: cobra.ExactArgs(1),
		Long: `Fit a projection. The command concatenates the models' vectors, each L2-normalised and multiplied by its weight, and finds the
principal components that keep a share of the variance. It writes one safetensors file, which NumPy opens too. A fit that takes longer
than half a minute keeps what it has done in a folder beside the output, until it is finished.`,
		Example: `  quarry fit mydata -o projection.safetensors
  quarry fit mydata -o p.safetensors --models mpnet,minilm=0.5 --components 256
  quarry fit mydata -o p.safetensors --fit-on sample:100000 --seed 7
  quarry fit mydata -o p.safetensors --resume                 # the same command goes on where it was cut short`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.do(a, cmd, args[0]) },
	}
	flags := cmd.Flags()
	c.fit.add(flags)
	c.compute.addThreads(flags)
	c.compute.addMemory(flags)
	flags.Lookup("memory").Usage = "memory the process may take, as 512MiB or 4GiB (default half of the machine's, at most 4GiB); the result is the same up to 2,048 columns; a wider fit is another, as good within 3 % of the components, where there is no room for the covariance"
	flags.StringVarP(&c.output, "output", "o", "projection.safetensors", "file to write")
	flags.StringVar(&c.zero, "zero", option.ZeroError, "rows that are zero vectors: error, or skip (they are not fitted on)")
	flags.BoolVar(&c.force, "force", false, "replace the output where it exists, and start anew where a fit was cut short")
	flags.BoolVar(&c.resume, "resume", false, "go on from what a fit left which was cut short; start where there is nothing, and do nothing where all is done")
	flags.IntVar(&c.partDocuments, "part-documents", 0, "documents to add up between one time that what is done is kept and the next (default: about half a minute's work)")
	return cmd
}

func (c *fitCommand) do(a *app, cmd *cobra.Command, dir string) error {
	if err := c.compute.checkThreads(cmd); err != nil {
		return err
	}
	o, err := c.fit.options(cmd.Flags())
	if err != nil {
		return err
	}
	if !c.resume && isFetched(dir) {
		if err := atomicfile.Check(c.output, c.force); err != nil {
			return err
		}
	}
	meter := a.newMeter()
	o.Threads, o.Zero, o.Progress = c.compute.threads, c.zero, meter.progress()
	if o.Memory, err = c.compute.budget(); err != nil {
		return err
	}
	f := run.Fit{Options: o, Output: c.output, Force: c.force, Resume: c.resume, PartRows: c.partDocuments}
	if err := f.Validate(); err != nil {
		return err
	}
	data, err := openData(dir, dataset.Watch{Context: cmd.Context(), Progress: meter.progress()})
	if err != nil {
		return err
	}
	defer data.Close()
	p, finished, err := f.Do(cmd.Context(), data)
	if err != nil {
		return err
	}
	meter.stop()
	if finished {
		return a.finishedAlready(run.Outputs{Projection: c.output})
	}
	s := projection.Summarize(p)
	s.Written = []string{c.output}
	return a.summary(s, func(w io.Writer) error { return writeProjection(w, s) })
}

// writeProjection writes a projection's figures as a table.
func writeProjection(w io.Writer, s *projection.Summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "models\t%s\n", join(s.Models))
	fmt.Fprintf(t, "columns\t%d\n", s.Columns)
	if s.PCA == "none" {
		fmt.Fprintf(t, "pca\tnone: the vectors are concatenated only\n")
	} else {
		fmt.Fprintf(t, "components\t%d (%s)\n", s.Components, s.PCA)
		fmt.Fprintf(t, "variance\t%.4f %% of %.6g captured, measured on %d rows (%s)\n", 100*s.Captured/s.Total, s.Total, s.Rows, s.FitOn)
	}
	fmt.Fprintf(t, "sha256\t%s\n", s.Fingerprint)
	if len(s.Written) > 0 {
		fmt.Fprintf(t, "written\t%s\n", join(s.Written))
	}
	return t.Flush()
}
