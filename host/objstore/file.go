package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

const (
	temporaryFolder = ".tmp"         // in the store's folder; it is never listed, and no key begins with it
	temporaryAge    = 24 * time.Hour // the process that wrote a temporary file last so long ago has died
)

// file is objects that are files below a folder. The first Put makes the folder.
type file struct{ dir string }

var _ Store = (*file)(nil)

// OpenFile opens a folder as a store. The folder need not exist, and may be a link. Keys are paths below it. Links and
// special files in it are not objects, and nothing is put below a link. PutNew needs a file system with hard links. A
// process that dies while it writes leaves a file in .tmp; OpenFile removes such files once they are a day old.
func OpenFile(dir string) (Store, error) {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("open %s: it is a file: name a folder", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fileError("open", dir, err)
	}
	s := &file{filepath.Clean(dir)}
	s.removeOldTemporary()
	return s, nil
}

// removeOldTemporary removes the temporary files of processes that died. Those that it may not remove stay.
func (s *file) removeOldTemporary() {
	folder := filepath.Join(s.dir, temporaryFolder)
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > temporaryAge {
			_ = os.Remove(filepath.Join(folder, e.Name()))
		}
	}
}

// fileError names the path once, and says which error of this package it is.
func fileError(op, path string, err error) error {
	kind, cause := error(nil), err
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		cause = p.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s %s: %w", op, path, ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		kind = ErrDenied
	default:
		return fmt.Errorf("%s %s: %w", op, path, cause)
	}
	return fmt.Errorf("%s %s: %w: %w", op, path, kind, cause)
}

// path is where the object of a key is, or would be.
func (s *file) path(ctx context.Context, op, key string) (string, error) {
	if err := checkKey(op, key); err != nil {
		return "", err
	}
	local, err := filepath.Localize(key)
	if first, _, _ := strings.Cut(key, "/"); err != nil || strings.EqualFold(first, temporaryFolder) {
		return "", fmt.Errorf("%s %s: %w of a folder: this system, or the store itself, keeps such names to itself", op, excerpt.Quote(key), ErrKey)
	}
	path := filepath.Join(s.dir, local)
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("%s %s: %w", op, path, err)
	}
	return path, nil
}

// stat describes a regular file. Whatever else is there does not exist for it.
func stat(path string) (fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	return info, err
}

func fileObject(key string, info fs.FileInfo) Object {
	return Object{key, info.Size(), fmt.Sprintf("%x-%x-%x", info.Size(), info.ModTime().UnixNano(), inode(info)), info.ModTime().UTC()}
}

func (s *file) URL() string { return s.dir }

func (s *file) Head(ctx context.Context, key string) (Object, error) {
	path, err := s.path(ctx, "head", key)
	if err != nil {
		return Object{}, err
	}
	info, err := stat(path)
	if err != nil {
		return Object{}, fileError("head", path, err)
	}
	return fileObject(key, info), nil
}

func (s *file) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, Object, error) {
	path, err := s.path(ctx, "get", key)
	if err == nil {
		err = checkFrom("get", path, from)
	}
	if err != nil {
		return nil, Object{}, err
	}
	f, o, err := openFile(key, path)
	if err != nil {
		return nil, Object{}, fileError("get", path, err)
	}
	if etag != "" && etag != o.ETag {
		_ = f.Close()
		return nil, Object{}, fmt.Errorf("get %s: %w", path, ErrChanged)
	}
	from = min(from, o.Size)
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, Object{}, fileError("get", path, err)
	}
	// What is appended from now on does not belong to the object.
	part := struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, o.Size-from), f}
	return &objectReader{ctx, path, part, from, o.Size}, o, nil
}

func openFile(key, path string) (*os.File, Object, error) {
	if _, err := stat(path); err != nil { // opening a pipe would wait for somebody to write to it
		return nil, Object{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, Object{}, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, Object{}, err
	}
	return f, fileObject(key, info), nil
}

func (s *file) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	return s.put(ctx, key, body, true)
}

func (s *file) PutNew(ctx context.Context, key string, body io.ReadSeeker) error {
	return s.put(ctx, key, body, false)
}

func (s *file) put(ctx context.Context, key string, body io.ReadSeeker, replace bool) error {
	path, err := s.path(ctx, "put", key)
	if err != nil {
		return err
	}
	start, err := body.Seek(0, io.SeekCurrent)
	for try := 1; err == nil; try++ {
		err = s.putOnce(ctx, path, body, replace)
		if try == putTries || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		_, err = body.Seek(start, io.SeekStart) // a Delete beside this Put removed the object's folder
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, atomicfile.ErrExists):
		return fmt.Errorf("put %s: %w", path, ErrExists)
	case errors.Is(err, fs.ErrPermission) && !errors.Is(err, atomicfile.ErrNoLinks):
		return fmt.Errorf("put: %w: %w", ErrDenied, err)
	case errors.Is(err, atomicfile.ErrWrite):
		return fmt.Errorf("put: %w", err) // which names the path
	default:
		return fmt.Errorf("put %s: %w", path, err)
	}
}

