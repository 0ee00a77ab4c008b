package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset/beir"
)

func (a *app) fitCommand() *cobra.Command {
	var f fitFlags
	var run runFlags
	var output, zero string
	var force bool
	cmd := &cobra.Command{
		Use: "fit DIR", Short: "Fit a projection on a folder's vectors", Args: cobra.ExactArgs(1),
		Long: `Fit a projection: concatenate the models' vectors, each L2-normalised and times its weight, and find the
principal components that keep a share of the variance. Writes one safetensors file, which NumPy opens too.`,
		Example: `  quarry fit mydata -o projection.safetensors
  quarry fit mydata -o p.safetensors --models mpnet,minilm=0.5 --components 256
  quarry fit mydata -o p.safetensors --fit-on sample:100000 --seed 7`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := run.checkThreads(cmd); err != nil {
				return err
			}
			o, err := f.options(cmd.Flags())
			if err != nil {
				return err
			}
			if err := (host.Outputs{Projection: output, Force: force}).Check(); err != nil {
				return err
			}
			meter := a.newMeter()
			o.Threads, o.Zero, o.Progress = run.threads, zero, meter.progress()
			if o.Memory, err = run.bytes(); err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return err
			}
			folder, err := beir.Open(args[0])
			if err != nil {
				return err
			}
			defer folder.Close()
			p, err := host.Fit(cmd.Context(), folder, o)
			if err != nil {
				return err
			}
			meter.stop()
			if err := p.Save(output, force); err != nil {
				return err
			}
			s := projectionSummary(p)
			s.Written = []string{output}
			return a.summary(s, func(w io.Writer) error { return s.write(w) })
		},
	}
	f.add(cmd.Flags())
	run.addThreads(cmd.Flags())
	run.addMemory(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "projection.safetensors", "file to write")
	cmd.Flags().StringVar(&zero, "zero", host.ZeroError, "rows that are zero vectors: error, or skip (they are not fitted on)")
	cmd.Flags().BoolVar(&force, "force", false, "replace the output where it exists")
	return cmd
}

// fitSummary is what fit and inspect say of a projection.
type fitSummary struct {
	Fingerprint string   `json:"sha256"`
	Models      []string `json:"models"`
	Columns     int      `json:"columns"`
	Components  int      `json:"components"`
	PCA         string   `json:"pca"`
	Normalize   bool     `json:"normalize"`
	Center      bool     `json:"center"`
	FitOn       string   `json:"fit_on"`
	Rows        int      `json:"rows"`
	Total       float64  `json:"total_variance"`
	Captured    float64  `json:"captured_variance"`
	Written     []string `json:"written,omitempty"`
}

func projectionSummary(p *host.Projection) *fitSummary {
	s := &fitSummary{Fingerprint: p.Fingerprint, Columns: p.Columns(), Components: p.Width(), PCA: p.PCA, Normalize: p.Normalize, Center: p.Center,
		FitOn: p.FitOn, Rows: p.Rows, Total: p.TotalVariance, Captured: p.CapturedVariance}
	for _, m := range p.Models {
		s.Models = append(s.Models, fmt.Sprintf("%s (%d x %v)", m.Name, m.Width, m.Weight))
	}
	return s
}

func (s *fitSummary) write(w io.Writer) error {
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
