package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// content is a function that writes a text.
func content(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// folder is the contents of a folder's files, by name. A temporary file has the name "tmp".
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, entry := range entries {
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		name := entry.Name()
		if strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".tmp") {
			name = "tmp"
		}
		found[name] = string(b)
	}
	return found
}

func checkFolder(t *testing.T, when, dir string, want map[string]string) {
	t.Helper()
	if got := folder(t, dir); !maps.Equal(got, want) {
		t.Errorf("%s: the folder holds %.200q, expected %.200q", when, got, want)
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a file without this package.
func put(t *testing.T, path, text string) {
	t.Helper()
	noError(t, os.WriteFile(path, []byte(text), 0o600))
}

var long = strings.Repeat("0123456789abcdef", 1<<16)

// TestCommit follows a file from Create to Commit or Discard, where the name is free and where a file is replaced.
func TestCommit(t *testing.T) {
	for _, old := range []string{"", "old"} {
		for _, text := range []string{"", "new", long} {
			dir := t.TempDir()
			path := filepath.Join(dir, "x.json")
			before := map[string]string{}
			if old != "" {
				put(t, path, old)
				before["x.json"] = old
			}
			pending := maps.Clone(before)
			pending["tmp"] = text
			for _, commit := range []bool{false, true} {
				p, err := Create(path, old != "", content(text))
				noError(t, err)
				checkFolder(t, "before the commit", dir, pending)
				if !commit {
					noError(t, p.Discard())
					checkFolder(t, "discarded", dir, before)
					noError(t, p.Discard())
					continue
				}
				noError(t, p.Commit())
				after := map[string]string{"x.json": text}
				checkFolder(t, "committed", dir, after)
				noError(t, p.Discard())
				checkFolder(t, "discarded after the commit", dir, after)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
				t.Errorf("mode %v, %v; expected 0644", info.Mode(), err)
			}
		}
	}
}

// TestWriteThatFails has the caller's function fail. Its error comes back as it is, and no file is left.
func TestWriteThatFails(t *testing.T) {
	mine := errors.New("mine")
	for _, written := range []string{"", "half", long} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "x"), "old")
		var g Group
		fail := func(w io.Writer) error { return errors.Join(content(written)(w), mine) }
		for what, err := range map[string]error{
			"Write": Write(filepath.Join(dir, "x"), true, fail), "Group": g.Create(filepath.Join(dir, "y"), false, fail),
		} {
			if !errors.Is(err, mine) || errors.Is(err, ErrWrite) {
				t.Errorf("%s: %v, expected the caller's own error alone", what, err)
			}
		}
		if len(g) != 0 {
			t.Errorf("the group has %d files; none was made", len(g))
		}
		checkFolder(t, "after a failure", dir, map[string]string{"x": "old"})
	}
}

