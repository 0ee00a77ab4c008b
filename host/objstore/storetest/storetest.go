// Package storetest is what every objstore.Store has to do, as tests.
//
// Input: a function that opens an empty store; the tests of objstore call Run for each of its stores.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/s3server"
)

// Run tests a store. open gives an empty one for each test.
func Run(t *testing.T, open func(t *testing.T) objstore.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s objstore.Store)
	}{
		{"put and get", putAndGet},
		{"ranges", ranges},
		{"missing", missing},
		{"keys that are not valid", invalidKeys},
		{"odd keys", oddKeys},
		{"etags", etags},
		{"put new", putNew},
		{"put new, raced", putNewRaced},
		{"body from its position", bodyFromPosition},
		{"body that fails", bodyFails},
		{"replaced while read", replacedWhileRead},
		{"replaced whole", replacedWhole},
		{"order", order},
		{"pages", pages},
		{"folders", folders},
		{"folders, many", manyFolders},
		{"delete", deleted},
		{"delete beside put", deleteBesidePut},
		{"cancelled", cancelled},
		{"sub", sub},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			s := open(t)
			for o, err := range s.List(ctx, "", "") {
				t.Fatalf("the store to be tested is not empty: %v, %v", o, err)
			}
			c.test(t, s)
		})
	}
}

// S3 starts a server for a test, and sets the environment so that it is used. Where the server is not built the test is
// skipped.
func S3(t *testing.T) *s3server.Server {
	t.Helper()
	server, err := s3server.Start(t.Context(), t.TempDir())
	if errors.Is(err, s3server.ErrNoProgram) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	server.Setenv(t.Setenv)
	return server
}

func put(t *testing.T, s objstore.Store, key, content string) {
	t.Helper()
	if err := s.Put(t.Context(), key, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

// get reads an object from byte from on.
func get(t *testing.T, s objstore.Store, key string, from int64, etag string) (string, objstore.Object) {
	t.Helper()
	r, o, err := s.Get(t.Context(), key, from, etag)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if e := r.Close(); err != nil || e != nil {
		t.Fatalf("reading %s: %v, closing it: %v", key, err, e)
	}
	return string(b), o
}

func list(t *testing.T, s objstore.Store, prefix, after string) []string {
	t.Helper()
	var keys []string
	for o, err := range s.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// fails checks that err is of a kind, and that its text has all of names.
func fails(t *testing.T, what string, err, kind error, names ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v; expected %v", what, err, kind)
		return
	}
	for _, name := range names {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error does not name %q: %v", what, name, err)
		}
	}
	if text := err.Error(); strings.Contains(text, "operation error") || len(text) > 700 {
		t.Errorf("%s: the error is not for people: %v", what, text)
	}
}

func putAndGet(t *testing.T, s objstore.Store) {
	large := strings.Repeat("0123456789abcdef", 200_000)
	for _, c := range []struct{ key, content string }{{"empty", ""}, {"one", "x"}, {"deep/er/er", "hello"}, {"large", large}} {
		put(t, s, c.key, c.content)
		content, o := get(t, s, c.key, 0, "")
		if content != c.content {
			t.Errorf("%s holds %d bytes; %d were put", c.key, len(content), len(c.content))
		}
		if age := time.Since(o.Modified); age.Abs() > time.Hour || o.Modified.Location() != time.UTC {
			t.Errorf("%s was put now, and is said to be of %v", c.key, o.Modified)
		}
		if o.Key != c.key || o.Size != int64(len(c.content)) || o.ETag == "" {
			t.Errorf("get of %s says %+v", c.key, o)
		}
		head, err := s.Head(t.Context(), c.key)
		if err != nil || head != o {
			t.Errorf("head of %s: %+v, %v; get says %+v", c.key, head, err, o)
		}
		for listed, err := range s.List(t.Context(), c.key, "") {
			if err != nil || listed != o {
				t.Errorf("list of %s: %+v, %v; get says %+v", c.key, listed, err, o)
			}
		}
	}
}

func ranges(t *testing.T, s objstore.Store) {
	const content = "0123456789"
	put(t, s, "ten", content)
	put(t, s, "none", "")
	o, err := s.Head(t.Context(), "ten")
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"", o.ETag} {
		for _, from := range []int64{0, 1, 5, 9, 10, 11, 1 << 40} {
			part, got := get(t, s, "ten", from, of)
			if part != content[min(from, 10):] || got != o {
				t.Errorf("from %d: %q, %+v; expected %q, %+v", from, part, got, content[min(from, 10):], o)
			}
		}
	}
	for _, from := range []int64{0, 1} {
		if part, o := get(t, s, "none", from, ""); part != "" || o.Size != 0 {
			t.Errorf("an empty object from %d: %q, %+v", from, part, o)
		}
	}
	_, _, err = s.Get(t.Context(), "ten", -1, "")
	if err == nil {
		t.Error("a negative offset is no error")
	}
	_, _, err = s.Get(t.Context(), "ten", 11, "other")
	fails(t, "past the end, with another ETag", err, objstore.ErrChanged, "get", "ten")
}

