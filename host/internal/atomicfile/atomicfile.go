// Package atomicfile writes files that appear whole or not at all.
//
// In goes a path and a function that writes; out comes the file, complete and on disk, or an error and nothing. Everything of
// quarry's that writes a file calls it.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrExists is returned, wrapped, where the file is there already and may not be replaced.
var ErrExists = errors.New("exists already")

// Check fails with ErrExists where a file of that path exists and force is off.
func Check(path string, force bool) error {
	if _, err := os.Lstat(path); err == nil && !force {
		return fmt.Errorf("%s %w\n  hint: choose another name, or replace it with --force", path, ErrExists)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Pending is a file that is written, and not yet there.
type Pending struct {
	path      string
	temporary string
	force     bool
}

// Create writes a temporary file beside path, and syncs it. Commit makes it the file; Discard removes it.
func Create(path string, force bool, write func(io.Writer) error) (_ *Pending, err error) {
	if err := Check(path, force); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
			_ = f.Close() // it may be closed already
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<18)
	if err := write(w); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	if err := f.Chmod(0o644); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return &Pending{path, f.Name(), force}, nil
}

// Commit gives the file its name. Without force it never replaces a file, even one that appeared since Create.
func (p *Pending) Commit() error {
	if p.force {
		if err := os.Rename(p.temporary, p.path); err != nil {
			return err
		}
	} else {
		// A link, unlike a rename, fails where the name is taken. Some file systems have none.
		if err := os.Link(p.temporary, p.path); errors.Is(err, fs.ErrExist) {
			return errors.Join(Check(p.path, false), p.Discard())
		} else if err != nil {
			if err := errors.Join(Check(p.path, false), os.Rename(p.temporary, p.path)); err != nil {
				return err
			}
		} else if err := os.Remove(p.temporary); err != nil {
			return err
		}
	}
	p.temporary = ""
	return syncFolder(filepath.Dir(p.path))
}

// Discard removes the temporary file. After Commit it does nothing.
func (p *Pending) Discard() error {
	if p == nil || p.temporary == "" {
		return nil
	}
	temporary := p.temporary
	p.temporary = ""
	return os.Remove(temporary)
}

// syncFolder makes a new name last. Some systems cannot; then the name is as lasting as they make it.
func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return nil
	}
	_ = d.Sync()
	return d.Close()
}

// Write is Create and Commit in one.
func Write(path string, force bool, write func(io.Writer) error) error {
	p, err := Create(path, force, write)
	if err != nil {
		return err
	}
	return p.Commit()
}
