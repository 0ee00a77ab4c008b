package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Error is a problem with an input file, or another source, for the person who must mend it.
type Error struct {
	Path    string
	Line    int    // from 1, for text files; 0 where no line is at fault
	Row     int    // from 0, for vectors; -1 where no row is at fault
	Problem string // what was found, and what was expected
	Hint    string // what to do about it; may be empty
	Err     error  // the cause, for errors.Is; may be nil
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	switch {
	case e.Line > 0:
		fmt.Fprintf(&b, ", line %d", e.Line)
	case e.Row >= 0:
		fmt.Fprintf(&b, ", row %d (the first is 0)", e.Row)
	}
	b.WriteString(": " + e.Problem)
	if e.Hint != "" {
		b.WriteString("\n  hint: " + e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ReadError is the Error for a file that could not be opened or read; hints say what to do.
func ReadError(path string, err error, hint ...string) error {
	problem := err.Error()
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		problem = p.Err.Error()
	}
	return &Error{Path: path, Row: -1, Problem: problem, Hint: strings.Join(hint, "; "), Err: err}
}

// OpenFile opens a file on disk. hint says what to do where it cannot be opened, and ofFolder where it is a folder.
func OpenFile(path, hint, ofFolder string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, ReadError(path, err, hint)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = ReadError(path, err, hint)
	case info.IsDir():
		err = FileError(path, ofFolder, "it is a folder")
	default:
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}

// PathIn is what messages call a file of a folder: its path, or its URL where the folder has one. name has slashes; "." is the
// folder itself.
func PathIn(folder, name string) string {
	if name == "." {
		return folder
	}
	if strings.Contains(folder, "://") {
		return strings.TrimSuffix(folder, "/") + "/" + name
	}
	return filepath.Join(folder, filepath.FromSlash(name))
}

// FileError is an Error about a file as a whole, or another source.
func FileError(path, hint, format string, args ...any) *Error {
	return &Error{Path: path, Row: -1, Problem: fmt.Sprintf(format, args...), Hint: hint}
}
