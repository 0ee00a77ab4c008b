package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/inspect"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/objfs"
	"github.com/quarry-hn/quarry/host/option"
)

// inspected is what the inspect command prints as JSON.
type inspected struct {
	*inspect.Inspection
	Sound bool `json:"sound"`
}

func (a *app) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "inspect PATH", Short: "Say what a file or a data folder holds, and whether it is sound", Args: cobra.ExactArgs(1),
		Long: `Say what a projection, part, negatives, manifest, .npy or plugin file holds, and whether it is sound: values are finite, components
are orthonormal, ranks are in order, fingerprints are right. Vectors may be of any format that quarry reads, as a file or a folder of
parts. Of a data folder it says as what each file of texts, ids, pairs, judgements and vectors is read; texts.json and vectors.json in the
folder say otherwise (docs/FORMATS.md). It finds what quarry mine would refuse of the folder before it computes anything: vectors that
cannot be read, are not as many as the ids, or have other columns for queries than for documents; ids that are given twice; judgements of
unknown ids. Tables of vectors are read to their end for that. It does not look at the values of a data folder's vectors, which may be
zero or NaN: inspect a file of vectors for that. Files and folders may lie in S3. The exit code is 3 where something is not sound.`,
		Example: `  quarry inspect projection.safetensors
  quarry inspect negatives.jsonl
  quarry inspect mydata
  quarry inspect mydata/vectors/mpnet/docs.npy --json
  quarry inspect s3://bucket/mydata`,
		RunE: func(cmd *cobra.Command, args []string) error {
			meter := a.newMeter()
			look := inspect.File
			if strings.HasPrefix(args[0], inS3) {
				look = inspectBucket
			}
			i, err := look(cmd.Context(), args[0], meter.progress())
			meter.stop()
			if err := errors.Join(err, cmd.Context().Err()); err != nil { // an inspection that was interrupted says nothing of the file
				return err
			}
			s := inspected{i, len(i.Problems) == 0}
			err = a.summary(s, func(w io.Writer) error {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintf(t, "kind\t%s\n", i.Kind)
				for _, f := range i.Fields {
					fmt.Fprintf(t, "%s\t%v\n", f.Name, f.Value)
				}
				sound := "yes"
				switch {
				case !s.Sound:
					sound = "no"
				case i.Kind == "data":
					sound += "; for zero vectors and NaN, inspect the files of vectors"
				}
				fmt.Fprintf(t, "sound\t%s\n", sound)
				return t.Flush()
			})
			if err != nil || s.Sound {
				return err
			}
			between := "; "
			if i.Kind == "data" { // these are of several files, and each may have a line that says what to do
				between = "\n"
			}
			return &dataset.Error{Path: args[0], Row: -1, Problem: "not sound: " + strings.Join(i.Problems, between)}
		},
	}
}

// inspectBucket inspects what lies at a URL of S3: a folder or, where there are no objects below it, an object. What may lie beside
// that, such as the manifest of negatives, has the same name up to the first dot.
func inspectBucket(ctx context.Context, url string, progress option.Progress) (_ *inspect.Inspection, err error) {
	store, err := objstore.Open(ctx, url)
	if err != nil {
		return nil, usageError{err}
	}
	name := "."
	objects, err := objfs.New(ctx, store, "", progress)
	if at := strings.TrimPrefix(store.URL(), inS3); errors.Is(err, objfs.ErrEmpty) && strings.Contains(at, "/") {
		name = path.Base(at)
		if store, err = objstore.Open(ctx, inS3+path.Dir(at)); err != nil {
			return nil, usageError{err}
		}
		stem, _, _ := strings.Cut(name, ".")
		objects, err = objfs.New(ctx, store, stem, progress)
	}
	if errors.Is(err, objfs.ErrEmpty) {
		return nil, dataset.FileError(url, "check the name, and who may list the bucket", "there is no such object, and there are none below it")
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, objects.Close()) }()
	return inspect.In(ctx, objects, store.URL(), name, progress)
}
