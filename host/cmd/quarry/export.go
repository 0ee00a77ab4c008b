package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/export"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/negatives"
)

// exportCommand is a command line of export.
type exportCommand struct {
	options export.Options
	output  string
	ranks   string
	seed    uint64
	force   bool
}

func (a *app) exportCommand() *cobra.Command {
	var c exportCommand
	cmd := &cobra.Command{
		Use: "export NEGATIVES [DIR]", Short: "Write negatives with texts, as trainers read them", Args: cobra.RangeArgs(1, 2),
		Long: `Write training data of negatives, with texts or, with --ids, with ids. By default that is one line for each negative, a JSON object:
{"query":"...","positive":"...","negative":"..."}. The texts are those of DIR's corpus and queries. A document's title and text are
joined by --separator. With --ids DIR is not read, and may be left out.`,
		Example: `  quarry export negatives.jsonl mydata -o triplets.jsonl
  quarry export negatives.jsonl mydata -o - | gzip > triplets.jsonl.gz
  quarry export negatives.jsonl mydata --format n-tuple --negatives 4 --seed 1 -o tuples.jsonl
  quarry export negatives.jsonl --format tsv --ids -o qidpidtriples.tsv
  python -c "import datasets; print(datasets.load_dataset('json', data_files='triplets.jsonl'))"`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.do(a, cmd, args) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&c.output, "output", "o", "triplets.jsonl", "file to write, Parquet where its name ends in .parquet; - is the standard output, and no summary is printed then")
	flags.StringVar(&c.options.Format, "format", export.Names()[0], "what a line is"+formatsHelp()+"\n")
	flags.StringVar(&c.options.Separator, "separator", " ", "what joins a document's title and text")
	flags.BoolVar(&c.options.IDs, "ids", false, "write ids for texts")
	flags.BoolVar(&c.options.Scores, "scores", false, "write the cosines of query and document too; in labeled-pair and labeled-list they stand for the labels")
	flags.IntVar(&c.options.Negatives, "negatives", 0, "negatives of a row at most, the nearest to the query first (default all)")
	flags.StringVar(&c.ranks, "ranks", "", "take negatives of these ranks alone, as 2-5 (default all)")
	flags.StringVar(&c.options.Short, "short", "", "rows that have fewer negatives than --negatives: keep, or drop (default drop for n-tuple, and else keep)")
	flags.Uint64Var(&c.seed, "seed", 0, "shuffle the lines by this seed (default the order of the pairs)")
	flags.BoolVar(&c.force, "force", false, "replace the output where it exists")
	return cmd
}

// formatsHelp says what a line of each format is.
func formatsHelp() string {
	var formats [][2]string
	for _, f := range export.Formats {
		formats = append(formats, [2]string{f.Name, f.Help})
	}
	return listed(formats)
}

// check completes the options, and fails where a flag makes no sense.
func (c *exportCommand) check(flags *pflag.FlagSet, args []string) error {
	o := &c.options
	if flags.Changed("ranks") {
		if n, err := fmt.Sscanf(c.ranks, "%d-%d", &o.Ranks[0], &o.Ranks[1]); n != 2 || err != nil || fmt.Sprintf("%d-%d", o.Ranks[0], o.Ranks[1]) != c.ranks || o.Ranks[0] < 1 {
			return usageError{fmt.Errorf("--ranks is %s; it is a range of ranks from 1, as 2-5", excerpt.Quote(c.ranks))}
		}
	}
	o.Parquet = strings.EqualFold(filepath.Ext(c.output), ".parquet")
	if flags.Changed("seed") {
		o.Seed = &c.seed
	}
	switch {
	case flags.Changed("negatives") && o.Negatives < 1:
		return usageError{fmt.Errorf("--negatives is %d; it is 1 or more", o.Negatives)}
	case len(args) == 1 && !o.IDs:
		return usageError{errors.New("there is no DIR to take texts from: give the folder that the negatives were mined from, or --ids")}
	}
	return o.Validate()
}

func (c *exportCommand) do(a *app, cmd *cobra.Command, args []string) error {
	if err := c.check(cmd.Flags(), args); err != nil {
		return err
	}
	toStdout := c.output == "-"
	if !toStdout {
		if err := atomicfile.Check(c.output, c.force); err != nil {
			return err
		}
		if len(args) > 1 && beir.IsSplit(args[1], c.output) {
			return dataset.FileError(c.output, "write it to another folder", "in a folder of pairs it would be read as a split of them")
		}
	}
	pairs, err := negatives.Load(args[0])
	if err != nil {
		return err
	}
	var data *dataset.Dataset
	if !c.options.IDs {
		if data, err = openData(args[1], dataset.Watch{Context: cmd.Context()}); err != nil {
			return err
		}
		defer data.Close()
	}
	var written *export.Written
	write := func(w io.Writer) (err error) {
		written, err = export.Write(data, pairs, c.options, interruptible{cmd.Context(), w})
		return err
	}
	if toStdout {
		return write(a.stdout)
	}
	if err := atomicfile.Write(c.output, c.force, write); err != nil {
		return err
	}
	return a.summary(c.summary(written), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d %s of %d %s in %s\n", written.Lines, c.noun(), written.Rows, written.Unit(), c.output)
		if says := written.Says(); says != "" && err == nil {
			_, err = fmt.Fprintln(w, says)
		}
		if written.Dropped > 0 && c.options.Short == "" && err == nil {
			_, err = fmt.Fprintln(w, "  hint: --short keep writes those that were dropped")
		}
		return err
	})
}

// noun is what a line of the output is called.
func (c *exportCommand) noun() string {
	if c.options.Format == export.Names()[0] {
		return "triplets"
	}
	return "lines of " + c.options.Format
}

func (c *exportCommand) summary(written *export.Written) map[string]any {
	s := map[string]any{"pairs": written.Pairs, "without_negatives": written.None, "written": []string{c.output}}
	if c.options.Format == export.Names()[0] {
		s["triplets"] = written.Lines
	} else {
		s["format"], s["lines"] = c.options.Format, written.Lines
	}
	if written.Wanted > 0 {
		s["short"], s["dropped"] = written.Short, written.Dropped
	}
	return s
}

// interruptible is a writer that fails once its context has ended.
type interruptible struct {
	context.Context
	to io.Writer
}

func (w interruptible) Write(b []byte) (int, error) {
	if err := w.Err(); err != nil {
		return 0, err
	}
	return w.to.Write(b)
}
