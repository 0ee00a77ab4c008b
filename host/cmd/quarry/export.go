package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/negatives"
)

func (a *app) exportCommand() *cobra.Command {
	var output, separator string
	var force bool
	cmd := &cobra.Command{
		Use: "export NEGATIVES DIR", Short: "Write triplets with texts, as trainers read them", Args: cobra.ExactArgs(2),
		Long: `Write one line for each negative, a JSON object with texts: {"query":"...","positive":"...","negative":"..."}. The texts are
those of DIR's corpus and queries. A document's title and text are joined by --separator.`,
		Example: `  quarry export negatives.jsonl mydata -o triplets.jsonl
  quarry export negatives.jsonl mydata -o - | gzip > triplets.jsonl.gz
  python -c "import datasets; print(datasets.load_dataset('json', data_files='triplets.jsonl'))"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			toStdout := output == "-"
			if !toStdout {
				if err := atomicfile.Check(output, force); err != nil {
					return err
				}
			}
			pairs, err := negatives.Load(args[0])
			if err != nil {
				return err
			}
			data, err := openData(args[1], dataset.Watch{Context: cmd.Context()})
			if err != nil {
				return err
			}
			defer data.Close()
			n := 0
			write := func(w io.Writer) (err error) {
				n, err = negatives.Export(data, pairs, separator, interruptible{cmd.Context(), w})
				return err
			}
			if toStdout {
				return write(a.stdout)
			}
			if err := atomicfile.Write(output, force, write); err != nil {
				return err
			}
			return a.summary(map[string]any{"triplets": n, "pairs": len(pairs), "written": []string{output}}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%d triplets of %d pairs in %s\n", n, len(pairs), output)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "triplets.jsonl", "file to write; - is the standard output, and no summary is printed then")
	cmd.Flags().StringVar(&separator, "separator", " ", "what joins a document's title and text")
	cmd.Flags().BoolVar(&force, "force", false, "replace the output where it exists")
	return cmd
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
