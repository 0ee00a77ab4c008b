package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/report"
	"github.com/quarry-hn/quarry/host/run"
)

// demoCommand is a command line of demo.
type demoCommand struct {
	compute computeFlags
	output  string
	force   bool
}

func (a *app) demoCommand() *cobra.Command {
	var c demoCommand
	cmd := &cobra.Command{
		Use: "demo", Short: "Mine a small example that comes with quarry, and show it", Args: cobra.NoArgs,
		Long: `Mine the embedded example: short passages about cloud services, many of them near misses of one another. The command shows queries,
positives and negatives side by side. It writes the example's folder, its negatives and a page of them, report.html, so that the
other commands can be tried on them.`,
		Example: `  quarry demo
  quarry demo -o example && quarry export example/negatives.jsonl example/data -o triplets.jsonl`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.do(a, cmd) },
	}
	c.compute.add(cmd.Flags())
	cmd.Flags().StringVarP(&c.output, "output", "o", "quarry-demo", "folder to write to")
	cmd.Flags().BoolVar(&c.force, "force", false, "replace files that are there and differ")
	return cmd
}

func (c *demoCommand) do(a *app, cmd *cobra.Command) error {
	meter := a.newMeter()
	compute, err := c.compute.options(cmd, meter)
	if err != nil {
		return err
	}
	compute.Progress = nil // it takes a second
	if compute.Engine, err = c.compute.open(cmd.Context(), meter, compute.Memory); err != nil {
		return err
	}
	defer closeEngine(cmd.Context(), compute.Engine)
	folder, err := demo.Open()
	if err != nil {
		return err
	}
	defer folder.Close()
	fit, mine := projection.FitOptions{Threads: c.compute.threads, Memory: compute.Memory}, mining.Options{Compute: compute}
	if err := mining.CheckBeforeFit(folder, fit, mine); err != nil {
		return err
	}
	p, err := projection.Fit(cmd.Context(), folder, fit)
	if err != nil {
		return err
	}
	result, err := mining.Mine(cmd.Context(), folder, p, mine)
	if err != nil {
		return err
	}
	page, err := report.New(cmd.Context(), report.Input{Data: folder, Pairs: result.Pairs, Manifest: &result.Manifest, Projection: p}, report.Options{})
	if err != nil {
		return err
	}
	written, err := c.write(p, result, page)
	if err != nil {
		return err
	}
	s := run.Summarize(folder, p, result, written)
	texts, err := negatives.TextsOf(folder, result.Pairs)
	if err != nil {
		return err
	}
	return a.summary(s, func(w io.Writer) error { return c.show(w, s, result, texts) })
}

// write writes the example's folder and what was mined, all of it or nothing. A file that is there already with the
// same bytes stays. It returns what the summary names as written.
func (c *demoCommand) write(p *projection.Projection, result *negatives.Result, page *report.Report) (written []string, err error) {
	outputs := run.OutputsBeside(filepath.Join(c.output, "negatives.jsonl"), true, c.force)
	data := filepath.Join(c.output, "data")
	contents, err := exampleFiles(data)
	if err != nil {
		return nil, err
	}
	for path, write := range map[string]func(io.Writer) error{outputs.Projection: p.Write, outputs.Negatives: result.WriteNegatives,
		outputs.Manifest: result.Manifest.Write, c.page(): page.Write} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return nil, err
		}
		contents[path] = b.Bytes()
	}
	var group atomicfile.Group
	defer func() { err = errors.Join(err, group.Discard()) }()
	if err := c.dropUnchanged(contents); err != nil {
		return nil, err
	}
	for _, path := range slices.Sorted(maps.Keys(contents)) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("%w: %w", option.ErrWrite, err)
		}
		if err := group.Create(path, c.force, func(w io.Writer) error { _, err := w.Write(contents[path]); return err }); err != nil {
			return nil, err
		}
	}
	return append(outputs.Paths(), c.page(), data), group.Commit()
}

// page is the file of the report.
func (c *demoCommand) page() string { return filepath.Join(c.output, "report.html") }

// exampleFiles returns the content of the example's files, by the paths they get in a folder.
func exampleFiles(folder string) (map[string][]byte, error) {
	contents := map[string][]byte{}
	err := fs.WalkDir(demo.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			contents[filepath.Join(folder, filepath.FromSlash(name))], err = demo.FS.ReadFile(name)
		}
		return err
	})
	return contents, err
}

// dropUnchanged removes from contents the files that are there with the same bytes. It fails where a file is there with
// others, unless force is on.
func (c *demoCommand) dropUnchanged(contents map[string][]byte) error {
	for path, content := range contents {
		there, err := os.ReadFile(path)
		switch {
		case err == nil && bytes.Equal(there, content):
			delete(contents, path)
		case err == nil:
			if err := atomicfile.Check(path, c.force); err != nil {
				return err
			}
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: %w", option.ErrWrite, err)
		}
	}
	return nil
}

// show shows every pair, the summary, and a command to go on with.
func (c *demoCommand) show(w io.Writer, s *run.Summary, result *negatives.Result, texts *negatives.Texts) error {
	if err := sideBySide(w, result.Pairs, texts); err != nil {
		return err
	}
	s.Examples = nil // all pairs were just shown
	if err := writeSummary(w, s); err != nil {
		return err
	}
	fmt.Fprintf(w, "look:    open %s in a browser\n", shellWord(c.page()))
	_, err := fmt.Fprintf(w, "next:    quarry mine %s --projection %s --rule capped -o %s\n",
		shellWord(filepath.Join(c.output, "data")), shellWord(filepath.Join(c.output, "projection.safetensors")), shellWord(filepath.Join(c.output, "capped.jsonl")))
	return err
}

// sideBySide shows every pair: its query, its positive, and its first two negatives, with their distances from the query.
func sideBySide(w io.Writer, pairs []negatives.Pair, texts *negatives.Texts) error {
	const width = 100
	for _, p := range pairs {
		fmt.Fprintf(w, "%s  %s\n", p.QueryID, texts.Queries[p.QueryID].Text)
		fmt.Fprintf(w, "    positive  %.3f  %s\n", p.DQPD, shorten(texts.Document(p.PositiveID, ". "), width))
		for _, n := range p.Negatives[:min(2, len(p.Negatives))] {
			fmt.Fprintf(w, "    negative  %.3f  %s\n", n.DQD, shorten(texts.Document(n.ID, ". "), width))
		}
		if more := len(p.Negatives) - 2; more > 0 {
			fmt.Fprintf(w, "    and %d more\n", more)
		}
		switch p.None {
		case negatives.NoneWindow:
			fmt.Fprintln(w, "    none: nothing is nearer to the query than the positive")
		case negatives.NoneEq6:
			fmt.Fprintln(w, "    none: what is nearer to the query is nearer still to the positive")
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}
