package vectors

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Report is what vectors are, as far as it is known before their rows are read.
type Report struct {
	Path       string
	Format     string
	Told       string // by what the format was told
	Parts      int    // files
	Column, ID string // of a table; ID is empty where its rows are in the order of the texts
	Converted  bool   // to a temporary file, before the rows are read
}

// String is the report as a line of text.
func (r Report) String() string {
	text := fmt.Sprintf("%s: %s, told by %s", r.Path, r.Format, r.Told)
	if r.Parts > 1 {
		text += fmt.Sprintf(", %d parts", r.Parts)
	}
	if r.Column != "" {
		text += ", column " + excerpt.Quote(r.Column)
		if r.ID != "" {
			text += ", matched by ids of column " + excerpt.Quote(r.ID)
		} else {
			text += ", in the order of the texts"
		}
	}
	if r.Converted {
		return text + ", converted to a temporary file"
	}
	return text + ", read in place"
}

// Explain tells what a model's vectors are, without reading their rows.
func (f *Folder) Explain(model string) (Report, error) {
	s, err := f.find(model)
	if err != nil {
		return Report{}, err
	}
	return f.report(s)
}

func (f *Folder) report(s *source) (r Report, err error) {
	r = Report{Path: f.path(s.name), Format: s.format, Told: s.why, Parts: len(s.parts), Converted: s.isTable()}
	if s.isTable() {
		r.Column, r.ID, err = f.choose(s)
	}
	return r, err
}

// OpenFile opens a file of vectors, a folder of parts or a pattern by itself, with the rows in the order in which they lie
// there. root is what messages call the file system's folder. Close the matrix after use.
func OpenFile(fsys fs.FS, root, name string, w dataset.Watch) (dataset.Matrix, Report, error) {
	f := New(fsys, root, "docs", nil)
	s := &source{name: name}
	var err error
	if s.parts, err = Parts(fsys, root, []string{name}, Hint); err != nil {
		return nil, Report{}, err
	}
	if s.format, s.why, err = f.tell(s.parts[0]); err != nil {
		return nil, Report{}, err
	}
	r, err := f.report(s)
	if err != nil {
		return nil, r, err
	}
	x, err := f.open(s, nil, w)
	return x, r, err
}

// IsVectors tells whether a file that begins so is of a format of vectors, by its first bytes or its name.
func IsVectors(start []byte, size int64, name string) bool {
	format, _ := Tell(start, size, strings.ToLower(name))
	return format != ""
}
