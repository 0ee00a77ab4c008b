package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/internal/event"
)

// fillFolder makes a folder with a file at its top and one below, which are closed.
func fillFolder(t *testing.T, path string, force bool) *Folder {
	t.Helper()
	f, err := CreateFolder(path, force)
	noError(t, err)
	for _, name := range []string{"x.json", "a/b/y.json"} {
		file, err := f.Create(name)
		noError(t, err)
		_, err = io.WriteString(file, long)
		noError(t, err)
		noError(t, file.Close())
	}
	return f
}

// entries are the names in a folder, a temporary one as "tmp".
func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	found, err := os.ReadDir(dir)
	noError(t, err)
	for _, entry := range found {
		name := entry.Name()
		if name[0] == '.' {
			name = "tmp"
		}
		names = append(names, name)
	}
	return names
}

// checkEntries fails where a folder holds other names than want.
func checkEntries(t *testing.T, when, dir string, want ...string) {
	t.Helper()
	if got := entries(t, dir); !slices.Equal(got, want) {
		t.Errorf("%s: the folder holds %q, expected %q", when, got, want)
	}
}

// TestFolder follows a folder from CreateFolder to Commit or Discard, where the name is free and where a folder is replaced.
func TestFolder(t *testing.T) {
	for _, old := range []bool{false, true} {
		for _, commit := range []bool{false, true} {
			dir := t.TempDir()
			path := filepath.Join(dir, "d")
			before := []string{}
			if old {
				noError(t, os.Mkdir(path, 0o755))
				put(t, filepath.Join(path, "old.json"), "old")
				before = []string{"d"}
			}
			f := fillFolder(t, path, old)
			checkEntries(t, "before the commit", dir, append([]string{"tmp"}, before...)...)
			if !commit {
				_, err := f.Create("open.json") // an open file does not keep it
				noError(t, err)
				noError(t, f.Discard())
				checkEntries(t, "discarded", dir, before...)
				noError(t, f.Discard())
				continue
			}
			noError(t, f.Commit())
			noError(t, f.Discard())
			checkEntries(t, "committed", dir, "d")
			checkEntries(t, "committed", path, "a", "x.json")
			checkFolder(t, "committed", filepath.Join(path, "a/b"), map[string]string{"y.json": long})
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("mode %v, %v; expected 0755", info.Mode(), err)
			}
		}
	}
}

// TestFolderRefused: a folder that is there without force, a file in the way, and no folder to make it in.
func TestFolderRefused(t *testing.T) {
	dir := t.TempDir()
	noError(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	put(t, filepath.Join(dir, "f"), "old")
	for _, row := range []struct {
		name  string
		force bool
		kind  error
	}{{"d", false, ErrExists}, {"d/", false, ErrExists}, {"f", false, ErrWrite}, {"f", true, ErrWrite}, {"none/d", true, ErrWrite}} {
		if _, err := CreateFolder(filepath.Join(dir, row.name), row.force); !errors.Is(err, row.kind) {
			t.Errorf("%s, force %v: %v; expected %v", row.name, row.force, err, row.kind)
		}
	}
	checkEntries(t, "refused", dir, "d", "f")
}

// TestFolderThatAppears has another process make a folder of that name before the commit. It stays as it is.
func TestFolderThatAppears(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "d")
	f := fillFolder(t, path, false)
	noError(t, os.Mkdir(path, 0o755))
	if err := f.Commit(); !errors.Is(err, ErrExists) {
		t.Errorf("%v; expected ErrExists", err)
	}
	checkEntries(t, "refused", dir, "d")
	checkEntries(t, "refused", path)
}

// TestFolderPutBack has the new folder vanish once the old one was moved aside: the old one gets its name back.
func TestFolderPutBack(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "d")
	noError(t, os.Mkdir(path, 0o755))
	put(t, filepath.Join(path, "old.json"), "old")
	f := fillFolder(t, path, true)
	renames := 0
	event.Hook = func(name string) {
		if name != "folder rename" {
			return
		}
		if renames++; renames == 2 {
			noError(t, os.RemoveAll(f.temporary))
		}
	}
	defer func() { event.Hook = nil }()
	if err := f.Commit(); !errors.Is(err, ErrWrite) || renames != 3 {
		t.Errorf("%v after %d renames; expected ErrWrite after 3", err, renames)
	}
	checkEntries(t, "put back", dir, "d")
	checkFolder(t, "put back", path, map[string]string{"old.json": "old"})
}

// TestFileOfAFolderThatFails writes to a file that is closed: the error names the file, by the path that it would have.
func TestFileOfAFolderThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d")
	f, err := CreateFolder(path, false)
	noError(t, err)
	file, err := f.Create("a/x.json")
	noError(t, err)
	noError(t, f.Discard())
	_, err = io.WriteString(file, long)
	if want := filepath.Join(path, "a", "x.json"); !errors.Is(err, ErrWrite) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v; expected ErrWrite and %s", err, want)
	}
}
