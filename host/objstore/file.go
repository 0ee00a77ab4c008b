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
)

const (
	temporaryFolder = ".tmp"         // below the store's; never listed, and no key begins with it
	temporaryAge    = 24 * time.Hour // a temporary file that has not been written to for so long is of a process that died
	putTries        = 20             // where an object's folder is removed, empty, while it is put
)

// file is objects as files below a folder, which the first Put makes.
type file struct{ dir string }

var _ Store = (*file)(nil)

// OpenFile opens a folder as a store. It need not exist, and may be a link. Keys are paths below it; links and special files in it are no objects,
// and nothing is put below links. PutNew takes a file system with hard links. What a process left in .tmp that died while it wrote is removed a
// day later.
func OpenFile(dir string) (Store, error) {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("open %s: it is a file: name a folder", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fileError("open", dir, err)
	}
	s := &file{filepath.Clean(dir)}
	s.sweep()
	return s, nil
}

// sweep removes temporary files of processes that died. Those it may not remove stay.
func (s *file) sweep() {
	folder := filepath.Join(s.dir, temporaryFolder)
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > temporaryAge {
			_ = os.Remove(filepath.Join(folder, e.Name()))
		}
	}
}

// fileError names a path once, and says what kind of error it is.
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

// path is where an object is, or would be.
func (s *file) path(ctx context.Context, op, key string) (string, error) {
	if err := checkKey(op, key); err != nil {
		return "", err
	}
	local, err := filepath.Localize(key)
	if first, _, _ := strings.Cut(key, "/"); err != nil || strings.EqualFold(first, temporaryFolder) {
		return "", fmt.Errorf("%s %q: %w of a folder: this system, or the store itself, keeps such names to itself", op, key, ErrKey)
	}
	path := filepath.Join(s.dir, local)
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("%s %s: %w", op, path, err)
	}
	return path, nil
}

// stat finds files only.
func stat(path string) (fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	return info, err
}

func fileObject(key string, info fs.FileInfo) Object {
	return Object{key, info.Size(), fmt.Sprintf("%x-%x-%x", info.Size(), info.ModTime().UnixNano(), inode(info))}
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

func (s *file) Get(ctx context.Context, key string, from int64, identity string) (io.ReadCloser, Object, error) {
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
	if identity != "" && identity != o.Identity {
		_ = f.Close()
		return nil, Object{}, fmt.Errorf("get %s: %w", path, ErrChanged)
	}
	from = min(from, o.Size)
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, Object{}, fileError("get", path, err)
	}
	// What is appended meanwhile is not the object's.
	part := struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, o.Size-from), f}
	return &reading{ctx, path, part, from, o.Size}, o, nil
}

func openFile(key, path string) (*os.File, Object, error) {
	if _, err := stat(path); err != nil { // to open a pipe would wait for who writes to it
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
		_, err = body.Seek(start, io.SeekStart) // a Delete beside this Put removed the folder
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

// checkFolders fails where a folder of the object's is a link: List does not follow those, and would not find the object.
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
		if _, err := io.Copy(w, untilDone{ctx, body}); err != nil {
			return err
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if err := atomicfile.MakeFolders(filepath.Dir(path)); err != nil { // a Delete may have removed it while the bytes were written
		return errors.Join(err, p.Discard())
	}
	if replace {
		return p.Commit()
	}
	return p.CommitNew()
}

// List walks the folders that may hold keys of prefix. In a folder, other folders come where their names with a slash do: a-b, a/b, ab.
func (s *file) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) { s.walk(ctx, "", prefix, after, yield) }
}

// walk lists a folder, whose name is empty or ends in a slash. It tells whether to go on.
func (s *file) walk(ctx context.Context, folder, prefix, after string, yield func(Object, error) bool) bool {
	path := filepath.Join(s.dir, filepath.FromSlash(folder))
	if err := ctx.Err(); err != nil {
		yield(Object{}, fmt.Errorf("list %s: %w", path, err))
		return false
	}
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true // there is nothing yet, or no more
	}
	if err != nil {
		yield(Object{}, fileError("list", path, err))
		return false
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
	for _, name := range names {
		if !s.visit(ctx, name, prefix, after, yield) {
			return false
		}
	}
	return true
}

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

// Delete removes the folders too that it leaves empty. Rmdir, unlike os.Remove, removes nothing else that took a folder's name meanwhile.
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
