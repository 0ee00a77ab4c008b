// Package atomicfile writes files, and folders of files, that appear whole or not at all.
//
// Input: a path and a function that writes. Output: the file, complete and on disk, or an error and no file. All
// that quarry writes to files goes through it.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/quarry-hn/quarry/host/internal/event"
)

// ErrExists is returned, wrapped, where the file is there already and may not be replaced.
var ErrExists = errors.New("exists already")

// ErrWrite is returned, wrapped, where a file could not be written.
var ErrWrite = errors.New("cannot write")

// ErrNoLinks is returned, wrapped beside ErrWrite, by CommitNew where the file system has no hard links.
var ErrNoLinks = errors.New("this file system has no hard links, and nothing else gives a name to one of several processes\n" +
	"  hint: choose a folder on another")

// writeError names the file that was to be written, once. err may name the temporary file instead, which would mislead.
func writeError(path string, err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		err = p.Err
	}
	if l := (*os.LinkError)(nil); errors.As(err, &l) {
		err = l.Err
	}
	return fmt.Errorf("%w %s: %w", ErrWrite, path, err)
}

// Check fails where a file of that path exists and force is off, or where its folder is missing.
func Check(path string, force bool) error {
	info, err := os.Lstat(path)
	if to, broken := os.Stat(path); broken == nil {
		info = to // a link is replaced, unless it leads to what may not be replaced
	}
	switch {
	case err == nil && info.IsDir():
		return writeError(path, errors.New("it is a folder"))
	case err == nil && info.Mode()&(fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0:
		return writeError(path, errors.New("it is a device, a pipe or a socket, which a file would replace"))
	case err == nil && !force:
		return fmt.Errorf("%s %w\n  hint: choose another name, or replace it with --force", path, ErrExists)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return writeError(path, err)
	}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w\n  hint: make the folder %s first", writeError(path, err), filepath.Dir(path))
	} else if err != nil {
		return writeError(path, err)
	}
	return nil
}

// Pending is a file that is written, and does not have its name yet.
type Pending struct {
	path      string // the file to be
	temporary string // the file that is written; empty once it has its name
	force     bool   // the file may replace another
}

// Create writes a temporary file beside path, and syncs it. Commit makes it the file; Discard removes it.
func Create(path string, force bool, write func(io.Writer) error) (*Pending, error) {
	return CreateIn("", path, force, write)
}

// CreateIn is Create with the temporary file in another folder of the same file system. An empty folder means path's
// own.
func CreateIn(folder, path string, force bool, write func(io.Writer) error) (*Pending, error) {
	if folder == "" {
		folder = filepath.Dir(path)
	}
	if err := Check(path, force); err != nil {
		return nil, err
	}
	base := filepath.Base(path)
	// A temporary name is longer. 255 bytes is the longest name there can be, so a longer one fails now.
	if n := len(base); 200 < n && n <= 255 {
		base = strings.ToValidUTF8(base[:200], "")
	}
	event.At("file create")
	f, err := os.CreateTemp(folder, "."+base+".*.tmp")
	if err != nil {
		return nil, writeError(path, err)
	}
	if err := fill(f, path, write); err != nil {
		_ = f.Close() // it may be closed already
		if e := remove(f.Name()); e != nil {
			err = errors.Join(err, e)
		}
		return nil, err
	}
	return &Pending{path, f.Name(), force}, nil
}

// fill writes, syncs and closes f, which is to become path. An error of write itself comes back as it is. An error of
// the disk is an ErrWrite.
func fill(f *os.File, path string, write func(io.Writer) error) error {
	w := bufio.NewWriterSize(writer{f}, 1<<18)
	if err := write(w); err != nil && w.Flush() == nil {
		return err
	}
	chmod := func() error { return f.Chmod(0o644) }
	// The kernel would give all files of a few milliseconds the same time. This time has nanoseconds, so it tells apart
	// files that soon follow one another.
	date := func() error { now := time.Now(); return os.Chtimes(f.Name(), now, now) }
	sync := func() error { event.At("file sync"); return f.Sync() }
	// A bufio.Writer that has failed fails again in Flush.
	for _, step := range []func() error{w.Flush, chmod, date, sync, f.Close} {
		if err := step(); err != nil {
			return writeError(path, err)
		}
	}
	return nil
}

// writer is a file whose writes are events.
type writer struct{ to *os.File }

