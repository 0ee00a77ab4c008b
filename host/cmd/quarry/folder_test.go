package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files is a folder: content by name, with slashes.
type files map[string]string

// write writes the folder to disk. A name that ends in a slash is a folder.
func (f files) write(t *testing.T, dir string) {
	t.Helper()
	for name, content := range f {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// edit replaces text of a file, and panics where it is not there: an edit that changes nothing would test nothing.
func (f files) edit(name, old, new string) {
	if !strings.Contains(f[name], old) {
		panic(fmt.Sprintf("%s has no %q", name, old))
	}
	f[name] = strings.Replace(f[name], old, new, 1)
}

// drop removes files, and panics where there are none.
func (f files) drop(names ...string) {
	for _, name := range names {
		if _, ok := f[name]; !ok {
			panic("there is no " + name)
		}
		delete(f, name)
	}
}

// rename gives a file another name.
func (f files) rename(from, to string) {
	content := f[from]
	f.drop(from)
	f[to] = content
}

// The sample's vectors under model a are directions in a plane, in degrees. A drawing tells which documents are
// negatives.
//
//	query  at   positive  apart  nearer to the query, and no nearer to the positive
//	q1     20   d4        30     d2 (8), d3 (11), d1 (20)
//	q2     86   d5         4     nothing is nearer: none, "window"
//	q3    109   d7        16     d6 (9), but it is 7 from d7: none, "eq6"
//	q4     60   d5        30     d4 (10), d3 (29); in the test split
var (
	documentDegrees = []float64{0, 12, 31, 50, 90, 118, 125, 200}
	queryDegrees    = []float64{20, 86, 109, 60}
)

// planar returns the directions as vectors; their lengths differ.
func planar(degrees []float64) (rows [][]float64) {
	for i, d := range degrees {
		sin, cos := math.Sincos(d * math.Pi / 180)
		rows = append(rows, []float64{cos * float64(i+1), sin * float64(i+1)})
	}
	return rows
}

// spread returns n rows of three values, in directions that differ.
func spread(n int, phase float64) (rows [][]float64) {
	for i := range n {
		x := float64(i) + phase
		rows = append(rows, []float64{math.Sin(3 * x), math.Cos(5*x) + 0.1, math.Sin(7*x + 1)})
	}
	return rows
}

// sample is a sound folder: eight documents, four queries, two splits, and the models a (two columns) and b (three).
func sample() files {
	f := files{
		"qrels/train.tsv":       "query-id\tcorpus-id\tscore\nq1\td4\t1\nq2\td5\t1\nq1\td8\t0\nq3\td7\t2\n",
		"qrels/test.tsv":        "query-id\tcorpus-id\tscore\nq4\td5\t1\n",
		"vectors/a/docs.npy":    f4(planar(documentDegrees)...),
		"vectors/a/queries.npy": f4(planar(queryDegrees)...),
		"vectors/b/docs.npy":    f4(spread(len(documentDegrees), 0)...),
		"vectors/b/queries.npy": f4(spread(len(queryDegrees), 0.5)...),
	}
	for i := range documentDegrees {
		f["corpus.jsonl"] += fmt.Sprintf("{\"_id\":\"d%d\",\"title\":\"Title %d\",\"text\":\"Text of document %d.\"}\n", i+1, i+1, i+1)
	}
	for i := range queryDegrees {
		f["queries.jsonl"] += fmt.Sprintf("{\"_id\":\"q%d\",\"text\":\"Text of query %d\"}\n", i+1, i+1)
	}
	return f
}

// npy is a .npy file of format version 1 with that header and data.
func npy(header, data string) string {
	for (10+len(header)+1)%64 != 0 {
		header += " "
	}
	header += "\n"
	return "\x93NUMPY\x01\x00" + string(binary.LittleEndian.AppendUint16(nil, uint16(len(header)))) + header + data
}

// npyHeader is the text of a header, as NumPy writes it.
func npyHeader(descr, fortran, shape string) string {
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr, fortran, shape)
}

// headerBytes is where the data of these files begin.
const headerBytes = 128

// f4 is a .npy file of float32.
func f4(rows ...[]float64) string {
	return npy(npyHeader("<f4", "False", fmt.Sprintf("(%d, %d)", len(rows), len(rows[0]))), float32s(rows))
}

func float32s(rows [][]float64) string {
	var b []byte
	for _, row := range rows {
		for _, x := range row {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
		}
	}
	return string(b)
}

// f8 is a .npy file of float64.
func f8(rows ...[]float64) string {
	var b []byte
	for _, row := range rows {
		for _, x := range row {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
	}
	return npy(npyHeader("<f8", "False", fmt.Sprintf("(%d, %d)", len(rows), len(rows[0]))), string(b))
}

// withRow is the rows with one of them replaced.
func withRow(rows [][]float64, i int, row ...float64) [][]float64 {
	rows[i] = row
	return rows
}

// zipped is content compressed with gzip.
func zipped(content string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	must(z.Write([]byte(content)))
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// writeRandomFolder writes a folder of ids alone, with random float16 vectors: one pair for each query.
func writeRandomFolder(t *testing.T, dir string, documents, queries, width int) {
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
