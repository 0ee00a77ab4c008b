package datasettest

import (
	"bytes"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
)

// AsError returns err as a *dataset.Error that names that path, and no place that there cannot be: a line is from 1, a
// row from 0, and there is only one of them.
func AsError(t testing.TB, err error, path string) *dataset.Error {
	t.Helper()
	var e *dataset.Error
	switch {
	case !errors.As(err, &e):
		t.Fatalf("%T %v; expected a *dataset.Error", err, err)
	case e.Path != path || e.Problem == "" || !strings.HasPrefix(e.Error(), path):
		t.Fatalf("%#v; expected one that names %s", e, path)
	case e.Line < 0 || e.Row < -1 || e.Line > 0 && e.Row >= 0:
		t.Fatalf("%#v: no such place", e)
	}
	return e
}

// runtimeAllocations is what Go's runtime may allocate beside f.
const runtimeAllocations = 1 << 16

// Allocates calls f, and fails where it allocates more than that many bytes. Goroutines of the tests and of the fuzzer
// allocate too, so f is called again where there was more: it fails if all of twenty calls took more. Under -race nothing
// is asserted: the race detector's allocations count too.
func Allocates(t testing.TB, limit int, f func()) {
	t.Helper()
	least := uint64(math.MaxUint64)
	for range 20 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		if least = min(least, after.TotalAlloc-before.TotalAlloc); underRace || least <= uint64(limit+runtimeAllocations) {
			return
		}
	}
	t.Fatalf("%d bytes were allocated; at most %d were expected", least, limit)
}

// EachCut calls f for every proper prefix of data.
func EachCut(data []byte, f func(n int, cut []byte)) {
	for n := range data {
		f(n, bytes.Clone(data[:n]))
	}
}

// List gives all ids.
func List(t testing.TB, ids dataset.IDs) []string {
	t.Helper()
	var err error
	all := slices.Collect(ids.All(&err))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// CheckIDs compares ids with those expected, in order, by every way there is to ask for them.
func CheckIDs(t testing.TB, ids dataset.IDs, want []string) {
	t.Helper()
	if got := List(t, ids); !slices.Equal(got, want) || ids.Len() != len(want) || ids.Name() == "" {
		t.Fatalf("%q, of length %d and name %q; expected %q", got, ids.Len(), ids.Name(), want)
	}
	var err error
	for id := range ids.All(&err) {
		if id != want[0] {
			t.Fatalf("a second time the first is %q; expected %q", id, want[0])
		}
		break
	}
	wanted, all := map[string]bool{strings.Join(want, "") + "x": true}, map[int]bool{-1: true, len(want): true}
	for i, id := range want {
		wanted[id], all[i] = true, true
	}
	rows, err2 := ids.Rows(wanted)
	of, err3 := ids.OfRows(all)
	if err := errors.Join(err, err2, err3); err != nil || len(rows) != len(want) || len(of) != len(want) {
		t.Fatalf("%d rows of %d ids, %d ids of their rows, %v", len(rows), len(want), len(of), err)
	}
	for i, id := range want {
		if rows[id] != i || of[i] != id {
			t.Fatalf("id %q is in row %d, and row %d is %q; expected %d", id, rows[id], i, of[i], i)
		}
	}
	last := len(want) - 1
	if rows, err := ids.Rows(map[string]bool{want[last]: true}); err != nil || len(rows) != 1 || rows[want[last]] != last {
		t.Fatalf("the row of %q alone: %v, %v", want[last], rows, err)
	}
	if of, err := ids.OfRows(map[int]bool{last: true}); err != nil || len(of) != 1 || of[last] != want[last] {
		t.Fatalf("the id of row %d alone: %v, %v", last, of, err)
	}
}
