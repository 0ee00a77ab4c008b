package job_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
)

// TestConflicts has a worker find other bytes where it puts a part, the negatives and their manifest. The error names
// the object and says what to do, and that mends the job.
func TestConflicts(t *testing.T) {
	i := newInputs(t, mining.Options{}, 3)
	told := func(err error, key string) {
		t.Helper()
		if !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "hint: remove it") {
			t.Errorf("%v", err)
		}
	}
	for _, foreign := range []string{negativesKey, resultKey, "parts/"} {
		x := i.on(t)
		var key string // of what is in the way; it comes after the worker looked
		at := *x.at
		at.Out = &hooked{x.at.Out, func(op, put string) error {
			if op != "put" || key != "" || !strings.HasPrefix(put, foreign) {
				return nil
			}
			key = put
			return x.at.Out.Put(t.Context(), put, strings.NewReader("another's"))
		}}
		w := worker(t, &at)
		for _, name := range x.shards {
			_, err := w.Shard(t.Context(), name)
			if key == "" {
				if err != nil {
					t.Fatal(err)
				}
				continue
			}
			told(err, key)
			if err := x.at.Out.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			break
		}
		x.w = w
		x.rest()
	}
}