func (w writer) Write(b []byte) (int, error) {
	event.At("file write")
	return w.to.Write(b)
}

// Commit gives the file its name. Without force it never replaces a file, even one that appeared since Create.
func (p *Pending) Commit() error { return p.commit(p.name) }

// CommitNew is Commit without force. Of several processes that do it at once, exactly one succeeds. It needs hard
// links.
func (p *Pending) CommitNew() error { return p.commit(p.linkNew) }

func (p *Pending) commit(name func() error) error {
	if err := name(); err != nil {
		return errors.Join(err, p.Discard())
	}
	p.temporary = ""
	return syncFolder(filepath.Dir(p.path))
}

func (p *Pending) name() error {
	if !p.force {
		// To link fails where the name is taken; to rename would replace what is there.
		if link(p.temporary, p.path) == nil {
			return p.removeTemporary()
		}
		// Some file systems have no links. There a last look must do, though another process may take the name after
		// it.
		if err := Check(p.path, false); err != nil {
			return err
		}
	}
	event.At("file rename")
	if err := os.Rename(p.temporary, p.path); err != nil {
		return writeError(p.path, err)
	}
	return nil
}

func (p *Pending) linkNew() error {
	switch err := link(p.temporary, p.path); {
	case err == nil:
		return p.removeTemporary()
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s %w", p.path, ErrExists)
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.EPERM): // systems say it in several ways
		return fmt.Errorf("%w: %w", writeError(p.path, err), ErrNoLinks)
	default:
		return writeError(p.path, err)
	}
}

// removeTemporary removes the temporary name of a file that has been linked to its own.
func (p *Pending) removeTemporary() error {
	if err := remove(p.temporary); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Discard removes the temporary file. After Commit it does nothing.
func (p *Pending) Discard() error {
	if p.temporary == "" {
		return nil
	}
	temporary := p.temporary
	p.temporary = ""
	return remove(temporary)
}

func link(from, to string) error {
	event.At("file link")
	return os.Link(from, to)
}

func remove(path string) error {
	event.At("file remove")
	return os.Remove(path)
}

// Group is files that get their names one right after the other, once all of them are complete.
type Group []*Pending

// Create is Create for a file of the group.
func (g *Group) Create(path string, force bool, write func(io.Writer) error) error {
	return g.CreateIn("", path, force, write)
}

// CreateIn is CreateIn for a file of the group.
func (g *Group) CreateIn(folder, path string, force bool, write func(io.Writer) error) error {
	p, err := CreateIn(folder, path, force, write)
	if err == nil {
		*g = append(*g, p)
	}
	return err
}

// Commit gives the files their names, in the order they were created.
func (g Group) Commit() error {
	for _, p := range g {
		if err := p.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// Discard removes the temporary files of those that do not have their names yet.
func (g Group) Discard() error {
	var errs []error
	for _, p := range g {
		errs = append(errs, p.Discard())
	}
	return errors.Join(errs...)
}

// syncFolder makes new names in a folder survive a loss of power. Where the system cannot do that, it does nothing.
func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return nil
	}
	_ = d.Sync()
	return d.Close()
}

// MakeFolders is os.MkdirAll, and syncs the names of new folders to disk. Where another process removes one of them
// meanwhile, the error is fs.ErrNotExist, and to try again may help.
func MakeFolders(folder string) error {
	if info, err := os.Stat(folder); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(folder)
	err := os.Mkdir(folder, 0o755)
	if errors.Is(err, fs.ErrNotExist) && parent != folder {
		if err := MakeFolders(parent); err != nil {
			return err
		}
		err = os.Mkdir(folder, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		info, e := os.Lstat(folder)
		if errors.Is(e, fs.ErrNotExist) {
			return writeError(folder, e) // another process made it, and removed it
		}
		if e == nil && info.Mode()&fs.ModeSymlink != 0 {
			info, e = os.Stat(folder)
		}
		if e == nil && info.IsDir() {
			return nil // another process made it
		}
		return writeError(folder, errors.New("a file of that name is in the way"))
	}
	if err != nil {
		return writeError(folder, err)
	}
	return syncFolder(parent)
}

// Write is Create and Commit in one.
func Write(path string, force bool, write func(io.Writer) error) error {
	p, err := Create(path, force, write)
	if err != nil {
		return err
	}
	return p.Commit()
}