func missing(t *testing.T, s objstore.Store) {
	put(t, s, "a/b", "x")
	for _, key := range []string{"no", "a", "a/no", "a/b/c"} {
		_, err := s.Head(t.Context(), key)
		fails(t, "head of "+key, err, objstore.ErrNotExist, "head", key)
		for _, from := range []int64{0, 3} {
			_, _, err = s.Get(t.Context(), key, from, "")
			fails(t, "get of "+key, err, objstore.ErrNotExist, "get", key)
		}
		_, _, err = s.Get(t.Context(), key, 0, "1234")
		fails(t, "get with an ETag of "+key, err, objstore.ErrNotExist, "get", key)
	}
	if keys := list(t, s, "no", ""); keys != nil {
		t.Errorf("a prefix of nothing lists %q", keys)
	}
}

func invalidKeys(t *testing.T, s objstore.Store) {
	for _, key := range []string{"", ".", "..", "/", "/a", "a/", "a//b", "a/./b", "../a", "a/../../b", "a/..", "a\x00b", "a\xffb", strings.Repeat("a/", 50_000)} {
		_, err := s.Head(t.Context(), key)
		fails(t, fmt.Sprintf("head of %.20q", key), err, objstore.ErrKey, "head")
		_, _, err = s.Get(t.Context(), key, 0, "")
		fails(t, fmt.Sprintf("get of %.20q", key), err, objstore.ErrKey, "get")
		fails(t, fmt.Sprintf("put of %.20q", key), s.Put(t.Context(), key, strings.NewReader("x")), objstore.ErrKey, "put")
		fails(t, fmt.Sprintf("put new of %.20q", key), s.PutNew(t.Context(), key, strings.NewReader("x")), objstore.ErrKey, "put")
		fails(t, fmt.Sprintf("delete of %.20q", key), s.Delete(t.Context(), key), objstore.ErrKey, "delete")
	}
	if keys := list(t, s, "", ""); keys != nil {
		t.Errorf("they were put: %q", keys)
	}
}

// odd are valid keys with characters that have a meaning in URLs, in XML or in file systems.
var odd = []string{
	"a b", " a", "a ", "a+b", "a%20b", "a%2Fb", "a%", "100%/x", "ünïcödé/日本語", "😀", "a&b=c;d", "a?b", "a#b", "'a'", "(a)", "a!*", "~a", "a@b:c,d$e",
	"[a]", "{a}", "a^b|c`d", "a<b>\"c\"", "x=1/y=2.npy", "...", "a..b", ".hidden", "-", "a\tb", strings.Repeat("long", 60),
}

