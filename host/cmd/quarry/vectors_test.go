package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/run"
)

// reshaped replaces a's documents by the same bytes under another header.
func reshaped(descr, fortran, shape string) func(files) {
	return func(f files) {
		f["vectors/a/docs.npy"] = npy(npyHeader(descr, fortran, shape), f["vectors/a/docs.npy"][headerBytes:])
	}
}

// cut cuts a file to n bytes.
func cut(name string, n int) func(files) {
	return func(f files) {
		if n >= len(f[name]) {
			panic("nothing is cut off")
		}
		f[name] = f[name][:n]
	}
}

func TestVectorFilesThatAreNotSound(t *testing.T) {
	t.Parallel()
	const docs, queries = "vectors/a/docs.npy", "vectors/a/queries.npy"
	swap := func(f files) { f[docs], f[queries] = f[queries], f[docs] }
	runFailures(t, []failure{
		{name: "empty file", change: cut(docs, 0), says: []string{"data/" + docs, "empty"}},
		{name: "cut off in the magic", change: cut(docs, 5), says: []string{"data/" + docs, "not a .npy file", "numpy.save"}},
		{name: "cut off in the header", change: cut(docs, 60), says: []string{"data/" + docs, "header of 118 bytes in a file of 60"}},
		{name: "cut off after the header", change: cut(docs, headerBytes), says: []string{"data/" + docs + ", row 0", "cut off: 0 bytes of data; 8 rows of 2 F32 take 64"}},
		{name: "cut off in a row", change: cut(docs, headerBytes+3*8+3), says: []string{"data/" + docs + ", row 3", "cut off: 27 bytes", "8 rows of 2 F32 take 64", "copy the file again"}},
		{name: "cut off between rows", change: cut(docs, headerBytes+5*8), says: []string{"data/" + docs + ", row 5", "cut off: 40 bytes", "take 64"}},
		{name: "queries cut off in a row", change: cut(queries, headerBytes+8+1), says: []string{"data/" + queries + ", row 1", "cut off: 9 bytes", "take 32"}},
		{name: "the second model cut off", change: cut("vectors/b/docs.npy", headerBytes+12), says: []string{"data/vectors/b/docs.npy, row 1", "cut off"}},
		{name: "bytes after the last row", change: func(f files) { f[docs] += "xyz" }, says: []string{"data/" + docs, "3 bytes follow the last row"}},
		{name: "another file", change: func(f files) { f[docs] = f["corpus.jsonl"] }, says: []string{"data/" + docs, "not a .npy file", "numpy.save"}},
		{name: "unknown format version", change: func(f files) { f.edit(docs, "NUMPY\x01", "NUMPY\x07") }, says: []string{"data/" + docs, "format version 7"}},
		{name: "docs and queries swapped", change: swap, says: []string{"data/" + docs, "4 rows", "data/corpus.jsonl has 8 ids"}},
		{name: "a document too few", change: func(f files) { f[docs] = f4(planar(documentDegrees[:7])...) }, says: []string{"data/" + docs, "7 rows", "data/corpus.jsonl has 8 ids"}},
		{name: "a query too many", change: func(f files) { f[queries] = f4(planar(append(queryDegrees, 1))...) }, says: []string{"data/" + queries, "5 rows", "data/queries.jsonl has 4 ids"}},
		{name: "no rows", change: reshaped("<f4", "False", "(0, 2)"), says: []string{"data/" + docs}},
		{name: "widths differ", change: func(f files) { f[queries] = f4(spread(4, 0)...) }, says: []string{"data/" + queries, "3 columns", "docs.npy has 2"}},
		{name: "integers without a scale", change: reshaped("|i1", "False", "(8, 8)"), says: []string{"data/" + docs, "values are I8", "docs.scale.npy", "docs.ranges.npy"}},
		{name: "integers", change: reshaped("<i4", "False", "(8, 2)"), says: []string{"data/" + docs, `"<i4"`, "float16, float32 and float64", "astype"}},
		{name: "one dimension", change: reshaped("<f4", "False", "(16,)"), says: []string{"data/" + docs, "(16,)", "two dimensions", "reshape"}},
		{name: "three dimensions", change: reshaped("<f4", "False", "(8, 1, 2)"), says: []string{"data/" + docs, "(8, 1, 2)", "two dimensions"}},
		{name: "no dimension", change: reshaped("<f4", "False", "()"), says: []string{"data/" + docs, "()", "two dimensions"}},
		{name: "no columns", change: reshaped("<f4", "False", "(8, 0)"), says: []string{"data/" + docs, "(8, 0)"}},
		// 2^40 x 2^20 x 8 bytes is 2^63, which no int64 holds.
		{name: "a shape past all files", change: reshaped("<f8", "False", "(1099511627776, 1048576)"), says: []string{"data/" + docs, "(1099511627776, 1048576)", "too large"}},
		{name: "a shape past all numbers", change: reshaped("<f4", "False", "(99999999999999999999, 2)"), says: []string{"data/" + docs, "too large"}},
		{name: "a record type", change: func(f files) {
			f[docs] = npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (8, 2), }", f[docs][headerBytes:])
		}, says: []string{"data/" + docs, "descr", "one array of floats"}},
		{name: "a folder in its place", change: func(f files) { f.rename(docs, docs+"/x") }, says: []string{"data/" + docs}},
		{name: "no queries.npy", change: func(f files) { f.drop(queries) }, says: []string{"data/" + queries, "no such file"}},
		{name: "an empty model folder", change: func(f files) { f["vectors/c/"] = "" }, says: []string{"data/vectors/c/docs.npy", "no such file"}},
		{name: "no model folder", change: func(f files) {
			f.drop(docs, queries, "vectors/b/docs.npy", "vectors/b/queries.npy")
			f["vectors/"] = ""
		},
			says: []string{"data/vectors", "no model folder", "vectors/<model>/docs.npy"}},
		{name: "no vectors folder", change: func(f files) { f.drop(docs, queries, "vectors/b/docs.npy", "vectors/b/queries.npy") },
			says: []string{"data/vectors", "vectors/<model>/docs.npy"}},
		{name: "vectors is a file", change: func(f files) {
			f.drop(docs, queries, "vectors/b/docs.npy", "vectors/b/queries.npy")
			f["vectors"] = "x"
		}, says: []string{"data/vectors"}},
		{name: "no such folder", line: "mine ./nosuch -o ./out/n.jsonl --engine native", says: []string{"nosuch", "no such file"}},
		{name: "a file for the folder", line: "mine ./data/corpus.jsonl -o ./out/n.jsonl --engine native", says: []string{"data/corpus.jsonl", "not a folder"}},
	})
}

