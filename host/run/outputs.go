package run

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// Outputs are the files that mining writes. An empty path is not written.
type Outputs struct {
	Negatives  string // negatives.jsonl
	Manifest   string // negatives.manifest.json
	Projection string // projection.safetensors
	Force      bool   // replace what is there
}

// OutputsBeside returns the usual names: the manifest and, where it was fitted for this, the projection go beside the negatives.
func OutputsBeside(negatives string, fitted, force bool) Outputs {
	o := Outputs{Negatives: negatives, Manifest: strings.TrimSuffix(negatives, ".jsonl") + ".manifest.json", Force: force}
	if fitted {
		o.Projection = filepath.Join(filepath.Dir(negatives), "projection.safetensors")
	}
	return o
}

// Paths lists the files, in the order they appear.
func (o Outputs) Paths() (paths []string) {
	for _, path := range []string{o.Projection, o.Negatives, o.Manifest} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// exist reports whether all files are there.
func (o Outputs) exist() bool {
	return !slices.ContainsFunc(o.Paths(), func(path string) bool {
		_, err := os.Stat(path)
		return err != nil
	})
}

// Check fails where one of the files cannot be written, before there is work to lose: it exists, or its folder does not.
// A projection that exists is for Run.UseFitted to judge.
func (o Outputs) Check() error {
	for _, path := range o.Paths() {
		if err := atomicfile.Check(path, o.Force); err != nil && (path != o.Projection || !errors.Is(err, option.ErrExists)) {
			return err
		}
	}
	return nil
}

// CheckAnew is Check for a run without Resume. It fails, too, where an earlier run was cut short and left parts beside the outputs.
func (o Outputs) CheckAnew() error {
	if err := checkpointBeside(o.Negatives).mayBegin(false, o.Force); err != nil {
		return err
	}
	return o.Check()
}

// Save writes a result that was made without Run, and removes what an earlier run left, which Force replaces.
func (o Outputs) Save(r *negatives.Result, p *projection.Projection) error {
	if err := o.save(r, p, nil); err != nil {
		return err
	}
	return checkpointBeside(o.Negatives).remove()
}

// save writes a result. All files are complete on disk before the first gets its name; the manifest gets its name last. What is not complete yet
// is in the checkpoint's folder, where there is a checkpoint.
func (o Outputs) save(r *negatives.Result, p *projection.Projection, c *checkpoint) (err error) {
	temporary := ""
	if c != nil {
		temporary = c.folder
		o.Force = true // the outputs were not there, or could be replaced, when the checkpoint was made
	}
	var files atomicfile.Group
	defer func() { err = errors.Join(err, files.Discard()) }()
	for _, f := range []struct {
		path  string
		write func(io.Writer) error
	}{{o.Projection, p.Write}, {o.Negatives, r.WriteNegatives}, {o.Manifest, r.Manifest.Write}} {
		if f.path == "" {
			continue
		}
		if err := files.CreateIn(temporary, f.path, o.Force, f.write); err != nil {
			return err
		}
	}
	return files.Commit()
}
