// Package objfs is the objects of a store as a file system, whose files are fetched when they are opened.
//
// Input: a store, such as a prefix of a bucket. Output: a file system whose files can be read at an offset, as a data folder's have to be.
// Each object that is opened is fetched once, whole, to a temporary file. The command line opens data folders in S3 with it.
package objfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
)

// maxObjects is how many objects a file system may have. It is a variable so that tests can lower it.
var maxObjects = 100_000

// FS is the objects of a store as they were when New listed them. Close it after use. It may be used by several goroutines at once.
type FS struct {
	ctx      context.Context
	store    objstore.Store
	progress option.Progress
	nodes    map[string]*node // by path; that of the top is "."
}

var (
	_ fs.StatFS    = (*FS)(nil)
	_ fs.ReadDirFS = (*FS)(nil)
	_ io.Closer    = (*FS)(nil)
)

// ErrEmpty is the cause of New's error where there are no objects.
var ErrEmpty = errors.New("there are no objects")

// New lists the objects of a store whose keys begin with prefix. The context is that of every later fetch too, and progress is told of
// those. No object, or more than 100,000, are an error.
func New(ctx context.Context, store objstore.Store, prefix string, progress option.Progress) (*FS, error) {
	f := &FS{ctx: ctx, store: store, progress: progress, nodes: map[string]*node{".": {name: "."}}}
	n := 0
	for o, err := range store.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		if n++; n > maxObjects {
			return nil, dataset.FileError(store.URL(), "name the folder that holds the data set alone", "more than %d objects", maxObjects)
		}
		f.add(&node{name: path.Base(o.Key), object: o, file: true}, o.Key)
	}
	if n == 0 {
		return nil, &dataset.Error{Path: store.URL(), Row: -1, Problem: ErrEmpty.Error() + " below it", Hint: "check the name, and who may list the bucket", Err: ErrEmpty}
	}
	for _, folder := range f.nodes {
		slices.SortFunc(folder.entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	}
	return f, nil
}

// add puts a node at a path, and in the folder that it is in. S3 may have an object under the name of a folder: the folder stays.
func (f *FS) add(n *node, at string) {
	if f.nodes[at] != nil {
		f.nodes[at].file = false
		return
	}
	f.nodes[at] = n
	above := path.Dir(at)
	if folder := f.nodes[above]; folder == nil || folder.file {
		f.add(&node{name: path.Base(above)}, above)
	}
	f.nodes[above].entries = append(f.nodes[above].entries, fs.FileInfoToDirEntry(n))
}

// find finds a node.
func (f *FS) find(op, name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n := f.nodes[name]
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

// Stat tells what an object or a folder is, without fetching it.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.find("stat", name)
	if err != nil {
		return nil, err // not a nil *node in an interface
	}
	return n, nil
}

// ReadDir lists a folder, in the order of the names.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if n.file {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a folder")}
	}
	return slices.Clone(n.entries), nil
}

// Open opens an object, or a folder. An object is fetched the first time. One that has changed since New is an objstore.ErrChanged.
func (f *FS) Open(name string) (fs.File, error) {
	n, err := f.find("open", name)
	if err != nil {
		return nil, err
	}
	if !n.file {
		return &openFolder{node: n}, nil
	}
	n.once.Do(func() { n.err = f.fetch(n) })
	if n.err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: n.err}
	}
	return &openFile{io.NewSectionReader(n.bytes, 0, n.object.Size), n}, nil
}

// fetch fetches an object to a temporary file.
func (f *FS) fetch(n *node) (err error) {
	if n.bytes, err = dataset.NewStoredBytes(); err != nil {
		return err
	}
	to := &fetching{n.bytes, f.progress, "fetch " + f.store.URL() + "/" + n.object.Key, 0, n.object.Size}
	o, err := objstore.Fetch(f.ctx, f.store, n.object.Key, to)
	if err == nil && (o.ETag != n.object.ETag || to.done != n.object.Size) {
		err = fmt.Errorf("%w since it was listed", objstore.ErrChanged)
	}
	return err
}

// fetching writes what is fetched, and tells how far it is.
type fetching struct {
	to         io.Writer
	progress   option.Progress
	stage      string
	done, size int64
}

func (w *fetching) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	w.done += int64(n)
	w.progress.Report(w.stage, w.done, w.size)
	return n, err
}

// Close removes the temporary files.
func (f *FS) Close() error {
	var errs []error
	for _, n := range f.nodes {
		if n.bytes != nil {
			errs = append(errs, n.bytes.Close())
		}
	}
	return errors.Join(errs...)
}

// node is an object or a folder.
type node struct {
	name    string
	file    bool
	object  objstore.Object // of a file
	entries []fs.DirEntry   // of a folder

	once  sync.Once // fetches a file
	bytes *dataset.StoredBytes
	err   error
}

var _ fs.FileInfo = (*node)(nil)

func (n *node) Name() string       { return n.name }
func (n *node) Size() int64        { return n.object.Size }
func (n *node) ModTime() time.Time { return n.object.Modified }
func (n *node) IsDir() bool        { return !n.file }
func (n *node) Sys() any           { return nil }

func (n *node) Mode() fs.FileMode {
	if n.file {
		return 0o444
	}
	return fs.ModeDir | 0o555
}

// openFile is an object that has been fetched.
type openFile struct {
	*io.SectionReader
	node *node
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o.node, nil }
func (o *openFile) Close() error               { return nil }

// openFolder is a folder that is read.
type openFolder struct {
	node *node
	read int // entries
}

var _ fs.ReadDirFile = (*openFolder)(nil)

func (o *openFolder) Stat() (fs.FileInfo, error) { return o.node, nil }
func (o *openFolder) Close() error               { return nil }

func (o *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.node.name, Err: errors.New("it is a folder")}
}

func (o *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	rest := o.node.entries[o.read:]
	if n > 0 && len(rest) == 0 {
		return nil, io.EOF
	}
	if n > 0 {
		rest = rest[:min(n, len(rest))]
	}
	o.read += len(rest)
	return slices.Clone(rest), nil
}
