package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/host/objstore"
)

// order lists objects in folders among others. By their bytes, a-b comes before a/b, which comes before a0.
func order(t *testing.T, s objstore.Store) {
	want := []string{"A", "a!/z", "a-b", "a-b.c/d", "a.b", "a/b", "a/b-c/d", "a/b.c", "a/c/d/e", "a/c0", "a0", "aa/b", "b", "z/ä", "ä/a", "日", "\U00010000"}
	for i := range want {
		put(t, s, want[(i*7)%len(want)], "x")
	}
	if !slices.IsSorted(want) {
		t.Fatal("the test's own list is not in order")
	}
	cuts := append(slices.Clone(want), "", "a", "a/", "a/b", "a-", "a/c", "a/c/", "a/c/d/f", "a/zz", "z/", "zz", "~", "a/b-c", "a/d/e/f")
	for _, prefix := range cuts {
		for _, after := range cuts {
			var expected []string
			for _, key := range want {
				if strings.HasPrefix(key, prefix) && key > after {
					expected = append(expected, key)
				}
			}
			if keys := list(t, s, prefix, after); !slices.Equal(keys, expected) {
				t.Errorf("prefix %q after %q: %q; expected %q", prefix, after, keys, expected)
			}
		}
	}
}

// pages lists more than two of S3's pages, and part of them. Under -short it lists more than one.
func pages(t *testing.T, s objstore.Store) {
	n := 2500
	if testing.Short() {
		n = 1100
	}
	key := func(i int) string { return fmt.Sprintf("shard-%d/part-%05d", i%3, i) }
	var want []string
	for i := range n {
		want = append(want, key(i))
	}
	slices.Sort(want)
	next := make(chan string)
	var putters sync.WaitGroup
	for range 8 {
		putters.Go(func() {
			for key := range next {
				if err := s.Put(t.Context(), key, strings.NewReader(key)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range n {
		next <- key(i)
	}
	close(next)
	putters.Wait()
	if keys := list(t, s, "", ""); !slices.Equal(keys, want) {
		t.Fatalf("listed %d keys of %d, or out of order", len(keys), n)
	}
	half := n / 2
	if keys := list(t, s, "", want[half]); !slices.Equal(keys, want[half+1:]) {
		t.Errorf("after key %d: %d keys, expected %d", half, len(keys), n-half-1)
	}
	var ofOne []string // of one prefix, after a key that is not there
	for _, key := range want {
		if strings.HasPrefix(key, "shard-1/") && key > "shard-1/part-01" {
			ofOne = append(ofOne, key)
		}
	}
	if keys := list(t, s, "shard-1/", "shard-1/part-01"); len(ofOne) == 0 || !slices.Equal(keys, ofOne) {
		t.Errorf("of one prefix, after a key that is not there: %d keys, expected %d", len(keys), len(ofOne))
	}
	listed := 0
	for range s.List(t.Context(), "", "") {
		if listed++; listed == 1050 {
			break // in the second page
		}
	}
	if listed != 1050 {
		t.Errorf("broken off after %d keys, expected 1050", listed)
	}
}