func TestVectorsWithValuesThatHaveNoCosine(t *testing.T) {
	t.Parallel()
	docs := func(row int, values ...float64) func(files) {
		return func(f files) { f["vectors/a/docs.npy"] = f4(withRow(planar(documentDegrees), row, values...)...) }
	}
	queries := func(row int, values ...float64) func(files) {
		return func(f files) { f["vectors/a/queries.npy"] = f4(withRow(planar(queryDegrees), row, values...)...) }
	}
	const noPCA = mineLine + " --no-pca" // then mining, not fitting, is the first to see a vector
	nan, inf := math.NaN(), math.Inf(1)
	rows := []failure{
		{name: "NaN", change: docs(2, 1, nan), says: []string{"data/vectors/a/docs.npy, row 2", "column 1", "NaN", "make the vectors again"}},
		{name: "NaN without PCA", change: docs(2, 1, nan), line: noPCA, says: []string{"data/vectors/a/docs.npy, row 2", "column 1", "NaN"}},
		{name: "NaN in the last row", change: docs(7, nan, 1), line: noPCA, says: []string{"data/vectors/a/docs.npy, row 7", "column 0"}},
		{name: "NaN in a positive", change: docs(3, nan, 1), line: noPCA, says: []string{"data/vectors/a/docs.npy, row 3", "column 0"}},
		{name: "infinity", change: docs(0, inf, 1), says: []string{"data/vectors/a/docs.npy, row 0", "column 0", "infinite"}},
		{name: "NaN in a query", change: queries(2, 1, nan), says: []string{"data/vectors/a/queries.npy, row 2", "column 1", "NaN"}},
		{name: "infinity in a query", change: queries(1, -inf, 1), says: []string{"data/vectors/a/queries.npy, row 1", "column 0"}},
		{name: "NaN in the second model", change: func(f files) { f["vectors/b/docs.npy"] = f4(withRow(spread(8, 0), 6, 1, 2, nan)...) },
			says: []string{"data/vectors/b/docs.npy, row 6", "column 2"}},
		{name: "too large for float32", change: func(f files) { f["vectors/a/docs.npy"] = f8(withRow(planar(documentDegrees), 5, 1, 1e39)...) },
			says: []string{"data/vectors/a/docs.npy, row 5", "column 1", "too large for float32"}},
		{name: "a zero document", change: docs(5, 0, 0), says: []string{"data/vectors/a/docs.npy, row 5", "zero", "--zero skip"}},
		{name: "a zero document without PCA", change: docs(5, 0, 0), line: noPCA, says: []string{"data/vectors/a/docs.npy, row 5", "zero", "--zero skip"}},
		{name: "a zero query", change: queries(0, 0, 0), says: []string{"data/vectors/a/queries.npy, row 0", "zero", "--zero skip"}},
		{name: "a zero positive", change: docs(3, 0, 0), line: noPCA, says: []string{"data/vectors/a/docs.npy, row 3", "zero", "--zero skip"}},
		{name: "zero when rounded to float32", change: func(f files) { f["vectors/a/docs.npy"] = f8(withRow(planar(documentDegrees), 5, 1e-60, 0)...) },
			says: []string{"data/vectors/a/docs.npy, row 5", "zero"}},
		// --zero skip leaves out zero vectors only.
		{name: "NaN with --zero skip", change: docs(2, 1, nan), line: mineLine + " --zero skip", says: []string{"data/vectors/a/docs.npy, row 2", "NaN"}},
		{name: "all pairs zero", change: func(f files) {
			docs(3, 0, 0)(f)
			f["vectors/a/queries.npy"] = f4([]float64{1, 2}, []float64{0, 0}, []float64{0, 0}, []float64{1, 2})
		}, line: mineLine + " --zero skip",
			says: []string{"data/qrels/train.tsv", "3 pairs", "zero"}},
		{name: "fit: a zero document", change: docs(5, 0, 0), line: "fit ./data -o ./out/p.safetensors", says: []string{"data/vectors/a/docs.npy, row 5", "--zero skip"}},
		{name: "fit on all: a zero query", change: queries(3, 0, 0), line: "fit ./data -o ./out/p.safetensors --fit-on all", says: []string{"data/vectors/a/queries.npy, row 3", "--zero skip"}},
		{name: "fit: documents all the same", change: func(f files) {
			f["vectors/a/docs.npy"] = f4(planar(make([]float64, 8))...)
			f["vectors/b/docs.npy"] = f4([][]float64{{1, 0, 0}, {2, 0, 0}, {3, 0, 0}, {4, 0, 0}, {5, 0, 0}, {6, 0, 0}, {7, 0, 0}, {8, 0, 0}}...)
		}, line: "fit ./data -o ./out/p.safetensors", says: []string{"nothing to fit", "variance of 8 rows is 0"}},
	}
	runFailures(t, rows)
	t.Run("transform", func(t *testing.T) {
		// The projection is fitted before the vectors go bad. The file that goes bad is the last, so that the others
		// are there to clean up.
		w := workFolder(t, sample())
		w.mustRun(t, "fit ./data -o ./p.safetensors")
		bad := files{}
		queries(3, 0, 0)(bad)
		bad.write(t, w.path("data"))
		failure{line: "transform ./data --projection ./p.safetensors -o ./out --engine native", says: []string{"data/vectors/a/queries.npy, row 3", "zero", "--zero skip"}}.run(t, w)
	})
}

