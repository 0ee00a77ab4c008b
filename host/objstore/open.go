package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Open opens the store at a URL: s3://bucket/prefix, file:///folder, or a folder's path. What S3 needs comes from the
// environment: see OpenS3.
func Open(ctx context.Context, at string) (Store, error) {
	scheme, rest, found := strings.Cut(at, "://")
	switch {
	case at == "":
		return nil, fmt.Errorf("open a store: no place was given: name s3://bucket/prefix or a folder")
	case !found:
		return OpenFile(at)
	case scheme == "s3":
		bucket, prefix, _ := strings.Cut(rest, "/")
		return OpenS3(ctx, bucket, prefix, S3Options{})
	case scheme == "file":
		u, err := url.Parse(at)
		if err != nil || u.Host != "" && u.Host != "localhost" || u.Path == "" {
			return nil, fmt.Errorf("open %s: not a folder of this machine: write file:///folder or the folder's path", at)
		}
		return OpenFile(filepath.FromSlash(u.Path))
	default:
		return nil, fmt.Errorf("open %s: %s:// is not known: name s3://bucket/prefix, file:///folder or a folder's path", at, scheme)
	}
}

// Sub is the part of a store whose keys begin with prefix and a slash. Its own keys are what comes after that. An empty
// prefix gives the store itself.
func Sub(s Store, prefix string) Store {
	if prefix = strings.Trim(prefix, "/"); prefix == "" {
		return s
	}
	if outer, ok := s.(*sub); ok {
		return &sub{outer.store, outer.prefix + prefix + "/"}
	}
	return &sub{s, prefix + "/"}
}

type sub struct {
	store  Store
	prefix string // ends in a slash
}

var _ Store = (*sub)(nil)

func (s *sub) object(o Object, err error) (Object, error) {
	o.Key = strings.TrimPrefix(o.Key, s.prefix)
	return o, err
}

func (s *sub) URL() string {
	return strings.TrimSuffix(s.store.URL(), "/") + "/" + strings.TrimSuffix(s.prefix, "/")
}

func (s *sub) Head(ctx context.Context, key string) (Object, error) {
	return s.object(s.store.Head(ctx, s.prefix+key))
}

func (s *sub) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, Object, error) {
	r, o, err := s.store.Get(ctx, s.prefix+key, from, etag)
	o, err = s.object(o, err)
	return r, o, err
}

func (s *sub) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	return s.store.Put(ctx, s.prefix+key, body)
}

func (s *sub) PutNew(ctx context.Context, key string, body io.ReadSeeker) error {
	return s.store.PutNew(ctx, s.prefix+key, body)
}

func (s *sub) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	if after != "" {
		after = s.prefix + after
	}
	return func(yield func(Object, error) bool) {
		for o, err := range s.store.List(ctx, s.prefix+prefix, after) {
			if !yield(s.object(o, err)) {
				return
			}
		}
	}
}

func (s *sub) Folders(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return s.store.Folders(ctx, s.prefix+prefix, after)
}

func (s *sub) Delete(ctx context.Context, key string) error { return s.store.Delete(ctx, s.prefix+key) }

// isKey tells whether a string is a valid key: Object states the rule.
func isKey(key string) bool {
	return fs.ValidPath(key) && key != "." && !strings.ContainsRune(key, 0)
}

func checkKey(op, key string) error {
	if !isKey(key) {
		return fmt.Errorf("%s %s: %w: no part between its slashes may be empty, . or .., and all is UTF-8", op, excerpt.Quote(key), ErrKey)
	}
	return nil
}

// checkPrefix checks a prefix of Folders.
func checkPrefix(prefix string) error {
	if folder, ended := strings.CutSuffix(prefix, "/"); prefix != "" && (!ended || !isKey(folder)) {
		return fmt.Errorf("list %s: %w of a folder: write a/ for the folders in a", excerpt.Quote(prefix), ErrKey)
	}
	return nil
}

// isAfter tells whether a folder comes after another, in the order of the keys in them.
func isAfter(name, after string) bool { return after == "" || name+"/" > after+"/" }

func checkFrom(op, object string, from int64) error {
	if from < 0 {
		return fmt.Errorf("%s %s: from byte %d: an offset is not negative", op, object, from)
	}
	return nil
}

// objectReader reads an object. It fails once ctx has ended, and where the object ends before it should.
type objectReader struct {
	ctx    context.Context
	object string // for errors
	r      io.ReadCloser
	at     int64 // the next byte of the object
	end    int64 // the object's size
}

func (r *objectReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, r.fail(err)
	}
	n, err := r.r.Read(p)
	r.at += int64(n)
	if err == io.EOF && r.at < r.end {
		err = io.ErrUnexpectedEOF
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	if done := r.ctx.Err(); done != nil && !errors.Is(err, done) {
		err = fmt.Errorf("%w, after a read that failed: %w", done, err)
	}
	return n, r.fail(err)
}

func (r *objectReader) fail(err error) error {
	return fmt.Errorf("get %s: at byte %d of %d: %w", r.object, r.at, r.end, err)
}

func (r *objectReader) Close() error { return r.r.Close() }

// contextReader is a reader that fails once ctx has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
