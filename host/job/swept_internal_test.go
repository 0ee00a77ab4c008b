package job

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quarry-hn/quarry/host/objstore"
)

// TestBringBack has a sweep bring back a job's shards, at most maxBack at a time, and one that came back often no less
// often than maxDoubled says. What was recorded of another manifest does not count.
func TestBringBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Worker{in: objstore.NewMemory(), out: objstore.NewMemory(), manifest: &Manifest{manifestSHA: "own"}}
		o := &Outcome{}
		for i := range maxBack + 500 {
			o.Uploaded, o.uploadedAt = append(o.Uploaded, fmt.Sprint("shards/", i)), append(o.uploadedAt, time.Now().Add(-2*time.Hour))
		}
		back := func(o *Outcome) (shards []string) {
			t.Helper()
			err := w.BringBack(t.Context(), o, time.Hour, func(due []string) error { shards = due; return nil })
			if err != nil {
				t.Fatal(err)
			}
			return shards
		}
		for _, want := range []int{maxBack, 500, 0} {
			if n := len(back(o)); n != want {
				t.Errorf("%d shards come back; expected %d", n, want)
			}
		}
		record := func(manifest string, times int, ago time.Duration) {
			t.Helper()
			r := sweptRecord{sweptFormat, manifest, map[string]comeback{"shards/0": {times, time.Now().Add(-ago)}}}
			if err := w.out.Put(t.Context(), sweptKey, marshalRecord(r)); err != nil {
				t.Fatal(err)
			}
		}
		one := &Outcome{Uploaded: o.Uploaded[:1], uploadedAt: []time.Time{time.Now().Add(-10_000 * time.Hour)}}
		for _, row := range []struct {
			manifest string
			times    int
			ago      time.Duration
			want     int
		}{
			{"own", 3, 7 * time.Hour, 0}, {"own", 3, 8 * time.Hour, 1}, {"another", 3, time.Hour, 1},
			{"own", 100, 1023 * time.Hour, 0}, {"own", 100, 1024 * time.Hour, 1},
		} {
			if record(row.manifest, row.times, row.ago); len(back(one)) != row.want {
				t.Errorf("%+v: it is otherwise", row)
			}
		}
	})
}
