package job_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
)

// TestErrorsThatComeLate has errors come after the time to stop mining, or merging. They stay what they are, since more
// time would mend neither. A merge that takes too long fails with ErrDeadline.
func TestErrorsThatComeLate(t *testing.T) {
	i := newInputs(t, mining.Options{}, 2)
	dir := t.TempDir()
	gone := errors.New("the disk of the store is gone")
	synctest.Test(t, func(t *testing.T) {
		x := i.on(t)
		// late has an operation on some objects take until the time is up, and then return an error.
		late := func(what string, then error) *hooked {
			return &hooked{x.at.Out, func(op, key string) error {
				if op+" "+key[:min(len(key), 6)] != what {
					return nil
				}
				time.Sleep(20 * time.Second)
				return then
			}}
		}
		try := func(out *hooked, sweep bool) (*job.Outcome, error) {
			w, err := job.NewWorker(x.at.In, out, job.Options{Compute: mining.Compute{Engine: native}, Dir: dir, Reserve: 50 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = w.Close(t.Context()) }()
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			if sweep {
				return w.Sweep(ctx)
			}
			return w.Shard(ctx, x.shards[0])
		}
		if _, err := try(late("put parts/", gone), false); !errors.Is(err, gone) || errors.Is(err, job.ErrDeadline) {
			t.Errorf("a put that fails: %v", err)
		}
		x.rest()
		for _, key := range []string{negativesKey, resultKey} {
			if err := x.at.Out.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := try(late("get parts/", gone), true); !errors.Is(err, gone) || errors.Is(err, job.ErrDeadline) {
			t.Errorf("a read for the merge that fails: %v", err)
		}
		if _, err := try(late("get parts/", nil), true); !errors.Is(err, job.ErrDeadline) || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("a merge that is late: %v", err)
		}
	})
}

// TestThrottledUntilTheDeadline: where S3 holds a worker up until its time is over, the error says so. More time or more
// memory, which is the hint otherwise, would not help.
func TestThrottledUntilTheDeadline(t *testing.T) {
	i, dir := newInputs(t, mining.Options{}, 1), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		for _, prefix := range []string{i.shards[0], "parts/"} { // while a shard is read, and while the parts are merged
			x := i.on(t)
			slow := func(op, key string) error {
				if op != "get" || !strings.HasPrefix(key, prefix) {
					return nil
				}
				time.Sleep(11 * time.Second)
				return fmt.Errorf("get %s: %w, %w", key, context.DeadlineExceeded, objstore.ErrThrottled)
			}
			w, err := job.NewWorker(&hooked{x.at.In, slow}, &hooked{x.at.Out, slow}, job.Options{
				Compute: mining.Compute{Engine: native}, Dir: dir, Reserve: 50 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err = w.Shard(ctx, i.shards[0])
			cancel()
			if !errors.Is(err, job.ErrDeadline) || !errors.Is(err, objstore.ErrThrottled) || !strings.Contains(err.Error(), "hint: S3 asks for fewer requests") ||
				!strings.Contains(err.Error(), objstore.ErrThrottled.Error()) {
				t.Errorf("%s: %v", prefix, err)
			}
			if err := w.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
