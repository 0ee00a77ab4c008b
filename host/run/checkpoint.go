package run

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
	"github.com/quarry-hn/quarry/host/internal/event"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// checkpoint is the folder beside the output that keeps a run's finished parts: run.json, the projection where it was fitted, and a file for
// each part. A nil *checkpoint keeps nothing.
type checkpoint struct {
	folder string
	record record
}

// record is run.json: what the run is of, and how it is cut.
type record struct {
	Format   string             `json:"format"`
	Manifest negatives.Manifest `json:"manifest"` // without tallies and negatives
	mining.Cut
}

const (
	recordFormat   = "quarry.run.v1"
	recordFile     = "run.json"
	projectionFile = "projection.safetensors"
)

const startAnew = "start anew with --force and without --resume"

// openCheckpoint returns what an earlier run left; nil where that is nothing.
func openCheckpoint(o Outputs, resume bool) (*checkpoint, error) {
	c := &checkpoint{folder: o.Negatives + ".parts"}
	if _, err := os.Stat(c.folder); err != nil {
		return nil, nil
	}
	if !resume && !o.Force {
		return nil, fmt.Errorf("%s holds the parts of a run that was cut short, and %w\n  hint: go on with --resume, or start anew with --force", c.folder, option.ErrExists)
	}
	path := filepath.Join(c.folder, recordFile)
	file, err := os.ReadFile(path)
	if !resume || errors.Is(err, fs.ErrNotExist) { // without run.json nothing was finished yet
		return nil, c.remove()
	}
	if err == nil {
		err = json.Unmarshal(file, &c.record)
	}
	if err == nil && c.record.Format != recordFormat {
		err = fmt.Errorf("its format is %q; expected %q", c.record.Format, recordFormat)
	}
	if err != nil {
		return nil, &dataset.Error{Path: path, Row: -1, Problem: "not what a run left: " + err.Error(), Hint: startAnew, Err: err}
	}
	return c, nil
}

// newCheckpoint makes the folder for a plan.
func newCheckpoint(o Outputs, plan *mining.Plan, p *projection.Projection) (*checkpoint, error) {
	manifest := plan.Manifest()
	manifest.Tallies = negatives.Tallies{}
	c := &checkpoint{folder: o.Negatives + ".parts", record: record{Format: recordFormat, Manifest: manifest, Cut: plan.Cut()}}
	event.At("file mkdir")
	if err := os.MkdirAll(c.folder, 0o755); err != nil {
		return nil, fmt.Errorf("%w %s: %w", option.ErrWrite, c.folder, err)
	}
	if o.Projection != "" {
		if err := p.Save(c.projection(), true); err != nil {
			return nil, err
		}
	}
	return c, atomicfile.Write(filepath.Join(c.folder, recordFile), true, func(to io.Writer) error {
		e := json.NewEncoder(to)
		e.SetIndent("", "  ")
		return e.Encode(&c.record)
	})
}

// projection is where the projection is kept that was fitted for the run.
func (c *checkpoint) projection() string { return filepath.Join(c.folder, projectionFile) }

// cut checks that a plan is the one that the parts are of, and cuts it as they are.
func (c *checkpoint) cut(plan *mining.Plan) ([]mining.Piece, error) {
	if err := sameManifest(c.folder, &c.record.Manifest, plan); err != nil {
		return nil, err
	}
	if c.record.GroupPairs < 1 || c.record.PartDocuments < 1 {
		return nil, &dataset.Error{Path: filepath.Join(c.folder, recordFile), Row: -1, Problem: "not what a run left", Hint: startAnew}
	}
	pieces, err := plan.CutAs(c.record.Cut)
	if errors.Is(err, option.ErrMemory) {
		err = fmt.Errorf("%w: the parts in %s are of %d pairs each, for which this is too little\n  hint: give as much --memory as before",
			option.ErrMemory, c.folder, c.record.GroupPairs)
	}
	return pieces, err
}

// kept says, of a run that was cut short, where its parts are.
func (c *checkpoint) kept(done *Done, err error) (*Done, error) {
	if err != nil {
		return nil, &Kept{c.folder, err}
	}
	return done, nil
}

// name is what the name of a piece's part begins with; the start of the file's SHA-256 follows.
func (c *checkpoint) name(p mining.Piece) string {
	return fmt.Sprintf("part-%05d-%012d-%012d-", p.Group, p.First, p.End)
}

// load returns a piece's part, nil where it is not there.
func (c *checkpoint) load(plan *mining.Plan, p mining.Piece) (*mine.Part, error) {
	if c == nil {
		return nil, nil
	}
	found, err := filepath.Glob(filepath.Join(escape(c.folder), c.name(p)+"*.safetensors"))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	file, err := os.ReadFile(found[0])
	if err != nil {
		return nil, dataset.ReadError(found[0], err)
	}
	part, err := mine.ParsePart(file)
	if err == nil && filepath.Base(found[0]) != c.name(p)+shortSum(file)+".safetensors" {
		err = errors.New("its bytes have changed")
	}
	if err == nil {
		err = plan.Take(p, part)
	}
	if err != nil {
		return nil, &dataset.Error{Path: found[0], Row: -1, Problem: "not the part that was written: " + err.Error(), Hint: "remove it, and run again: it is mined again", Err: err}
	}
	return part, nil
}

// save keeps a part.
func (c *checkpoint) save(p mining.Piece, part *mine.Part) error {
	if c == nil {
		return nil
	}
	file, err := part.Marshal()
	if err != nil {
		return err
	}
	path := filepath.Join(c.folder, c.name(p)+shortSum(file)+".safetensors")
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
func (c *checkpoint) remove() error {
	if c == nil {
		return nil
	}
	event.At("file remove")
	err := os.Remove(filepath.Join(c.folder, recordFile))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = c.removeRest()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", option.ErrWrite, err)
	}
	return nil
}

// removeRest removes what is left of the folder, one file after the other, and then the folder itself.
func (c *checkpoint) removeRest() error {
	entries, _ := os.ReadDir(c.folder) // a folder that cannot be read is an error of the last RemoveAll
	for _, entry := range entries {
		event.At("file remove")
		if err := os.RemoveAll(filepath.Join(c.folder, entry.Name())); err != nil {
			return err
		}
	}
	event.At("file remove")
	return os.RemoveAll(c.folder)
}