// TestZeroSkip leaves zero vectors out, and counts them: d6 is a document and nothing else, d5 the positive of q2, q3 a
// query.
func TestZeroSkip(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name             string
		documents        []int
		queries          []int
		zeroDocs, zeroed int64
		pairs            string
	}{
		{"a document", []int{5}, nil, 1, 0, "q1 q2 q3"},
		{"a positive", []int{4}, nil, 1, 1, "q1 q3"},
		{"a query", nil, []int{2}, 0, 1, "q1 q2"},
		{"all three", []int{5, 4}, []int{2}, 2, 2, "q1"},
		{"query and positive of one pair", []int{4}, []int{1}, 1, 1, "q1 q3"},
	} {
		for _, fitting := range []string{"", " --no-pca", " --fit-on all"} {
			t.Run(row.name+fitting, func(t *testing.T) {
				data := sample()
				docs, queries := planar(documentDegrees), planar(queryDegrees)
				for _, i := range row.documents {
					docs[i] = []float64{0, 0}
				}
				for _, i := range row.queries {
					queries[i] = []float64{0, 0}
				}
				data["vectors/a/docs.npy"], data["vectors/a/queries.npy"] = f4(docs...), f4(queries...)
				w := workFolder(t, data)
				s := w.mineJSON(t, mineLine+" --zero skip --rule topk --top 8"+fitting)
				if s.Tallies.ZeroDocuments != row.zeroDocs || int64(s.Tallies.SkippedZero) != row.zeroed {
					t.Errorf("skipped: %d documents and %d pairs, expected %d and %d", s.Tallies.ZeroDocuments, s.Tallies.SkippedZero, row.zeroDocs, row.zeroed)
				}
				var mined []string
				for _, p := range w.readNegatives(t, "out/n.jsonl") {
					mined = append(mined, p.QueryID)
					// topk takes every document but the positive and what is zero.
					if want := 7 - int(row.zeroDocs); len(p.Negatives) != want {
						t.Errorf("%s has %d negatives, expected %d", p.QueryID, len(p.Negatives), want)
					}
					for _, n := range p.Negatives {
						for _, zero := range row.documents {
							if n.ID == fmt.Sprintf("d%d", zero+1) {
								t.Errorf("%s, a zero vector, is a negative of %s", n.ID, p.QueryID)
							}
						}
					}
				}
				if got := strings.Join(mined, " "); got != row.pairs {
					t.Errorf("mined %q, expected %q", got, row.pairs)
				}
			})
		}
	}
}

// mineJSON runs a mine command with --json and returns its summary.
func (w workspace) mineJSON(t *testing.T, line string) *run.Summary {
	t.Helper()
	var s run.Summary
	if err := json.Unmarshal([]byte(w.mustRun(t, line+" --json")), &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// readNegatives reads a negatives file.
func (w workspace) readNegatives(t *testing.T, path string) []negatives.Pair {
	t.Helper()
	pairs, err := negatives.Load(w.path(path))
	if err != nil {
		t.Fatal(err)
	}
	return pairs
}
