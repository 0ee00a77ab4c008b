package objstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/storetest"
)

// Where this variable is set, the test binary is a process that puts objects; its value says in which way.
const childVariable = "QUARRY_OBJSTORE_CHILD"

func TestMain(m *testing.M) {
	switch what := os.Getenv(childVariable); what {
	case "":
		os.Exit(m.Run())
	case "race":
		os.Exit(race(os.Args[1], os.Args[2]))
	case "hang":
		os.Exit(hang(os.Args[1]))
	default:
		fmt.Fprintln(os.Stderr, what, "is not known")
		os.Exit(2)
	}
}

// race puts an object of its own bytes for each key that it reads from standard input, and prints whether it won or
// lost.
func race(dir, name string) int {
	s, err := objstore.OpenFile(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		key := lines.Text()
		switch err := s.PutNew(context.Background(), key, strings.NewReader(strings.Repeat(name, 100_000))); {
		case err == nil:
			fmt.Println("won")
		case errors.Is(err, objstore.ErrExists):
			fmt.Println("lost")
		default:
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

// hang puts an object whose body never ends.
func hang(dir string) int {
	s, err := objstore.OpenFile(dir)
	if err == nil {
		err = s.Put(context.Background(), "k", &endless{})
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

type endless struct{ said bool }

func (e *endless) Read(p []byte) (int, error) {
	if e.said {
		select {}
	}
	fmt.Println("writing")
	e.said = true
	return len(p), nil
}

func (e *endless) Seek(int64, int) (int64, error) { return 0, nil }

// child starts this test binary as a process, and returns once it has printed its first line.
func child(t *testing.T, what string, arguments ...string) (*exec.Cmd, io.WriteCloser, *bufio.Scanner) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], arguments...)
	c.Env = append(os.Environ(), childVariable+"="+what)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the process said nothing: %v", c.Wait())
	}
	return c, in, lines
}

// TestFileProcesses has several processes put the same new keys. For each key exactly one process wins, and its bytes
// are there whole.
func TestFileProcesses(t *testing.T) {
	const processes, keys = 6, 40
	dir := t.TempDir()
	in := make([]io.WriteCloser, processes)
	out := make([]*bufio.Scanner, processes)
	children := make([]*exec.Cmd, processes)
	for i := range processes {
		children[i], in[i], out[i] = child(t, "race", dir, string(rune('a'+i)))
	}
	s := openFile(t, dir)
	for k := range keys {
		key := fmt.Sprintf("%d/new", k%7) // some keys are raced for once they are there
		for _, w := range in {
			if _, err := fmt.Fprintln(w, key); err != nil {
				t.Fatal(err)
			}
		}
		won := ""
		for i, lines := range out {
			if !lines.Scan() {
				t.Fatalf("process %d ended", i)
			}
			if lines.Text() == "won" {
				won += string(rune('a' + i))
			}
		}
		if first := k < 7; first && len(won) != 1 || !first && won != "" {
			t.Fatalf("%s, time %d: %q won", key, k/7, won)
		}
		if won != "" {
			if b, _, err := objstore.ReadAll(t.Context(), s, key, 1<<20); err != nil || string(b) != strings.Repeat(won, 100_000) {
				t.Errorf("%s does not hold the bytes of %s: %d bytes, %v", key, won, len(b), err)
			}
		}
	}
	for i, c := range children {
		if err := errors.Join(in[i].Close(), c.Wait()); err != nil {
			t.Error(err)
		}
	}
	checkTemporary(t, dir, 0)
}

// checkTemporary fails where there is another number of temporary files.
func checkTemporary(t *testing.T, dir string, want int) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, ".tmp"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(entries) != want {
		t.Errorf("%d temporary files, %v; expected %d", len(entries), err, want)
	}
}

// TestFileKilled kills a process while it writes. No object is there, and the file that it left is removed once it is a
// day old.
func TestFileKilled(t *testing.T) {
	dir := t.TempDir()
	c, _, _ := child(t, "hang", dir)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	s := openFile(t, dir)
	for o, err := range s.List(t.Context(), "", "") {
		t.Errorf("listed: %v, %v", o, err)
	}
	if _, err := s.Head(t.Context(), "k"); !errors.Is(err, objstore.ErrNotExist) {
		t.Error(err)
	}
	checkTemporary(t, dir, 1)
	left, err := filepath.Glob(filepath.Join(dir, ".tmp", ".*"))
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	old := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(left[0], old, old); err != nil {
		t.Fatal(err)
	}
	openFile(t, dir)
	checkTemporary(t, dir, 0)
}

