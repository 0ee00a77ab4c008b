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
	"github.com/quarry-hn/quarry/host/run"
)

func (a *app) demoCommand() *cobra.Command {
	var compute computeFlags
	var output string
	var force bool
	cmd := &cobra.Command{
		Use: "demo", Short: "Mine a small example that comes with quarry, and show it", Args: cobra.NoArgs,
		Long: `Mine the embedded example, short passages about cloud services, many of them near misses of one another, and show queries,
positives and negatives side by side. Writes the example's folder and its negatives, so that the other commands can be tried on them.`,
		Example: `  quarry demo
  quarry demo -o example && quarry export example/negatives.jsonl example/data -o triplets.jsonl`,
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := compute.open(cmd)
			if err != nil {
				return err
			}
			defer closeEngine(cmd.Context(), e)
			folder, err := demo.Open()
			if err != nil {
				return err
			}
			defer folder.Close()
			runOptions, err := compute.options(e, a.newMeter())
			if err != nil {
				return err
			}
			runOptions.Progress = nil // it takes a second
			p, err := projection.Fit(cmd.Context(), folder, projection.FitOptions{Threads: compute.threads, Memory: runOptions.Memory})
			if err != nil {
				return err
			}
			result, err := mining.Mine(cmd.Context(), folder, p, mining.Options{Compute: runOptions})
			if err != nil {
				return err
			}
			outputs, err := writeDemo(output, p, result, force)
			if err != nil {
				return err
			}
			s := run.Summarize(folder, p, result, outputs)
			texts, err := negatives.TextsOf(folder, result.Pairs)
			if err != nil {
				return err
			}
			return a.summary(s, func(w io.Writer) error {
				if err := sideBySide(w, result.Pairs, texts); err != nil {
					return err
				}
				s.Examples = nil // all of them were just shown
				if err := writeSummary(w, s); err != nil {
					return err
				}
				_, err := fmt.Fprintf(w, "next:    quarry mine %s --projection %s --rule capped -o %s\n",
					shellWord(filepath.Join(output, "data")), shellWord(filepath.Join(output, "projection.safetensors")), shellWord(filepath.Join(output, "capped.jsonl")))
				return err
			})
		},
	}
	compute.add(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "quarry-demo", "folder to write to")
	cmd.Flags().BoolVar(&force, "force", false, "replace files that are there and differ")
	return cmd
}

// writeDemo writes the example's folder and what was mined, all of it or nothing. A file that is there already with the same bytes stays.
func writeDemo(output string, p *projection.Projection, result *negatives.Result, force bool) (written []string, err error) {
	outputs := run.OutputsBeside(filepath.Join(output, "negatives.jsonl"), true, force)
	files := map[string]func(io.Writer) error{outputs.Projection: p.Write, outputs.Negatives: result.WriteNegatives, outputs.Manifest: result.Manifest.Write}
	data := filepath.Join(output, "data")
	err = fs.WalkDir(demo.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files[filepath.Join(data, filepath.FromSlash(name))] = func(w io.Writer) error {
				b, err := demo.FS.ReadFile(name)
				if err == nil {
					_, err = w.Write(b)
				}
				return err
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	changed := map[string][]byte{}
	for path, write := range files {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return nil, err
		}
		have, err := os.ReadFile(path)
		if err == nil && bytes.Equal(have, b.Bytes()) {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w", option.ErrWrite, err)
		}
		if err == nil {
			if err := atomicfile.Check(path, force); err != nil {
				return nil, err
			}
		}
		changed[path] = b.Bytes()
	}
	var group atomicfile.Group
	defer func() { err = errors.Join(err, group.Discard()) }()
	for _, path := range slices.Sorted(maps.Keys(changed)) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("%w: %w", option.ErrWrite, err)
		}
		if err := group.Create(path, force, func(w io.Writer) error { _, err := w.Write(changed[path]); return err }); err != nil {
			return nil, err
		}
	}
	return append(outputs.Paths(), data), group.Commit()
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
