package storetest

import (
	"fmt"
	"iter"
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
	putAll(t, s, n, key)
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
	if names := folderNames(t, s, "", ""); !slices.Equal(names, []string{"shard-0", "shard-1", "shard-2"}) {
		t.Errorf("folders %q", names)
	}
}

// putAll puts n objects, several at once.
func putAll(t *testing.T, s objstore.Store, n int, key func(i int) string) {
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
}

func folderNames(t *testing.T, s objstore.Store, prefix, after string) []string {
	t.Helper()
	var names []string
	for name, err := range s.Folders(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// folders lists folders among objects, at the top and further down. A folder has the place of the keys in it: a-b comes
// before a, which comes before a0. Folders after each name, there or not, are those after it in the whole list.
func folders(t *testing.T, s objstore.Store) {
	names := []string{"a!", "a-b", "a.b", "a", "a0", "aa", "b", "c", "z", "ä", "日", "\U00010000"}
	for _, key := range odd {
		if !strings.Contains(key, "/") {
			names = append(names, key+"'s")
		}
	}
	sortFolders(names)
	for _, at := range []string{"", "deep/er/"} {
		for i, name := range names {
			put(t, s, at+name+"/x", "x")
			put(t, s, at+name+"/y/z", "x")
			if i%3 == 0 {
				put(t, s, at+name+" object", "x") // beside the folders
			}
		}
	}
	top := append(slices.Clone(names), "deep")
	sortFolders(top)
	for prefix, want := range map[string][]string{"": top, "deep/er/": names, "deep/": {"er"}, "deep/er/a/": {"y"}, "a/y/": nil, "no/": nil, "a/x/": nil, "a/x/y/": nil} {
		afters := append(slices.Clone(want), "", "!", "a!0", "a/y", "b ", "zz", "\U0010ffff")
		for _, after := range afters {
			var expected []string
			for _, name := range want {
				if after == "" || name+"/" > after+"/" {
					expected = append(expected, name)
				}
			}
			if got := folderNames(t, s, prefix, after); !slices.Equal(got, expected) {
				t.Errorf("below %q after %q: %q; expected %q", prefix, after, got, expected)
			}
		}
	}
	for _, prefix := range []string{"a", "/", "a//", "../", "a\x00/"} {
		fails(t, fmt.Sprintf("folders below %q", prefix), lastOf(s.Folders(t.Context(), prefix, "")), objstore.ErrKey, "list")
	}
	for _, key := range []string{"deep/er/a/x", "deep/er/a/y/z"} {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if got := folderNames(t, s, "deep/er/", ""); slices.Contains(got, "a") || len(got) != len(names)-1 {
		t.Errorf("all that a folder held is deleted: %q", got)
	}
}

// lastOf is the last error of a sequence.
func lastOf[T any](all iter.Seq2[T, error]) (last error) {
	for _, err := range all {
		last = err
	}
	return last
}

func sortFolders(names []string) {
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(a+"/", b+"/") })
}

// manyFolders lists more folders than fit S3's page.
func manyFolders(t *testing.T, s objstore.Store) {
	const n = 1030
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("job %04d", i))
	}
	putAll(t, s, n, func(i int) string { return "jobs/" + want[i] + "/manifest.json" })
	in := objstore.Sub(s, "jobs")
	if got := folderNames(t, in, "", ""); !slices.Equal(got, want) {
		t.Errorf("%d folders of %d, or out of order", len(got), n)
	}
	if got := folderNames(t, in, "", want[20]); !slices.Equal(got, want[21:]) {
		t.Errorf("after one: %d folders, expected %d", len(got), n-21)
	}
	given := 0
	for range in.Folders(t.Context(), "", "") {
		if given++; given == 1010 {
			break // in the second page
		}
	}
	if given != 1010 {
		t.Errorf("broken off after %d folders, expected 1010", given)
	}
}
