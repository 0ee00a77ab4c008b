package job_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
)

// TestMergeKeepsNoPairs: when the result is put, a worker's disk has the negatives alone. They might not fit beside the
// files of all groups, each of which a merge reads once.
func TestMergeKeepsNoPairs(t *testing.T) {
	t.Parallel()
	x := newInputs(t, grouped(t, mining.Options{}, 3), 3).on(t)
	dir := t.TempDir()
	var kept []string
	fail := true
	at := &job.Place{Name: x.at.Name, In: x.at.In, Out: &hooked{x.at.Out, func(op, key string) error {
		if op != "put" || key != negativesKey {
			return nil
		}
		var err error
		if kept, err = filepath.Glob(filepath.Join(dir, "*", "*")); err == nil && fail {
			err = errors.New("the network is gone")
		}
		return err
	}}}
	open := func() *job.Worker {
		w, err := job.NewWorker(at.In, at.Out, job.Options{Compute: mining.Compute{Engine: native}, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Close(t.Context()) })
		return w
	}
	check := func(what string) {
		t.Helper()
		if len(kept) != 1 || filepath.Base(kept[0]) != negativesKey {
			t.Errorf("%s: on disk are %q", what, kept)
		}
		kept = nil
	}
	x.w = open() // it keeps the pairs from one shard to the next
	for _, name := range x.shards[:2] {
		x.shard(name, job.Mined, "")
	}
	if there, err := os.ReadDir(filepath.Join(dir, only(t, dir))); err != nil || len(there) != len(x.manifest.Groups) {
		t.Errorf("between two shards: %v, %v", there, err)
	}
	if _, err := x.w.Shard(t.Context(), x.shards[2]); err == nil || !strings.Contains(err.Error(), "the network is gone") {
		t.Fatal(err)
	}
	check("after mining")
	if err := x.w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	fail = false
	x.w = open()
	x.sweep(job.Finished, "")
	check("of a merge alone")
	x.check(t, x.at)
}

// TestReplacedJobLeavesNothing: a worker that goes from a job to the one that replaced it keeps nothing of the first on
// its disk. In a warm Lambda process a worker may do so for hours.
func TestReplacedJobLeavesNothing(t *testing.T) {
	o := grouped(t, mining.Options{}, 3)
	i := newInputs(t, o, 3)
	x, dir := i.on(t), t.TempDir()
	w, err := job.NewWorker(x.at.In, x.at.Out, job.Options{Compute: mining.Compute{Engine: native}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close(t.Context()) }()
	x.w = w
	other := i.options
	other.Top = 2
	for n, o := range []mining.Options{i.options, other, i.options} {
		m, err := job.Init(t.Context(), x.at, i.folder, i.projection, job.InitOptions{Mine: o, Shards: 3, Force: true})
		if err != nil {
			t.Fatal(err)
		}
		x.shard(x.shards[0], job.Mined, "")
		var kept, want []string
		entries, err := os.ReadDir(filepath.Join(dir, only(t, dir)))
		for _, e := range entries {
			kept = append(kept, e.Name())
		}
		for _, g := range m.Groups {
			want = append(want, g.SHA256)
		}
		slices.Sort(want)
		if err != nil || n != 1 && len(want) < 2 || !slices.Equal(kept, want) {
			t.Errorf("job %d: on disk are %q, %v; expected %q", n, kept, err, want)
		}
	}
	x.rest()
}

// only is the name of the only entry of a folder.
func only(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	return entries[0].Name()
}

// TestMergeReadsTheFirstPartAlone: a merge reads no second part before the first has come, since only that tells how
// large parts are.
func TestMergeReadsTheFirstPartAlone(t *testing.T) {
	i := newInputs(t, grouped(t, mining.Options{}, 2), 5)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		x := i.on(t)
		var mu sync.Mutex
		begun, merging := map[string]int{}, false // reads of each group's parts
		at := &job.Place{Name: x.at.Name, In: x.at.In, Out: &hooked{x.at.Out, func(op, key string) error {
			mu.Lock()
			group, shard, _ := strings.Cut(key[strings.LastIndex(key, "/")+1:], "-")
			if !merging || op != "get" || !strings.HasPrefix(key, "parts/") {
				mu.Unlock()
				return nil
			}
			begun[group]++
			mu.Unlock()
			if strings.HasPrefix(shard, "0000000-") {
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				if begun[group] != 1 {
					t.Errorf("group %s: %d parts are read before the first has come", group, begun[group])
				}
			}
			return nil
		}}}
		w, err := job.NewWorker(at.In, at.Out, job.Options{Compute: mining.Compute{Engine: native}, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = w.Close(t.Context()) }()
		x.w = w
		for n, name := range x.shards {
			mu.Lock()
			merging = n == len(x.shards)-1
			mu.Unlock()
			x.shard(name, job.Mined, "")
		}
		if len(begun) != len(x.manifest.Groups) {
			t.Errorf("parts read: %v", begun)
		}
		x.check(t, x.at)
	})
}