// TestFileLeavesNothing makes puts fail in several ways. No temporary file is left.
func TestFileLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openFile(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	for _, put := range []func(context.Context, string, io.ReadSeeker) error{s.Put, s.PutNew} {
		if err := put(ctx, "a/b", &broken{strings.NewReader("x"), func() error { return io.ErrNoProgress }}); !errors.Is(err, io.ErrNoProgress) {
			t.Error(err)
		}
	}
	stop := func() error { cancel(); return nil }
	if err := s.Put(ctx, "a/b", &broken{strings.NewReader("x"), stop}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.Put(t.Context(), "k", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.PutNew(t.Context(), "k", strings.NewReader("x")); !errors.Is(err, objstore.ErrExists) {
		t.Error(err)
	}
	// A file is where a folder has to be, or a folder is where the file has to be.
	for _, key := range []string{"k/l", "k/l/m", "a"} {
		for _, put := range []func(context.Context, string, io.ReadSeeker) error{s.Put, s.PutNew} {
			err := put(t.Context(), key, strings.NewReader("x"))
			if err == nil || errors.Is(err, objstore.ErrExists) && key != "a" || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), ".tmp") {
				t.Errorf("%s: %v", key, err)
			}
		}
	}
	checkTemporary(t, dir, 0)
	var keys []string
	for o, err := range s.List(t.Context(), "", "") {
		keys = append(keys, o.Key)
		if err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(keys, []string{"k"}) {
		t.Errorf("there are %q", keys)
	}
}

// broken is a body that calls a function at its end.
type broken struct {
	io.ReadSeeker
	then func() error
}

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.ReadSeeker.Read(p)
	if n > 0 {
		return n, nil
	}
	if e := b.then(); e != nil {
		return 0, e
	}
	return 0, err
}

// TestFileForeign has things in the folder that no Put made. Files among them are objects; links, folders and pipes are
// not.
func TestFileForeign(t *testing.T) {
	dir := t.TempDir()
	s := openFile(t, dir)
	if err := s.Put(t.Context(), "in/k", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	for _, err := range []error{
		os.WriteFile(outside, []byte("x"), 0o644),
		os.WriteFile(filepath.Join(dir, "by-hand"), []byte("yz"), 0o644),
		os.Symlink(outside, filepath.Join(dir, "in", "link")),
		os.Symlink(filepath.Dir(outside), filepath.Join(dir, "linked")),
		os.Mkdir(filepath.Join(dir, "empty"), 0o755),
		os.Mkdir(filepath.Join(filepath.Dir(outside), "folder"), 0o755),
		os.WriteFile(filepath.Join(filepath.Dir(outside), "folder", "k"), []byte("x"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var keys []string
	for o, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Error(err)
		}
		keys = append(keys, o.Key)
	}
	if !slices.Equal(keys, []string{"by-hand", "in/k"}) {
		t.Errorf("there are %q", keys)
	}
	for prefix, want := range map[string]string{"": "[in]", "linked/": "[]", "empty/": "[]", "in/": "[]"} {
		names := []string{}
		for name, err := range s.Folders(t.Context(), prefix, "") {
			if err != nil {
				t.Error(err)
			}
			names = append(names, name)
		}
		if fmt.Sprint(names) != want {
			t.Errorf("folders below %q are %q, expected %s", prefix, names, want)
		}
	}
	for _, key := range []string{"in/link", "empty", "linked"} {
		if _, err := s.Head(t.Context(), key); !errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("head of %s: %v", key, err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("delete of %s: %v", key, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, key)); err != nil {
			t.Errorf("deleted, and no object: %v", err)
		}
	}
	// Put refuses what List would not find.
	for _, key := range []string{"linked/x", "linked/new/x"} {
		for _, put := range []func(context.Context, string, io.ReadSeeker) error{s.Put, s.PutNew} {
			if err := put(t.Context(), key, strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "linked")+" is a link") {
				t.Errorf("put of %s: %v", key, err)
			}
		}
	}
	if there, err := os.ReadDir(filepath.Dir(outside)); err != nil || len(there) != 2 {
		t.Errorf("put by way of a link: %v, %v", there, err)
	}
	for _, key := range []string{".tmp", ".tmp/x", ".TMP/x"} {
		if err := s.Put(t.Context(), key, strings.NewReader("x")); !errors.Is(err, objstore.ErrKey) {
			t.Errorf("put of %s: %v", key, err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "by-hand"), 1<<20); err != nil {
		t.Fatal(err)
	}
	r, _, err := s.Get(t.Context(), "by-hand", 0, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := os.Truncate(filepath.Join(dir, "by-hand"), 10); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) || len(b) != 10 {
		t.Errorf("a file that was cut while it was read: %d bytes, %v", len(b), err)
	}
}

// TestFileEmptiedFolders deletes the last object of a folder while another object is put into it.
func TestFileEmptiedFolders(t *testing.T) {
	dir := t.TempDir()
	storetest.DeleteBesidePut(t, openFile(t, dir))
	checkTemporary(t, dir, 0)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left are %v, %v; expected .tmp alone", entries, err)
	}
}

// TestFileFolderRemoved removes folders each time a Put reads to its body's end. Put makes the object's folder again.
// Where .tmp is removed each time, Put fails.
func TestFileFolderRemoved(t *testing.T) {
	dir := t.TempDir()
	s := openFile(t, dir)
	for _, put := range []func(context.Context, string, io.ReadSeeker) error{s.Put, s.PutNew} {
		body := &broken{strings.NewReader("x"), func() error { return os.Remove(filepath.Join(dir, "folder")) }}
		if err := put(t.Context(), "folder/k", body); err != nil {
			t.Error(err)
		}
		if b, _, err := objstore.ReadAll(t.Context(), s, "folder/k", 10); err != nil || string(b) != "x" {
			t.Errorf("put %q, %v", b, err)
		}
		if err := s.Delete(t.Context(), "folder/k"); err != nil {
			t.Error(err)
		}
		tries := 0
		body.then = func() error { tries++; return os.RemoveAll(filepath.Join(dir, ".tmp")) }
		if err := put(t.Context(), "folder/k", body); err == nil || tries < 2 {
			t.Errorf("a Put whose temporary file went each time it tried, %d times: %v", tries, err)
		}
		if _, err := s.Head(t.Context(), "folder/k"); !errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("it is there: %v", err)
		}
	}
}

