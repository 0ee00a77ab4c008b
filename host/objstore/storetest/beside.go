package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/host/objstore"
)

// putNewRaced has 32 goroutines put their own bytes at once. One wins, all others get ErrExists, and the bytes are the
// winner's.
func putNewRaced(t *testing.T, s objstore.Store) {
	const racers = 32
	for round := range 4 {
		key := fmt.Sprintf("race/%d", round)
		errs := make([]error, racers)
		start := make(chan struct{})
		var all sync.WaitGroup
		for i := range racers {
			all.Go(func() {
				<-start
				errs[i] = s.PutNew(t.Context(), key, strings.NewReader(bytesOf(i)))
			})
		}
		close(start)
		all.Wait()
		won := -1
		for i, err := range errs {
			switch {
			case err == nil && won < 0:
				won = i
			case err == nil:
				t.Errorf("%d and %d both won", won, i)
			case !errors.Is(err, objstore.ErrExists):
				t.Errorf("%d: %v", i, err)
			}
		}
		if won < 0 {
			t.Fatal("nobody won")
		}
		if content, _ := get(t, s, key, 0, ""); content != bytesOf(won) {
			t.Errorf("the winner's bytes are not there whole: %d bytes", len(content))
		}
	}
}

func bytesOf(i int) string { return strings.Repeat(string(rune('A'+i)), 100_000+i) }

// replacedWhileRead goes on with a read after the object was replaced. The read gives bytes of the old object or fails;
// it never gives bytes of the new one.
func replacedWhileRead(t *testing.T, s objstore.Store) {
	old := strings.Repeat("o", 8<<20)
	put(t, s, "k", old)
	r, o, err := s.Get(t.Context(), "k", 0, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	first := make([]byte, 1000)
	if _, err := io.ReadFull(r, first); err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", strings.Repeat("n", 8<<20))
	rest, err := io.ReadAll(r)
	if strings.Trim(string(first)+string(rest), "o") != "" {
		t.Error("a read gave bytes of two objects")
	}
	if err == nil && len(first)+len(rest) != len(old) {
		t.Errorf("%d bytes, and no error", len(rest))
	}
	_, _, err = s.Get(t.Context(), "k", 1000, o.ETag)
	fails(t, "what was replaced", err, objstore.ErrChanged)
}

// replacedWhole reads an object while two contents are put in turns. Each read gives one of them whole.
func replacedWhole(t *testing.T, s objstore.Store) {
	contents := []string{strings.Repeat("x", 300_000), strings.Repeat("y", 200_000)}
	put(t, s, "k", contents[0])
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				b, _, err := objstore.ReadAll(t.Context(), s, "k", 1<<20)
				if err != nil && !errors.Is(err, objstore.ErrChanged) || err == nil && !slices.Contains(contents, string(b)) {
					t.Errorf("read %d bytes, %v", len(b), err)
					return
				}
			}
		})
	}
	rounds := 40
	if testing.Short() {
		rounds = 12
	}
	for i := range rounds {
		put(t, s, "k", contents[i%2])
	}
	cancel()
	readers.Wait()
}

// deleteBesidePut deletes objects while others are put beside them. No Put fails, and no object is lost. One object of
// the folder stays throughout: where a Delete removes the last object of a folder, versitygw 1.8.0 sometimes answers a
// Put beside it with 409 ExistingObjectIsDirectory. S3 itself has no folders.
func deleteBesidePut(t *testing.T, s objstore.Store) {
	put(t, s, "deep/folder/stays", "x")
	DeleteBesidePut(t, s)
	if keys := list(t, s, "", ""); !slices.Equal(keys, []string{"deep/folder/stays"}) {
		t.Errorf("left are %q", keys)
	}
}

// DeleteBesidePut puts and deletes objects of one folder at once.
func DeleteBesidePut(t *testing.T, s objstore.Store) {
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range rounds {
				key := fmt.Sprintf("deep/folder/%d", w)
				if err := s.Put(t.Context(), key, strings.NewReader("x")); err != nil {
					t.Errorf("put %d: %v", i, err)
				}
				if _, err := s.Head(t.Context(), key); err != nil {
					t.Errorf("head %d: %v", i, err)
				}
				if err := s.Delete(t.Context(), key); err != nil {
					t.Errorf("delete %d: %v", i, err)
				}
			}
		})
	}
	all.Wait()
}