func oddKeys(t *testing.T, s objstore.Store) {
	for _, key := range odd {
		put(t, s, key, "of "+key)
		fails(t, "put new of "+key, s.PutNew(t.Context(), key, strings.NewReader("new")), objstore.ErrExists, "put", key)
	}
	want := slices.Sorted(slices.Values(odd))
	if keys := list(t, s, "", ""); !slices.Equal(keys, want) {
		t.Errorf("listed   %q\nexpected %q", keys, want)
	}
	for i, key := range want {
		if content, o := get(t, s, key, 0, ""); content != "of "+key || o.Key != key {
			t.Errorf("%q holds %q, and is said to be %q", key, content, o.Key)
		}
		if keys := list(t, s, key, ""); len(keys) == 0 || keys[0] != key {
			t.Errorf("with the prefix %q: %q", key, keys)
		}
		if keys := list(t, s, "", key); !slices.Equal(keys, want[i+1:]) {
			t.Errorf("after %q: %q", key, keys)
		}
	}
	for _, key := range odd {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if keys := list(t, s, "", ""); keys != nil {
		t.Errorf("deleted, and still there: %q", keys)
	}
}

func etags(t *testing.T, s objstore.Store) {
	seen := map[string]string{}
	for _, content := range []string{"", "a", "b", "ab", "ba", "c"} { // some of one size, soon after each other
		put(t, s, "k", content)
		_, o := get(t, s, "k", 0, "")
		if other, taken := seen[o.ETag]; taken {
			t.Errorf("%q and %q are both %s", other, content, o.ETag)
		}
		seen[o.ETag] = content
		if got, _ := get(t, s, "k", 0, o.ETag); got != content {
			t.Errorf("with ETag %s: %q, expected %q", o.ETag, got, content)
		}
	}
	for of, content := range seen {
		if content == "c" {
			continue
		}
		for _, from := range []int64{0, 1, 9} {
			_, _, err := s.Get(t.Context(), "k", from, of)
			fails(t, fmt.Sprintf("the object that held %q, from %d", content, from), err, objstore.ErrChanged, "get", "k")
		}
	}
}

func putNew(t *testing.T, s objstore.Store) {
	for _, key := range []string{"k", "in/a/folder"} {
		for _, content := range []string{"first", "second", ""} {
			err := s.PutNew(t.Context(), key, strings.NewReader(content))
			if content == "first" && err != nil {
				t.Fatal(err)
			}
			if content != "first" {
				fails(t, "put new, again", err, objstore.ErrExists, "put", key)
			}
		}
		if content, _ := get(t, s, key, 0, ""); content != "first" {
			t.Errorf("%s holds %q", key, content)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if err := s.PutNew(t.Context(), key, strings.NewReader("")); err != nil {
			t.Error("after a delete:", err)
		}
		fails(t, "put new over an empty object", s.PutNew(t.Context(), key, strings.NewReader("x")), objstore.ErrExists)
	}
}

func bodyFromPosition(t *testing.T, s objstore.Store) {
	for _, write := range []func(context.Context, string, io.ReadSeeker) error{s.Put, s.PutNew} {
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		body := strings.NewReader("0123456789")
		if _, err := body.Seek(4, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if err := write(t.Context(), "k", body); err != nil {
			t.Fatal(err)
		}
		if content, _ := get(t, s, "k", 0, ""); content != "456789" {
			t.Errorf("put from its fifth byte on: %q", content)
		}
	}
}

var errBody = errors.New("the body cannot be read")

// failing is a body whose reads fail in the middle.
type failing struct{ *bytes.Reader }

func (f failing) Read(p []byte) (int, error) {
	if f.Len() < 50_000 {
		return 0, errBody
	}
	return f.Reader.Read(p[:min(len(p), 1000)])
}

func (f failing) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{f})
}

func bodyFails(t *testing.T, s objstore.Store) {
	put(t, s, "there", "as it was")
	for _, key := range []string{"there", "new", "in/new"} {
		fails(t, "put "+key, s.Put(t.Context(), key, failing{bytes.NewReader(make([]byte, 100_000))}), errBody, "put", key)
	}
	if err := s.PutNew(t.Context(), "new", failing{bytes.NewReader(make([]byte, 100_000))}); !errors.Is(err, errBody) {
		t.Errorf("put new: %v", err)
	}
	if keys := list(t, s, "", ""); !slices.Equal(keys, []string{"there"}) {
		t.Errorf("there are %q", keys)
	}
	if content, _ := get(t, s, "there", 0, ""); content != "as it was" {
		t.Errorf("it holds %q", content)
	}
}

func deleted(t *testing.T, s objstore.Store) {
	for _, key := range []string{"a", "b/c/d", "b/c/e"} {
		put(t, s, key, key)
	}
	for _, key := range []string{"no", "b", "b/c", "b/c/no", "b/c/d/no", "no/no", "b/c/d", "b/c/d"} {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("delete of %s: %v", key, err)
		}
	}
	if keys := list(t, s, "", ""); !slices.Equal(keys, []string{"a", "b/c/e"}) {
		t.Errorf("left are %q", keys)
	}
	if err := s.Delete(t.Context(), "b/c/e"); err != nil {
		t.Error(err)
	}
	put(t, s, "b", "where a folder was") // a store may keep no empty folder
	if keys := list(t, s, "", ""); !slices.Equal(keys, []string{"a", "b"}) {
		t.Errorf("left are %q", keys)
	}
}

