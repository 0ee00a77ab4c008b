package objstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quarry-hn/quarry/host/objstore"
)

var errCut = errors.New("the line was cut")

// flaky is a store whose reads fail after some bytes, each with the next error of a list. Once the list is empty, reads
// are whole.
type flaky struct {
	objstore.Store
	after int64
	errs  []error
	gets  []int64 // where each Get began
	then  func()  // called at each cut
}

func (f *flaky) Get(ctx context.Context, key string, from int64, of string) (io.ReadCloser, objstore.Object, error) {
	f.gets = append(f.gets, from)
	r, o, err := f.Store.Get(ctx, key, from, of)
	if err != nil || len(f.errs) == 0 {
		return r, o, err
	}
	err = f.errs[0]
	f.errs = f.errs[1:]
	if f.then != nil {
		f.then()
	}
	cut := io.MultiReader(io.LimitReader(r, f.after), failsWith{err})
	return struct {
		io.Reader
		io.Closer
	}{cut, r}, o, nil
}

type failsWith struct{ err error }

func (f failsWith) Read([]byte) (int, error) { return 0, f.err }

func errs(n int, err error) []error {
	all := make([]error, n)
	for i := range all {
		all[i] = err
	}
	return all
}

func memoryWith(t *testing.T, content string) objstore.Store {
	s := objstore.NewMemory()
	if err := s.Put(t.Context(), "k", strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFetch cuts reads. All bytes come nevertheless, and none is read twice.
func TestFetch(t *testing.T) {
	const content = "0123456789"
	for _, c := range []struct {
		after int64
		cuts  int
		gets  string
	}{
		{0, 0, "[0]"},
		{0, 5, "[0 0 0 0 0 0]"}, // the sixth brings all of it
		{1, 9, "[0 1 2 3 4 5 6 7 8 9]"},
		{3, 2, "[0 3 6]"},
		{9, 1, "[0 9]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			for _, err := range []error{errCut, io.ErrUnexpectedEOF, fmt.Errorf("wrapped: %w", io.ErrUnexpectedEOF)} {
				f := &flaky{Store: memoryWith(t, content), after: c.after, errs: errs(c.cuts, err)}
				var b bytes.Buffer
				o, err := objstore.Fetch(t.Context(), f, "k", &b)
				if err != nil || b.String() != content || o.Size != 10 || fmt.Sprint(f.gets) != c.gets {
					t.Errorf("%d cuts after %d bytes: %q, %+v, %v, read from %v; expected %s", c.cuts, c.after, b.String(), o, err, f.gets, c.gets)
				}
			}
		})
	}
}

func TestFetchFails(t *testing.T) {
	const content = "0123456789"
	replaced := func(t *testing.T, f *flaky) func() {
		return func() {
			if err := f.Store.Put(t.Context(), "k", strings.NewReader("abcdefghij")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for what, c := range map[string]struct {
		key    string
		after  int64
		errs   []error
		change bool
		is     error
		gets   string
		got    string
	}{
		"no byte comes":                         {"k", 0, errs(9, errCut), false, errCut, "[0 0 0 0 0 0]", ""},
		"no byte comes any more":                {"k", 4, append(errs(1, errCut), errs(9, errCut)...), false, errCut, "", ""},
		"it is not there":                       {"no", 0, nil, false, objstore.ErrNotExist, "[0]", ""},
		"it is no key":                          {"../k", 0, nil, false, objstore.ErrKey, "[0]", ""},
		"it changes once some of it is written": {"k", 4, errs(1, errCut), true, objstore.ErrChanged, "[0 4]", "0123"},
		"it changes before":                     {"k", 0, errs(1, errCut), true, nil, "[0 0 0]", "abcdefghij"},
		"all came, and the checksum is wrong":   {"k", 10, errs(1, errCut), false, errCut, "[0]", content},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &flaky{Store: memoryWith(t, content), after: c.after, errs: c.errs}
			if c.change {
				f.then = replaced(t, f)
			}
			if what == "no byte comes any more" {
				f.then = func() {
					if len(f.gets) > 1 {
						f.after = 0
					}
				}
				c.gets, c.got = "[0 4 4 4 4 4]", "0123"
			}
			var b bytes.Buffer
			_, err := objstore.Fetch(t.Context(), f, c.key, &b)
			if !errors.Is(err, c.is) || fmt.Sprint(f.gets) != c.gets || b.String() != c.got {
				t.Errorf("%s: %v after reads from %v, %q; expected %v, %s, %q", what, err, f.gets, b.String(), c.is, c.gets, c.got)
			}
		})
	}
}

// TestFetchCancelled ends the context during a pause.
func TestFetchCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
		defer cancel()
		start := time.Now()
		f := &flaky{Store: memoryWith(t, "x"), errs: errs(100, errCut)}
		_, err := objstore.Fetch(ctx, f, "k", io.Discard)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errCut) || time.Since(start) > 600*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestFetchCancelledInARead ends the context during the third read. The error is the context's, and says what cut the
// second read.
func TestFetchCancelledInARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := &flaky{Store: memoryWith(t, "0123456789"), after: 2, errs: errs(3, errCut)}
		f.then = func() {
			if len(f.gets) == 3 {
				cancel()
			}
		}
		if _, err := objstore.Fetch(ctx, f, "k", io.Discard); !errors.Is(err, context.Canceled) || !errors.Is(err, errCut) || len(f.gets) != 3 {
			t.Errorf("%v", err)
		}
	})
}

type full struct{ err error }

func (f full) Write(p []byte) (int, error) { return len(p) / 2, f.err }

func TestFetchWriter(t *testing.T) {
	f := &flaky{Store: memoryWith(t, "0123456789")}
	errFull := errors.New("the disk is full")
	if _, err := objstore.Fetch(t.Context(), f, "k", full{errFull}); !errors.Is(err, errFull) || len(f.gets) != 1 {
		t.Errorf("%v, after reads from %v", err, f.gets)
	}
}

func TestReadAll(t *testing.T) {
	s := memoryWith(t, "0123456789")
	for limit, fits := range map[int64]bool{0: false, 9: false, 10: true, 1 << 40: true} {
		b, o, err := objstore.ReadAll(t.Context(), s, "k", limit)
		if fits && (err != nil || string(b) != "0123456789" || o.Key != "k") || !fits && !errors.Is(err, objstore.ErrTooLarge) {
			t.Errorf("at most %d bytes: %q, %+v, %v", limit, b, o, err)
		}
	}
}

// nameless is a store whose objects have no ETag.
type nameless struct{ objstore.Store }

func (n nameless) Get(ctx context.Context, key string, from int64, _ string) (io.ReadCloser, objstore.Object, error) {
	r, o, err := n.Store.Get(ctx, key, from, "")
	o.ETag = ""
	return r, o, err
}

// TestFetchWithoutETag replaces an object while it is read, in a store without ETags. Nothing tells the two objects
// apart, so Fetch does not go on: it would join parts of both.
func TestFetchWithoutETag(t *testing.T) {
	for _, now := range []string{"ab", "abcdefghij"} {
		synctest.Test(t, func(t *testing.T) {
			s := memoryWith(t, "0123456789")
			f := &flaky{Store: nameless{s}, after: 4, errs: errs(1, io.ErrUnexpectedEOF)}
			f.then = func() {
				if err := s.Put(t.Context(), "k", strings.NewReader(now)); err != nil {
					t.Error(err)
				}
			}
			if b, o, err := objstore.ReadAll(t.Context(), f, "k", 100); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%q, %+v, %v", b, o, err)
			}
		})
	}
}
