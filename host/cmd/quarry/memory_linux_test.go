package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestMemoryHolds runs the command in memory that is small for its corpus, or for its pairs. The operating system's
// measure of the process must stay within the budget, and the result must be the same as with plenty of memory. In the
// first two rows, a command that held all vectors of the corpus, or of the pairs, would need more than its budget.
func TestMemoryHolds(t *testing.T) {
	t.Parallel()
	compilePlugin(t)
	for _, row := range []struct {
		name                      string
		documents, queries, width int
		flags                     string
		mib                       []int // of --memory, after 4096
		short                     bool
	}{
		{"corpus", 150_000, 20, 256, "--no-pca", []int{192}, true},
		{"pairs", 200, 20_000, 384, "--no-pca", []int{288, 512}, true},
		{"corpus of two million", 2_000_000, 300, 16, "", []int{192, 512}, false},
		{"pairs, all positives", 3_000, 30_000, 96, "--no-pca --positives all", []int{288, 512}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && !row.short {
				t.Skip("the other rows are a sample")
			}
			w := newWorkspace(t)
			writeRandomFolder(t, w.path("data"), row.documents, row.queries, row.width)
			mine := func(mib int) (negatives string, took int64) {
				o := w.process(t, "", fmt.Sprintf("mine ./data %s -o ./n.jsonl --force --threads 2 --memory %dMiB --stats ./s.json", row.flags, mib)).finish(t)
				if o.code != exitOK {
					t.Fatalf("in %d MiB: exit %d: %s", mib, o.code, o.stderr)
				}
				var s runStats
				decodeStrictly(t, w.read(t, "s.json"), &s)
				t.Logf("in %d MiB: took %d", mib, s.PeakMemory>>20)
				return w.read(t, "n.jsonl"), s.PeakMemory >> 20
			}
			want, _ := mine(4096)
			if n := strings.Count(want, "\n"); n != row.queries {
				t.Errorf("%d pairs, expected %d", n, row.queries)
			}
			for i, mib := range row.mib {
				if testing.Short() && i > 0 {
					break
				}
				got, took := mine(mib)
				if got != want {
					t.Errorf("in %d MiB: another result", mib)
				}
				// Under the race detector a process takes several times as much, so the bound is not checked.
				if took > int64(mib) && !underRace {
					t.Errorf("in %d MiB: took %d", mib, took)
				}
			}
		})
	}
}