// TestRefused has paths that Check refuses. Create and Write refuse them too, before anything is written. The error
// names the file that was to be written, and no other.
func TestRefused(t *testing.T) {
	for what, row := range map[string]struct {
		prepare func(t *testing.T, path string)
		force   bool
		is      error
		says    string
	}{
		"a file":               {func(t *testing.T, path string) { put(t, path, "old") }, false, ErrExists, "--force"},
		"a link to a file":     {func(t *testing.T, path string) { put(t, path+".to", "old"); noError(t, os.Symlink(path+".to", path)) }, false, ErrExists, "--force"},
		"a broken link":        {func(t *testing.T, path string) { noError(t, os.Symlink("nowhere", path)) }, false, ErrExists, "--force"},
		"a folder":             {func(t *testing.T, path string) { noError(t, os.Mkdir(path, 0o755)) }, false, ErrWrite, "it is a folder"},
		"a folder, with force": {func(t *testing.T, path string) { noError(t, os.Mkdir(path, 0o755)) }, true, ErrWrite, "it is a folder"},
		"a device, with force": {func(t *testing.T, path string) { noError(t, os.Symlink(os.DevNull, path)) }, true, ErrWrite, "device"},
		"no folder":            {func(t *testing.T, path string) { noError(t, os.Remove(filepath.Dir(path))) }, true, fs.ErrNotExist, "no such file"},
		"a file in a folder's place": {func(t *testing.T, path string) {
			noError(t, os.Remove(filepath.Dir(path)))
			put(t, filepath.Dir(path), "")
		}, true, ErrWrite, "not a directory"},
		"a name that is too long": {func(*testing.T, string) {}, true, ErrWrite, "too long"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dir")
			noError(t, os.Mkdir(dir, 0o755))
			path := filepath.Join(dir, "x")
			if row.says == "too long" {
				path = filepath.Join(dir, strings.Repeat("x", 256))
			}
			row.prepare(t, path)
			called := false
			errs := []error{Write(path, row.force, func(io.Writer) error { called = true; return nil })}
			if row.says != "too long" {
				errs = append(errs, Check(path, row.force))
			}
			for _, err := range errs {
				if !errors.Is(err, row.is) || !strings.Contains(err.Error(), row.says) || !strings.Contains(err.Error(), path) {
					t.Errorf("%v; expected %v that names %s and says %q", err, row.is, path, row.says)
				}
				if err != nil && strings.Contains(err.Error(), ".tmp") {
					t.Errorf("the error names the temporary file: %v", err)
				}
				if errors.Is(err, ErrExists) == errors.Is(err, ErrWrite) {
					t.Errorf("%v: expected one of ErrExists and ErrWrite", err)
				}
			}
			if called {
				t.Error("something was written first")
			}
		})
	}
}

// TestCommitThatFails has another file take the name, or the temporary file removed, between Create and Commit.
func TestCommitThatFails(t *testing.T) {
	for what, row := range map[string]struct {
		meanwhile func(t *testing.T, path string)
		force     bool
		is        error
		left      map[string]string
	}{
		"taken by a file":               {func(t *testing.T, path string) { put(t, path, "other") }, false, ErrExists, map[string]string{"x": "other"}},
		"taken by a file, with force":   {func(t *testing.T, path string) { put(t, path, "other") }, true, nil, map[string]string{"x": "new"}},
		"taken by a folder, with force": {func(t *testing.T, path string) { noError(t, os.Mkdir(path, 0o755)) }, true, ErrWrite, nil},
		"the temporary file was removed": {func(t *testing.T, path string) {
			found, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".x.*.tmp"))
			noError(t, err)
			noError(t, os.Remove(found[0]))
		}, false, ErrWrite, map[string]string{}},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x")
			p, err := Create(path, row.force, content("new"))
			noError(t, err)
			row.meanwhile(t, path)
			err = p.Commit()
			if !errors.Is(err, row.is) || err != nil && !strings.Contains(err.Error(), path) {
				t.Errorf("%v; expected %v that names %s", err, row.is, path)
			}
			// Only a line after the first may name the temporary file, where it could not be removed.
			if first, _, _ := strings.Cut(fmt.Sprint(err), "\n"); strings.Contains(first, ".tmp") {
				t.Errorf("the error names the temporary file: %v", err)
			}
			if row.left == nil {
				noError(t, os.Remove(path))
				row.left = map[string]string{}
			}
			checkFolder(t, "after the commit", dir, row.left)
			if err := p.Discard(); err != nil {
				t.Errorf("discarded after a commit that failed: %v", err)
			}
		})
	}
}

