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

// writeError names the file that was to be, once; the temporary file, which err may name, is no concern of the reader's.
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
		info = to // a link is replaced, unless what it leads to may not be
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

// Pending is a file that is written, and not yet there.
type Pending struct {
	path      string
	temporary string
	force     bool
}

// Create writes a temporary file beside path, and syncs it. Commit makes it the file; Discard removes it.
func Create(path string, force bool, write func(io.Writer) error) (*Pending, error) {
	return CreateIn("", path, force, write)
}

// CreateIn is Create with the temporary file in another folder of the same file system; empty means path's own.
func CreateIn(folder, path string, force bool, write func(io.Writer) error) (*Pending, error) {
	if folder == "" {
		folder = filepath.Dir(path)
	}
	if err := Check(path, force); err != nil {
		return nil, err
	}
	base := filepath.Base(path)
	if n := len(base); 200 < n && n <= 255 { // the longest name; what is longer fails now
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

// fill writes, syncs and closes f, which is to be path. An error of write's own comes back as it is; one of the disk's is ErrWrite.
func fill(f *os.File, path string, write func(io.Writer) error) error {
	w := bufio.NewWriterSize(writer{f}, 1<<18)
	if err := write(w); err != nil && w.Flush() == nil {
		return err
	}
	chmod := func() error { return f.Chmod(0o644) }
	// The kernel's time for a file moves on every few milliseconds, this one every nanosecond: it tells files apart that soon follow each other.
	date := func() error { now := time.Now(); return os.Chtimes(f.Name(), now, now) }
	sync := func() error { event.At("file sync"); return f.Sync() }
	// A writer that has failed keeps failing.
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

// CommitNew is Commit without force of which, among processes that do it at once, exactly one succeeds. That takes hard links.
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
		// A link, unlike a rename, fails where the name is taken.
		if link(p.temporary, p.path) == nil {
			return p.linked()
		}
		// Some file systems have no links; there the last look must do.
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
		return p.linked()
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s %w", p.path, ErrExists)
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.EPERM): // which of them depends on the system
		return fmt.Errorf("%w: %w", writeError(p.path, err), ErrNoLinks)
	default:
		return writeError(p.path, err)
	}
}

// linked removes the other name of a file that has its own.
func (p *Pending) linked() error {
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

// Group is files that get their names together, once all of them are complete.
type Group []*Pending

// Create is Create for a file of the group.
func (g *Group) Create(path string, force bool, write func(io.Writer) error) error {
	return g.CreateIn("", path, force, write)
}

// CreateIn is Create with the temporary file in another folder of the same file system; empty means path's own.
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

// Discard removes what has no name yet.
func (g Group) Discard() error {
	var errs []error
	for _, p := range g {
		errs = append(errs, p.Discard())
	}
	return errors.Join(errs...)
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

// MakeFolders is os.MkdirAll, but the names of new folders last. Where another process removes one of them meanwhile, the error is
// fs.ErrNotExist: to try again may help.
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
			return writeError(folder, e) // it was another's, and went
		}
		if e == nil && info.Mode()&fs.ModeSymlink != 0 {
			info, e = os.Stat(folder)
		}
		if e == nil && info.IsDir() {
			return nil // another's
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
