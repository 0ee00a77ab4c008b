package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/inspect"
)

func (a *app) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "inspect PATH", Short: "Say what a file or a data folder holds, and whether it is sound", Args: cobra.ExactArgs(1),
		Long: `Say what a projection, part, negatives, manifest, .npy or plugin file holds, and whether it is sound: values are finite, components
are orthonormal, ranks are in order, fingerprints are right. Vectors may be of any format that quarry reads, as a file or a folder of
parts. Of a data folder it says as what each file of texts, ids, pairs, judgements and vectors is read; texts.json and vectors.json in the
folder say otherwise (docs/FORMATS.md). The exit code is 3 where something is not sound.`,
		Example: `  quarry inspect projection.safetensors
  quarry inspect negatives.jsonl
  quarry inspect mydata
  quarry inspect mydata/vectors/mpnet/docs.npy --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := inspect.File(cmd.Context(), args[0])
			if err := errors.Join(err, cmd.Context().Err()); err != nil { // an inspection that was interrupted says nothing of the file
				return err
			}
			err = a.summary(i, func(w io.Writer) error {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintf(t, "kind\t%s\n", i.Kind)
				for _, f := range i.Fields {
					fmt.Fprintf(t, "%s\t%v\n", f.Name, f.Value)
				}
				sound := "yes"
				if len(i.Problems) > 0 {
					sound = "no"
				}
				fmt.Fprintf(t, "sound\t%s\n", sound)
				return t.Flush()
			})
			if err != nil || len(i.Problems) == 0 {
				return err
			}
			return &dataset.Error{Path: args[0], Row: -1, Problem: "not sound: " + strings.Join(i.Problems, "; ")}
		},
	}
}