// checkFolders fails where a folder of the object's path is a link: List does not follow links, so it would not find
// the object.
func (s *file) checkFolders(path string) error {
	for folder := filepath.Dir(path); folder != s.dir; folder = filepath.Dir(folder) {
		if info, err := os.Lstat(folder); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%s is a link, and no folder of a store: put the folder itself there, or make the store's own folder a link", folder)
		}
	}
	return nil
}

func (s *file) putOnce(ctx context.Context, path string, body io.Reader, replace bool) error {
	if err := s.checkFolders(path); err != nil {
		return err
	}
	temporary := filepath.Join(s.dir, temporaryFolder)
	for _, folder := range []string{temporary, filepath.Dir(path)} {
		if err := atomicfile.MakeFolders(folder); err != nil {
			return err
		}
	}
	p, err := atomicfile.CreateIn(temporary, path, replace, func(w io.Writer) error {
		if _, err := io.Copy(w, contextReader{ctx, body}); err != nil {
			return err
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	// A Delete may have removed the folder while the bytes were written.
	if err := atomicfile.MakeFolders(filepath.Dir(path)); err != nil {
		return errors.Join(err, p.Discard())
	}
	if replace {
		return p.Commit()
	}
	return p.CommitNew()
}

// List walks the folders that may hold keys of prefix. It sorts a folder's name as if it ended in a slash, so that keys
// come in the order of their bytes: a-b, a/b, ab.
func (s *file) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) { s.walk(ctx, "", prefix, after, yield) }
}

// walk lists a folder, whose name is empty or ends in a slash. It returns false where the listing is to end.
func (s *file) walk(ctx context.Context, folder, prefix, after string, yield func(Object, error) bool) bool {
	names, err := s.entries(ctx, folder)
	if err != nil {
		yield(Object{}, err)
		return false
	}
	for _, name := range names {
		if !s.visit(ctx, name, prefix, after, yield) {
			return false
		}
	}
	return true
}

// entries gives what a folder holds that may be an object or hold one, in the order of keys. All names begin with the
// folder's, and those of folders end in a slash.
func (s *file) entries(ctx context.Context, folder string) ([]string, error) {
	path := filepath.Join(s.dir, filepath.FromSlash(folder))
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list %s: %w", path, err)
	}
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil // nothing has been put yet, or it was deleted meanwhile
	}
	if err != nil {
		return nil, fileError("list", path, err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := folder + e.Name()
		if e.IsDir() {
			name += "/"
		}
		if (e.IsDir() || e.Type().IsRegular()) && !strings.EqualFold(name, temporaryFolder+"/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// visit lists one name of a folder: an object, or a folder, whose name ends in a slash.
func (s *file) visit(ctx context.Context, name, prefix, after string, yield func(Object, error) bool) bool {
	if strings.HasSuffix(name, "/") {
		here := strings.HasPrefix(name, prefix) || strings.HasPrefix(prefix, name)
		if past := name < after && !strings.HasPrefix(after, name); past || !here {
			return true
		}
		return s.walk(ctx, name, prefix, after, yield)
	}
	if !strings.HasPrefix(name, prefix) || name <= after || !isKey(name) {
		return true
	}
	path := filepath.Join(s.dir, filepath.FromSlash(name))
	info, err := stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true // it was deleted meanwhile
	}
	if err != nil {
		yield(Object{}, fileError("list", path, err))
		return false
	}
	return yield(fileObject(name, info), nil)
}

// Folders reads the folder once, and looks into each folder in it for an object.
func (s *file) Folders(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := s.folders(ctx, prefix)
		if err != nil {
			yield("", err)
			return
		}
		for _, name := range names {
			if !isAfter(name, after) {
				continue
			}
			holds := false
			s.walk(ctx, prefix+name+"/", "", "", func(_ Object, e error) bool {
				holds, err = e == nil, e
				return false
			})
			if err != nil {
				yield("", err)
				return
			}
			if holds && !yield(name, nil) {
				return
			}
		}
	}
}

// folders gives the names of the folders directly below prefix, empty ones too, in the order of the keys in them.
func (s *file) folders(ctx context.Context, prefix string) ([]string, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, err
	}
	if prefix != "" {
		path, err := s.path(ctx, "list", strings.TrimSuffix(prefix, "/"))
		if err != nil {
			return nil, err
		}
		if s.checkFolders(filepath.Join(path, "x")) != nil {
			return nil, nil // List finds nothing below a link
		}
	}
	entries, err := s.entries(ctx, prefix)
	var names []string
	for _, entry := range entries {
		if name, isFolder := strings.CutSuffix(strings.TrimPrefix(entry, prefix), "/"); isFolder && isKey(name) {
			names = append(names, name)
		}
	}
	return names, err
}

// Delete also removes the folders that it leaves empty. It calls Rmdir, since os.Remove would remove a file too that
// took the folder's name meanwhile.
func (s *file) Delete(ctx context.Context, key string) error {
	path, err := s.path(ctx, "delete", key)
	if err != nil {
		return err
	}
	if _, err = stat(path); err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		if err = fileError("delete", path, err); errors.Is(err, ErrNotExist) {
			return nil
		}
		return err
	}
	for folder := filepath.Dir(path); folder != s.dir; folder = filepath.Dir(folder) {
		if syscall.Rmdir(folder) != nil {
			break
		}
	}
	return nil
}