func cancelled(t *testing.T, s objstore.Store) {
	put(t, s, "k", "x")
	ctx, cancel := context.WithCancel(t.Context())
	r, _, err := s.Get(ctx, "k", 0, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	cancel()
	_, err = io.ReadAll(r)
	fails(t, "a read", err, context.Canceled, "get", "k")
	_, err = s.Head(ctx, "k")
	fails(t, "head", err, context.Canceled, "head", "k")
	_, _, err = s.Get(ctx, "k", 0, "")
	fails(t, "get", err, context.Canceled, "get", "k")
	fails(t, "put", s.Put(ctx, "new", strings.NewReader("x")), context.Canceled, "put", "new")
	fails(t, "put new", s.PutNew(ctx, "new", strings.NewReader("x")), context.Canceled, "put", "new")
	fails(t, "delete", s.Delete(ctx, "k"), context.Canceled, "delete", "k")
	fails(t, "list", lastOf(s.List(ctx, "", "")), context.Canceled, "list")
	fails(t, "folders", lastOf(s.Folders(ctx, "", "")), context.Canceled, "list")
	if keys := list(t, s, "", ""); !slices.Equal(keys, []string{"k"}) {
		t.Errorf("there are %q", keys)
	}
}

func sub(t *testing.T, s objstore.Store) {
	put(t, s, "a", "outside")
	put(t, s, "a-b/c", "outside")
	in := objstore.Sub(objstore.Sub(s, "a-b"), "/deep/")
	if !strings.HasSuffix(in.URL(), "a-b/deep") {
		t.Errorf("it is at %s", in.URL())
	}
	put(t, in, "k/l", "inside")
	put(t, in, "m", "inside")
	content, o := get(t, in, "k/l", 2, "")
	if head, err := in.Head(t.Context(), "k/l"); content != "side" || o.Key != "k/l" || err != nil || head != o {
		t.Errorf("%q, %+v, %+v, %v", content, o, head, err)
	}
	if keys := list(t, in, "", ""); !slices.Equal(keys, []string{"k/l", "m"}) {
		t.Errorf("inside are %q", keys)
	}
	if names := folderNames(t, in, "", ""); !slices.Equal(names, []string{"k"}) {
		t.Errorf("folders inside are %q", names)
	}
	if names := folderNames(t, in, "k/", ""); names != nil {
		t.Errorf("folders in a folder inside are %q", names)
	}
	if keys := list(t, in, "", "k/l"); !slices.Equal(keys, []string{"m"}) {
		t.Errorf("inside, after the first, are %q", keys)
	}
	if keys := list(t, s, "", ""); !slices.Equal(keys, []string{"a", "a-b/c", "a-b/deep/k/l", "a-b/deep/m"}) {
		t.Errorf("outside are %q", keys)
	}
	fails(t, "put new", in.PutNew(t.Context(), "m", strings.NewReader("x")), objstore.ErrExists, "a-b/deep/m")
	fails(t, "put outside", in.Put(t.Context(), "../c", strings.NewReader("x")), objstore.ErrKey)
	if err := in.Delete(t.Context(), "m"); err != nil {
		t.Error(err)
	}
	if objstore.Sub(s, "") != s {
		t.Error("an empty prefix makes another store")
	}
}