// TestGroup commits three files, of which one may fail. They get their names in order, none after the first that fails,
// and Discard removes the rest.
func TestGroup(t *testing.T) {
	names := []string{"c", "a", "b"} // not the order of names
	for fails := range len(names) + 1 {
		dir := t.TempDir()
		var g Group
		want := map[string]string{}
		for _, name := range names {
			noError(t, g.Create(filepath.Join(dir, name), false, content("of "+name)))
			if _, visible := folder(t, dir)[name]; visible {
				t.Errorf("%s is there before the commit", name)
			}
			if slices.Index(names, name) < fails {
				want[name] = "of " + name
			}
		}
		if fails < len(names) {
			put(t, filepath.Join(dir, names[fails]), "other")
			want[names[fails]] = "other"
		}
		if err := g.Commit(); (err == nil) != (fails == len(names)) || err != nil && !errors.Is(err, ErrExists) {
			t.Errorf("file %d is taken: %v", fails, err)
		}
		noError(t, g.Discard())
		checkFolder(t, "in the end", dir, want)
	}
}

// TestGroupDiscarded discards files that are complete, and none is left.
func TestGroupDiscarded(t *testing.T) {
	dir := t.TempDir()
	var g Group
	for _, name := range []string{"a", "b"} {
		noError(t, g.Create(filepath.Join(dir, name), false, content(name)))
	}
	noError(t, g.Discard())
	checkFolder(t, "discarded", dir, map[string]string{})
}

// TestLongName has a name as long as names may be. The temporary name cannot be longer, so that the name is cut for it,
// here within a letter of two bytes.
func TestLongName(t *testing.T) {
	dir := t.TempDir()
	name := "x" + strings.Repeat("é", 127)
	noError(t, Write(filepath.Join(dir, name), false, content("text")))
	checkFolder(t, "afterwards", dir, map[string]string{name: "text"})
}

// TestCommitNew has three files for one name. One gets it, with and without force.
func TestCommitNew(t *testing.T) {
	for _, force := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "x")
		var pending []*Pending
		for i := range 3 {
			p, err := Create(path, force, content(fmt.Sprint(i)))
			noError(t, err)
			pending = append(pending, p)
		}
		noError(t, pending[1].CommitNew())
		for _, i := range []int{0, 2} {
			if err := pending[i].CommitNew(); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v; expected %v that names %s", err, ErrExists, path)
			}
		}
		checkFolder(t, "after the commits", dir, map[string]string{"x": "1"})
	}
}

// TestTimesDiffer writes files one right after the other. Each has another time, though the kernel's clock for files
// may not have moved.
func TestTimesDiffer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	seen := map[int64]bool{}
	for range 20 {
		noError(t, Write(path, true, content("x")))
		info, err := os.Stat(path)
		noError(t, err)
		seen[info.ModTime().UnixNano()] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d times of 20 files", len(seen))
	}
}

func TestMakeFolders(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{"a", "a", "a/b/c", "a/b", "d/e/f/"} {
		noError(t, MakeFolders(filepath.Join(dir, folder)))
		if info, err := os.Stat(filepath.Join(dir, folder)); err != nil || !info.IsDir() {
			t.Errorf("%s: %v", folder, err)
		}
	}
	put(t, filepath.Join(dir, "file"), "")
	noError(t, os.Symlink("d", filepath.Join(dir, "link")))
	noError(t, os.Symlink("nowhere", filepath.Join(dir, "broken")))
	noError(t, MakeFolders(filepath.Join(dir, "link", "e")))
	for _, folder := range []string{"file", "file/a", "file/a/b", "broken"} {
		if err := MakeFolders(filepath.Join(dir, folder)); !errors.Is(err, ErrWrite) {
			t.Errorf("%s: %v; expected %v", folder, err, ErrWrite)
		}
	}
}

// TestMakeFoldersBesideRemove makes and removes the same folders at once. MakeFolders may fail since a folder is
// missing, and never since a file is in the way: there is none.
func TestMakeFoldersBesideRemove(t *testing.T) {
	dir := t.TempDir()
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range rounds {
				if err := MakeFolders(filepath.Join(dir, "a", "b")); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
				_ = os.Remove(filepath.Join(dir, "a", "b"))
				_ = os.Remove(filepath.Join(dir, "a"))
			}
		})
	}
	all.Wait()
}
