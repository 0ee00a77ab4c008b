package dataset

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

// oneFile is a file system of one file.
func oneFile(name string, data []byte) fstest.MapFS {
	return fstest.MapFS{name: &fstest.MapFile{Data: data}}
}

// asError returns err as an *Error that names the file, and a place in it where one is meant: a line from 1, or a row from 0.
func asError(t testing.TB, err error, path string) *Error {
	t.Helper()
	var e *Error
	switch {
	case !errors.As(err, &e):
		t.Fatalf("%T %v; expected an *Error", err, err)
	case e.Path != path || e.Problem == "" || !strings.HasPrefix(e.Error(), path):
		t.Fatalf("%#v; expected one that names %s", e, path)
	case e.Line < 0 || e.Row < -1 || e.Line > 0 && e.Row >= 0:
		t.Fatalf("%#v: no such place", e)
	}
	return e
}

// otherAllocations is what the process may allocate beside f: goroutines of the tests and of the fuzzer run too.
const otherAllocations = 1 << 16

// allocates calls f, and fails where it allocates more than that many bytes. Under -race nothing is asserted: the race detector's allocations
// count too.
func allocates(t testing.TB, limit int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; !underRace && n > uint64(limit+otherAllocations) {
		t.Fatalf("%d bytes were allocated; at most %d were expected", n, limit)
	}
}

// line is a line of a text file that is not empty, and its number.
type line struct {
	number int
	text   string
}

// simpleLines splits a text: lines end with a newline, before which there may be a CR, or two, as in a file that was converted
// twice; empty ones do not count, nor does a byte order mark.
func simpleLines(data []byte) (lines []line) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for i, text := range strings.Split(string(data), "\n") {
		if text = strings.TrimSuffix(strings.TrimSuffix(text, "\r"), "\r"); text != "" {
			lines = append(lines, line{i + 1, text})
		}
	}
	return lines
}

// eachCut calls f for every proper prefix of data.
func eachCut(data []byte, f func(n int, cut []byte)) {
	for n := range data {
		f(n, bytes.Clone(data[:n]))
	}
}
