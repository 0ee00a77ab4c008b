package host

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// work is the folder beside the output that keeps a run's finished parts: run.json, the projection where it was fitted, and a file for each part.
// A nil *work keeps nothing.
type work struct {
	folder string
	run    workRun
}

// workRun is run.json: what the run is of, and how it is cut.
type workRun struct {
	Format        string   `json:"format"`
	Manifest      Manifest `json:"manifest"` // without tallies and negatives
	GroupPairs    int      `json:"group_pairs"`
	PartDocuments int      `json:"part_documents"`
}

const (
	workFormat         = "quarry.run.v1"
	workRunFile        = "run.json"
	workProjectionFile = "projection.safetensors"
)

// openWork returns what an earlier run left; nil where that is nothing.
func openWork(o Outputs, resume bool) (*work, error) {
	w := &work{folder: o.Negatives + ".parts"}
	if _, err := os.Stat(w.folder); err != nil {
		return nil, nil
	}
	if !resume && !o.Force {
		return nil, fmt.Errorf("%s holds the parts of a run that was cut short, and %w\n  hint: go on with --resume, or start anew with --force", w.folder, ErrExists)
	}
	path := filepath.Join(w.folder, workRunFile)
	file, err := os.ReadFile(path)
	if !resume || errors.Is(err, fs.ErrNotExist) { // without run.json nothing was finished yet
		return nil, w.remove()
	}
	if err == nil {
		err = json.Unmarshal(file, &w.run)
	}
	if err == nil && w.run.Format != workFormat {
		err = fmt.Errorf("its format is %q; expected %q", w.run.Format, workFormat)
	}
	if err != nil {
		return nil, &dataset.Error{Path: path, Row: -1, Problem: "not what a run left: " + err.Error(), Hint: "start anew with --force and without --resume", Err: err}
	}
	return w, nil
}

// startWork makes the folder for a job.
func startWork(o Outputs, j *Job, p *Projection) (*work, error) {
	w := &work{folder: o.Negatives + ".parts"}
	w.run = workRun{Format: workFormat, Manifest: j.manifest, GroupPairs: j.plan.groupPairs, PartDocuments: j.pieceDocuments()}
	if err := os.MkdirAll(w.folder, 0o755); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrWrite, w.folder, err)
	}
	if o.Projection != "" {
		if err := p.Save(filepath.Join(w.folder, workProjectionFile), true); err != nil {
			return nil, err
		}
	}
	return w, atomicfile.Write(filepath.Join(w.folder, workRunFile), true, func(to io.Writer) error {
		e := json.NewEncoder(to)
		e.SetIndent("", "  ")
		return e.Encode(&w.run)
	})
}

// join checks that a job is the one that the parts are of, and cuts it as they are.
func (w *work) join(j *Job) ([]Piece, error) {
	if err := sameValues(w.folder, flat(&w.run.Manifest), flat(&j.manifest)); err != nil {
		return nil, err
	}
	if w.run.GroupPairs < 1 || w.run.PartDocuments < 1 {
		return nil, &dataset.Error{Path: filepath.Join(w.folder, workRunFile), Row: -1, Problem: "not what a run left", Hint: "start anew with --force and without --resume"}
	}
	if w.run.GroupPairs > j.plan.groupPairs {
		return nil, fmt.Errorf("%w: the parts in %s are of %d pairs each, for which this is too little\n  hint: give as much --memory as before", ErrMemory, w.folder, w.run.GroupPairs)
	}
	j.plan.groupPairs, j.options.PartDocuments = w.run.GroupPairs, w.run.PartDocuments
	j.cut()
	return j.Pieces(), nil
}

func (w *work) name(p Piece) string {
	return fmt.Sprintf("part-%05d-%012d-%012d-", p.Group, p.First, p.End)
}

// load returns a piece's part, nil where it is not there. The file's name holds the start of its SHA-256.
func (w *work) load(j *Job, p Piece) (*mine.Part, error) {
	if w == nil {
		return nil, nil
	}
	found, err := filepath.Glob(filepath.Join(escape(w.folder), w.name(p)+"*.safetensors"))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	file, err := os.ReadFile(found[0])
	if err != nil {
		return nil, dataset.ReadError(found[0], err)
	}
	part, err := mine.ParsePart(file)
	if err == nil && filepath.Base(found[0]) != w.name(p)+shortSum(file)+".safetensors" {
		err = errors.New("its bytes have changed")
	}
	if err == nil && (part.PairsID != j.pairsID(j.groups[p.Group]) || !slices.Equal(part.Ranges, []mine.Range{{First: int64(p.First), End: int64(p.End)}})) {
		err = errors.New("it is of other pairs or documents than its name says")
	}
	if err != nil {
		return nil, &dataset.Error{Path: found[0], Row: -1, Problem: "not the part that was written: " + err.Error(), Hint: "remove it, and run again: it is mined again", Err: err}
	}
	return part, nil
}

// save keeps a part.
func (w *work) save(p Piece, part *mine.Part) error {
	if w == nil {
		return nil
	}
	file, err := part.Marshal()
	if err != nil {
		return err
	}
	path := filepath.Join(w.folder, w.name(p)+shortSum(file)+".safetensors")
	return atomicfile.Write(path, true, func(to io.Writer) error {
		_, err := io.Copy(to, bytes.NewReader(file))
		return err
	})
}

func shortSum(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:8])
}

// escape keeps Glob from taking a folder's name for a pattern.
func escape(folder string) string {
	var b bytes.Buffer
	for _, c := range []byte(folder) {
		if slices.Contains([]byte(`*?[\`), c) && filepath.Separator != '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// remove removes the folder: run.json first, so that what is left of it is never taken for a run's.
func (w *work) remove() error {
	if w == nil {
		return nil
	}
	err := os.Remove(filepath.Join(w.folder, workRunFile))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.RemoveAll(w.folder)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	return nil
}
