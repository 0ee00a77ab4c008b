package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/report"
	"github.com/quarry-hn/quarry/host/run"
)

// reportCommand is a command line of report.
type reportCommand struct {
	negatives, data           string
	output, projection, audit string
	compare                   []string
	options                   report.Options
	force                     bool
}

func (a *app) reportCommand() *cobra.Command {
	var c reportCommand
	cmd := &cobra.Command{
		Use: "report NEGATIVES DIR", Short: "Make a page of negatives: pictures, and cases to read and mark", Args: cobra.ExactArgs(2),
		Long: `Write one HTML file that shows what was mined: how near the negatives are, how much variance the projection keeps, where
queries, positives and negatives lie on the first two principal components, and cases to read side by side. A reader marks negatives as
good or false, and saves the marks as judgements in BEIR's layout. The file loads nothing, so it works without a network.

The manifest and the projection that stand beside the negatives are taken along. An audit of other negatives is refused, and so is a
comparison of other data.`,
		Example: `  quarry report negatives.jsonl mydata                        # writes report.html
  quarry report capped.jsonl mydata --projection projection.safetensors -o capped.html
  quarry report negatives.jsonl mydata --compare compare.json --audit audit.json --cases 500`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.negatives, c.data = args[0], args[1]
			return c.do(a, cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&c.output, "output", "o", "report.html", "file to write")
	flags.StringVar(&c.projection, "projection", "", "projection file that the negatives were mined with (default: projection.safetensors beside them, where it is theirs)")
	flags.StringArrayVar(&c.compare, "compare", nil, "file that quarry compare wrote of DIR; a further one takes what it wrote with --train, of each trainee")
	flags.StringVar(&c.audit, "audit", "", "what quarry audit --json printed of NEGATIVES, or when it kept them with --drop-above")
	flags.IntVar(&c.options.Cases, "cases", report.DefaultCases, "pairs to show with their texts")
	flags.BoolVar(&c.force, "force", false, "replace the output where it exists")
	return cmd
}

func (c *reportCommand) do(a *app, cmd *cobra.Command) error {
	if cmd.Flags().Changed("cases") && c.options.Cases < 1 {
		return usageError{fmt.Errorf("--cases is %d; it is 1 to %d", c.options.Cases, report.MaxCases)}
	}
	if err := c.options.Validate(); err != nil {
		return err
	}
	if err := atomicfile.Check(c.output, c.force); err != nil {
		return err
	}
	in, err := c.input()
	if err != nil {
		return err
	}
	if in.Data, err = openData(c.data, dataset.Watch{Context: cmd.Context()}); err != nil {
		return err
	}
	defer in.Data.Close()
	page, err := report.New(cmd.Context(), in, c.options)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(c.output, c.force, page.Write); err != nil {
		return err
	}
	s := map[string]any{"cases": len(page.Cases), "pairs": page.Tallies.Pairs, "negatives": page.Tallies.Negatives, "left_out": page.LeftOut, "written": []string{c.output}}
	return a.summary(s, func(w io.Writer) error {
		for _, line := range page.LeftOut {
			fmt.Fprintf(w, "not shown  %s\n", line)
		}
		_, err := fmt.Fprintf(w, "%d cases of %d pairs in %s: open it in a browser\n", len(page.Cases), page.Tallies.Pairs, c.output)
		return err
	})
}

// input reads all that the page is made of, except the data set.
func (c *reportCommand) input() (in report.Input, err error) {
	var sum string
	if in.Pairs, sum, err = negatives.LoadSum(c.negatives); err != nil {
		return in, err
	}
	beside := run.OutputsBeside(c.negatives, true, false)
	if in.Manifest, err = manifestOf(c.negatives, sum, beside.Manifest); err != nil {
		return in, err
	}
	if in.Projection, err = c.projectionOf(in.Manifest, beside.Projection); err != nil {
		return in, err
	}
	if len(c.compare) > 0 {
		if in.Comparison, err = report.LoadComparison(c.compare...); err != nil {
			return in, err
		}
	}
	if c.audit != "" {
		in.Audit, err = report.LoadAudit(c.audit, sum)
	}
	return in, err
}

// manifestOf loads the manifest beside negatives with that SHA-256. It is nil where there is none, and an error where it is of other
// negatives.
func manifestOf(negativesFile, sum, path string) (*negatives.Manifest, error) {
	m, err := negatives.LoadManifest(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if sum != m.Negatives {
		return nil, dataset.FileError(path, "give the negatives as they were mined, or another name to those that were changed", "the manifest is not of the negatives in %s", negativesFile)
	}
	return m, nil
}

// projectionOf loads the projection that the command line names, which must be the one of the manifest. Where it names none, the one
// beside the negatives is loaded if it is the one of the manifest.
func (c *reportCommand) projectionOf(m *negatives.Manifest, beside string) (*projection.Projection, error) {
	path := c.projection
	if path == "" {
		if _, err := os.Stat(beside); m == nil || errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		path = beside
	}
	p, err := projection.Load(path)
	if err != nil || m == nil || p.Fingerprint == m.Projection.SHA256 {
		return p, err
	}
	if c.projection == "" {
		return nil, nil
	}
	return nil, dataset.FileError(path, "give the projection that they were mined with", "the negatives were mined with another projection: %s, not %s",
		m.Projection.SHA256, p.Fingerprint)
}