// TestFileDenied has files and folders whose mode denies the access. It needs a user other than root.
func TestFileDenied(t *testing.T) {
	if os.Getuid() <= 0 {
		t.Skip("root, and Windows, are not stopped by a file's mode")
	}
	dir := t.TempDir()
	s := openFile(t, dir)
	if err := s.Put(t.Context(), "a/k", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "a", "k"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "a"), 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "a"), 0o755) })
	_, _, err := s.Get(t.Context(), "a/k", 0, "")
	for what, err := range map[string]error{
		"get": err, "put": s.Put(t.Context(), "a/l", strings.NewReader("x")), "put new": s.PutNew(t.Context(), "a/l", strings.NewReader("x")),
		"delete": s.Delete(t.Context(), "a/k"),
	} {
		if !errors.Is(err, objstore.ErrDenied) {
			t.Errorf("%s: %v", what, err)
		}
	}
	checkTemporary(t, dir, 0)
}

func TestOpen(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	t.Setenv("AWS_REGION", "us-east-1")
	dir := t.TempDir()
	name := filepath.Join(dir, "a file")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{
		"s3://bucket": "s3://bucket", "s3://bucket/": "s3://bucket", "s3://b/a/b%20/": "s3://b/a/b%20",
		dir: dir, "file://" + filepath.ToSlash(dir) + "/a%20b": filepath.Join(dir, "a b"), dir + "/x/": filepath.Join(dir, "x"),
	} {
		if s, err := objstore.Open(t.Context(), at); err != nil || s.URL() != want {
			t.Errorf("%s: %v, %v; expected %s", at, s, err, want)
		}
	}
	for at, says := range map[string]string{
		"": "name s3://", "gs://bucket/x": "s3://bucket/prefix, file:///folder", "s3://": "no bucket", "s3:///x": "no bucket",
		"file://elsewhere/x": "not a folder of this machine", name: "it is a file", "file://": "not a folder",
	} {
		if s, err := objstore.Open(t.Context(), at); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, %v; expected an error that says %q", at, s, err, says)
		}
	}
}
