package objfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/objstore"
)

// store is a store with objects.
func store(t *testing.T, contents map[string]string) objstore.Store {
	t.Helper()
	s := objstore.NewMemory()
	for key, content := range contents {
		put(t, s, key, content)
	}
	return s
}

func put(t *testing.T, s objstore.Store, key, content string) {
	t.Helper()
	if err := s.Put(t.Context(), key, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

// counted counts the objects that are read.
type counted struct {
	objstore.Store
	gets int
}

func (c *counted) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, objstore.Object, error) {
	c.gets++
	return c.Store.Get(ctx, key, from, etag)
}

// TestFS passes the tests of the standard library, and fetches each object once.
func TestFS(t *testing.T) {
	s := &counted{Store: store(t, map[string]string{"corpus.jsonl": "{}\n", "vectors/a/docs.npy": "rows", "vectors/a/empty": "", "vectors-b": "x"})}
	told := ""
	f, err := New(t.Context(), s, "", func(stage string, done, total int64) {
		if done == total {
			told += stage + "\n"
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := fs.Stat(f, "vectors/a/docs.npy"); err != nil || info.Size() != 4 || s.gets > 0 {
		t.Errorf("%v, %v, and %d objects were read", info, err, s.gets)
	}
	if err := fstest.TestFS(f, "corpus.jsonl", "vectors/a/docs.npy", "vectors/a/empty", "vectors-b"); err != nil {
		t.Error(err)
	}
	if s.gets != 4 || !strings.Contains(told, "fetch memory:/vectors/a/docs.npy\n") {
		t.Errorf("%d objects were read; it was told %q", s.gets, told)
	}
	file, err := f.Open("vectors/a/docs.npy")
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2)
	if n, err := file.(io.ReaderAt).ReadAt(b, 1); n != 2 || err != nil || string(b) != "ow" {
		t.Errorf("%q, %v", b, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestPrefix lists the objects alone whose keys begin so.
func TestPrefix(t *testing.T) {
	f, err := New(t.Context(), store(t, map[string]string{"n.jsonl": "", "n.manifest.json": "", "m.jsonl": "", "n/a": ""}), "n.", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entries, err := f.ReadDir(".")
	if err != nil || len(entries) != 2 || entries[0].Name() != "n.jsonl" || entries[1].Name() != "n.manifest.json" {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestErrors has stores that are no data folder, and objects that change or cannot be read.
func TestErrors(t *testing.T) {
	if _, err := New(t.Context(), store(t, nil), "", nil); !strings.Contains(err.Error(), "memory:: there are no objects below it") || !errors.As(err, new(*dataset.Error)) || !errors.Is(err, ErrEmpty) {
		t.Error(err)
	}
	defer func(n int) { maxObjects = n }(maxObjects)
	maxObjects = 1
	if _, err := New(t.Context(), store(t, map[string]string{"a": "", "b": ""}), "", nil); err == nil || !strings.Contains(err.Error(), "more than 1 objects") {
		t.Error(err)
	}
	maxObjects = 9
	s := store(t, map[string]string{"a": "1", "b": "22", "c": "333"})
	ctx, cancel := context.WithCancel(t.Context())
	f, err := New(ctx, s, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put(t, s, "a", "2")
	if _, err := f.Open("a"); !errors.Is(err, objstore.ErrChanged) {
		t.Errorf("what has changed: %v", err)
	}
	if err := s.Delete(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open("b"); !errors.Is(err, objstore.ErrNotExist) {
		t.Errorf("what is gone: %v", err)
	}
	cancel()
	if _, err := f.Open("c"); !errors.Is(err, context.Canceled) {
		t.Errorf("what is cancelled: %v", err)
	}
	if _, err := f.Open("d"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}
