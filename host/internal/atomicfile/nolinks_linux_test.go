package atomicfile

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/quarry-hn/quarry/host/internal/nolinks"
)

// TestNoLinks has a file system without hard links, which systems say by several errors. Commit does without links, and
// CommitNew says that it needs them.
func TestNoLinks(t *testing.T) {
	for _, with := range []syscall.Errno{syscall.EPERM, syscall.ENOTSUP, syscall.ENOSYS, syscall.EACCES} {
		t.Run(with.Error(), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x")
			commitNew := func() error {
				p, err := Create(path, false, content("new"))
				if err != nil {
					return err
				}
				return p.CommitNew()
			}
			err := nolinks.Run(t, with, commitNew)
			if !errors.Is(err, ErrWrite) || errors.Is(err, ErrExists) || !errors.Is(err, with) || errors.Is(err, ErrNoLinks) != (with != syscall.EACCES) ||
				!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), ".tmp") {
				t.Errorf("%v", err)
			}
			checkFolder(t, "after CommitNew", dir, map[string]string{})
			noError(t, nolinks.Run(t, with, func() error { return Write(path, false, content("first")) }))
			checkFolder(t, "after Write", dir, map[string]string{"x": "first"})
			if err := nolinks.Run(t, with, func() error { return Write(path, false, content("second")) }); !errors.Is(err, ErrExists) {
				t.Errorf("%v", err)
			}
			if err := nolinks.Run(t, with, commitNew); !errors.Is(err, ErrExists) {
				t.Errorf("%v", err)
			}
			noError(t, nolinks.Run(t, with, func() error { return Write(path, true, content("third")) }))
			checkFolder(t, "in the end", dir, map[string]string{"x": "third"})
		})
	}
}

// TestNoLinksTaken has another file take the name between Create and Commit, where there are no links. Commit looks
// once more, and refuses.
func TestNoLinksTaken(t *testing.T) {
	dir := t.TempDir()
	p, err := Create(filepath.Join(dir, "x"), false, content("new"))
	noError(t, err)
	put(t, filepath.Join(dir, "x"), "other")
	if err := nolinks.Run(t, syscall.EPERM, p.Commit); !errors.Is(err, ErrExists) {
		t.Errorf("%v", err)
	}
	checkFolder(t, "in the end", dir, map[string]string{"x": "other"})
}
