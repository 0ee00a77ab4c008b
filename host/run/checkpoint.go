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
	"regexp"
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

// checkpoint is the folder beside the output that keeps what a run has finished: what a fit has done until the
// projection is there; then run.json, the projection where it was fitted, and a file for each part. A nil *checkpoint
// keeps no parts.
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

// checkpointBeside is the checkpoint of an output, which need not be there.
func checkpointBeside(output string) *checkpoint { return &checkpoint{folder: output + ".parts"} }

// mayBegin fails where there is what an earlier run left, which is neither gone on from nor replaced.
func (c *checkpoint) mayBegin(resume, force bool) error {
	if _, err := os.Stat(c.folder); err != nil || resume || force {
		return nil
	}
	return fmt.Errorf("%s holds the parts of a run that was cut short, and %w\n  hint: go on with --resume, or start anew with --force", c.folder, option.ErrExists)
}

// openCheckpoint reads what an earlier run left, and changes nothing. It returns nil where there is no run to go on
// with: no folder, a folder without run.json, in which no part was finished yet, or one that Outputs.Force replaces.
func openCheckpoint(o Outputs, resume bool) (*checkpoint, error) {
	c := checkpointBeside(o.Negatives)
	if err := c.mayBegin(resume, o.Force); err != nil {
		return nil, err
	}
	path := filepath.Join(c.folder, recordFile)
	file, err := os.ReadFile(path)
	if !resume || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
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

// begin makes the folder that of a plan.
func (c *checkpoint) begin(o Outputs, plan *mining.Plan, p *projection.Projection) error {
	manifest := plan.Manifest()
	c.record = record{Format: recordFormat, Manifest: *manifest.OfRun(), Cut: plan.Cut()}
	if err := c.makeFolder(); err != nil {
		return err
	}
	if o.Projection != "" {
		if err := p.Save(c.projectionPath(), true); err != nil {
			return err
		}
	}
	return atomicfile.Write(filepath.Join(c.folder, recordFile), true, func(to io.Writer) error {
		e := json.NewEncoder(to)
		e.SetIndent("", "  ")
		return e.Encode(&c.record)
	})
}

// projectionPath is where the projection is kept that was fitted for the run.
func (c *checkpoint) projectionPath() string { return filepath.Join(c.folder, projectionFile) }

// resumePieces checks that a plan is the one that the parts are of, and cuts it as they are.
func (c *checkpoint) resumePieces(plan *mining.Plan) ([]mining.Piece, error) {
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

// keep makes the error of a run that was cut short say where its parts are.
func (c *checkpoint) keep(done *Done, err error) (*Done, error) {
	if err != nil {
		return nil, &Kept{c.folder, err}
	}
	return done, nil
}

// partFile is the name of a piece's part, which is such a file: it ends with the start of the file's SHA-256. Without the file it is the pattern of
// all such names.
func partFile(p mining.Piece, file []byte) string {
	sum := "*"
	if file != nil {
		s := sha256.Sum256(file)
		sum = hex.EncodeToString(s[:8])
	}
	return fmt.Sprintf("part-%05d-%012d-%012d-%s.safetensors", p.Group, p.First, p.End, sum)
}

// load returns a piece's part, nil where it is not there.
func (c *checkpoint) load(plan *mining.Plan, p mining.Piece) (*mine.Part, error) {
	if c == nil {
		return nil, nil
	}
	found, err := filepath.Glob(filepath.Join(escape(c.folder), partFile(p, nil)))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	file, err := os.ReadFile(found[0])
	if err != nil {
		return nil, dataset.ReadError(found[0], err)
	}
	part, err := mine.ParsePart(file)
	if err == nil && filepath.Base(found[0]) != partFile(p, file) {
		err = errors.New("its bytes have changed")
	}
	if err == nil {
		err = plan.Accept(p, part)
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
	path := filepath.Join(c.folder, partFile(p, file))
	return atomicfile.Write(path, true, func(to io.Writer) error {
		_, err := io.Copy(to, bytes.NewReader(file))
		return err
	})
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

// remove removes what a run keeps, and the folder with it. A folder with other files is not a run's, and stays as it is.
func (c *checkpoint) remove() error {
	if c == nil {
		return nil
	}
	names, err := c.names()
	if err != nil || names == nil {
		return err
	}
	return c.removeFiles(append(names, "")) // "" is the folder
}

// removeButFit is remove without the folder, and without what a fit keeps.
func (c *checkpoint) removeButFit() error {
	names, err := c.names()
	if err != nil {
		return err
	}
	return c.removeFiles(slices.DeleteFunc(names, func(name string) bool { return name == fitFile }))
}

// names are the files of the folder, in the order in which they are removed: first what says that there is something
// to go on from. They are nil where there is no folder. A file that no run keeps is an error.
func (c *checkpoint) names() ([]string, error) {
	entries, err := os.ReadDir(c.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", option.ErrWrite, err)
	}
	names := []string{fitFile, recordFile}
	for _, entry := range entries {
		if !ofRun.MatchString(entry.Name()) {
			return nil, fmt.Errorf("%s %w, and has %s, which no run keeps there\n  hint: move it elsewhere, or write to another --output", c.folder, option.ErrExists, entry.Name())
		}
		if !slices.Contains(names[:2], entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// removeFiles removes files of the folder, in that order. One that is not there is no error.
func (c *checkpoint) removeFiles(names []string) error {
	for _, name := range names {
		event.At("file remove")
		if err := os.Remove(filepath.Join(c.folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", option.ErrWrite, err)
		}
	}
	return nil
}

// ofRun are the names of what a run keeps, and of files that are not complete yet.
var ofRun = regexp.MustCompile(`^(run\.json|fit\.safetensors|projection\.safetensors|part-.*\.safetensors|\..*\.tmp)$`)
