package objstore_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/internal/nolinks"
	"github.com/quarry-hn/quarry/host/objstore"
)

// TestFolderWithoutLinks has a file system without hard links. Put works, and PutNew says that it needs links. Some
// systems answer that the permission is denied, which would mislead.
func TestFolderWithoutLinks(t *testing.T) {
	s, err := objstore.OpenFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, with := range []syscall.Errno{syscall.EPERM, syscall.ENOTSUP} {
		err := nolinks.Run(t, with, func() error { return s.PutNew(t.Context(), "a/b", strings.NewReader("new")) })
		if !errors.Is(err, atomicfile.ErrNoLinks) || errors.Is(err, objstore.ErrDenied) || errors.Is(err, objstore.ErrExists) {
			t.Errorf("%v", err)
		}
		if _, err := s.Head(t.Context(), "a/b"); !errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("a put that failed left something: %v", err)
		}
	}
	if err := nolinks.Run(t, syscall.EPERM, func() error { return s.Put(t.Context(), "a/b", strings.NewReader("put")) }); err != nil {
		t.Error(err)
	}
	if b, _, err := objstore.ReadAll(t.Context(), s, "a/b", 10); string(b) != "put" {
		t.Errorf("%q, %v", b, err)
	}
}
