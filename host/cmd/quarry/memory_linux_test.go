package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// madeFolder writes a folder of ids alone, with random float16 vectors: one pair for each query.
func madeFolder(t *testing.T, dir string, documents, queries, width int) {
	t.Helper()
	write := func(name string, f func(w *bufio.Writer)) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		file := must(os.Create(path))
		w := bufio.NewWriterSize(file, 1<<20)
		f(w)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, side := range []struct {
		name, id string
		rows     int
	}{{"docs", "d", documents}, {"queries", "q", queries}} {
		write(side.name+".ids", func(w *bufio.Writer) {
			for i := range side.rows {
				fmt.Fprintf(w, "%s%d\n", side.id, i)
			}
		})
		write("vectors/made/"+side.name+".npy", func(w *bufio.Writer) {
			_, _ = w.WriteString(npy(npyHeader("<f2", "False", fmt.Sprintf("(%d, %d)", side.rows, width)), ""))
			r := rand.New(rand.NewPCG(uint64(side.rows), 4))
			row := make([]byte, 2*width)
			for range side.rows {
				for c := 0; c < len(row); c += 2 {
					u := r.Uint32()
					row[c], row[c+1] = byte(u), byte(u>>8)&0x8f|0x30 // 0.125 to 0.5, either sign
				}
				_, _ = w.Write(row)
			}
		})
	}
	write("qrels/train.tsv", func(w *bufio.Writer) {
		for i := range queries {
			fmt.Fprintf(w, "q%d\td%d\t1\n", i, i*7%documents)
		}
	})
}

// TestMemoryHolds runs the command in memory that is small for its corpus, or for its pairs, and asks the system how much it took. The result is the
// same.
func TestMemoryHolds(t *testing.T) {
	t.Chdir(t.TempDir())
	madeFolder(t, "corpus", 400_000, 300, 16)
	madeFolder(t, "pairs", 3_000, 30_000, 96)
	for _, row := range []struct{ folder, flags string }{{"corpus", ""}, {"pairs", "--no-pca"}, {"pairs", "--no-pca --positives all"}} {
		var want string
		for _, mib := range []int{4096, 512, 288} {
			p := command(t.Context(), "", fmt.Sprintf("mine %s %s -o n.jsonl --force --threads 2 --memory %dMiB --stats s.json", row.folder, row.flags, mib))
			if o := p.finish(t); o.code != exitOK {
				t.Fatalf("%s %s in %d MiB: exit %d: %s", row.folder, row.flags, mib, o.code, o.stderr)
			}
			took := p.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
			t.Logf("%s %s in %d MiB: took %d", row.folder, row.flags, mib, took)
			if took > int64(mib) {
				t.Errorf("%s %s in %d MiB: took %d", row.folder, row.flags, mib, took)
			}
			got := string(must(os.ReadFile("n.jsonl")))
			if want == "" {
				want = got
			} else if got != want {
				t.Errorf("%s %s in %d MiB: another result", row.folder, row.flags, mib)
			}
		}
		if strings.Count(want, "\n") < 300 {
			t.Errorf("%d pairs", strings.Count(want, "\n"))
		}
	}
}
