package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/quarry-hn/quarry/host/internal/event"
)

// CheckFolder fails where something of that path exists, unless it is a folder and force is on; or where its own folder
// is missing.
func CheckFolder(path string, force bool) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return Check(path, false)
	case !info.IsDir():
		return writeError(path, errors.New("a file of that name is in the way"))
	case !force:
		return fmt.Errorf("%s %w\n  hint: choose another name, or replace it with --force", path, ErrExists)
	}
	return nil
}

// Folder is a folder that is filled, and does not have its name yet.
type Folder struct {
	path      string // the folder to be
	temporary string // the folder that is filled; empty once it has its name
	force     bool   // the folder may replace another
	open      []*os.File
}

// CreateFolder makes a temporary folder beside path. Commit makes it the folder; Discard removes it.
func CreateFolder(path string, force bool) (*Folder, error) {
	path = filepath.Clean(path)
	if err := CheckFolder(path, force); err != nil {
		return nil, err
	}
	event.At("folder create")
	temporary, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return nil, writeError(path, err)
	}
	return &Folder{path: path, temporary: temporary, force: force}, nil
}

// File is a file of a Folder, which is open.
type File struct {
	path string // that it will have
	file *os.File
	to   *bufio.Writer
}

// Create makes a file of the folder, and the folders between. name has slashes. Close it before Commit.
func (f *Folder) Create(name string) (*File, error) {
	name = filepath.FromSlash(name)
	path := filepath.Join(f.path, name)
	if err := os.MkdirAll(filepath.Dir(filepath.Join(f.temporary, name)), 0o755); err != nil {
		return nil, writeError(path, err)
	}
	event.At("file create")
	file, err := os.OpenFile(filepath.Join(f.temporary, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, writeError(path, err)
	}
	f.open = append(f.open, file)
	return &File{path, file, bufio.NewWriterSize(writer{file}, 1<<18)}, nil
}

// Write writes to the file. An error is an ErrWrite that names it.
func (f *File) Write(b []byte) (int, error) {
	n, err := f.to.Write(b)
	if err != nil {
		err = writeError(f.path, err)
	}
	return n, err
}

// Close writes what is left, and syncs the file.
func (f *File) Close() error {
	event.At("file sync")
	for _, step := range []func() error{f.to.Flush, f.file.Sync, f.file.Close} {
		if err := step(); err != nil {
			return writeError(f.path, err)
		}
	}
	return nil
}

// Commit gives the folder its name. Without force it never replaces a folder, even one that appeared since CreateFolder.
// With force, a folder that was there is moved aside, and removed once the new one has its name. A process that is killed
// between leaves it beside, under the temporary name and .old.
func (f *Folder) Commit() error {
	if err := f.commit(); err != nil {
		return errors.Join(err, f.Discard())
	}
	return nil
}

func (f *Folder) commit() error {
	if err := CheckFolder(f.path, f.force); err != nil {
		return err
	}
	if err := os.Chmod(f.temporary, 0o755); err != nil {
		return writeError(f.path, err)
	}
	err := filepath.WalkDir(f.temporary, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return syncFolder(path)
	})
	if err != nil {
		return writeError(f.path, err)
	}
	old := f.temporary + ".old"
	if f.force {
		if err := rename(f.path, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return writeError(f.path, err)
		}
	}
	if err := rename(f.temporary, f.path); err != nil {
		return errors.Join(writeError(f.path, err), putBack(old, f.path))
	}
	f.temporary = ""
	if err := syncFolder(filepath.Dir(f.path)); err != nil {
		return err
	}
	return removeAll(old)
}

// putBack gives a folder its name back, where it was moved aside.
func putBack(old, path string) error {
	if err := rename(old, path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Discard removes the temporary folder. After Commit it does nothing.
func (f *Folder) Discard() error {
	if f.temporary == "" {
		return nil
	}
	for _, file := range f.open {
		_ = file.Close() // most are closed already
	}
	temporary := f.temporary
	f.temporary = ""
	return removeAll(temporary)
}

func rename(from, to string) error {
	event.At("folder rename")
	return os.Rename(from, to)
}

func removeAll(path string) error {
	event.At("folder remove")
	return os.RemoveAll(path)
}
