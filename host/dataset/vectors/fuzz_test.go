package vectors

import (
	"os"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
)

func FuzzNPY(f *testing.F)         { fuzz(f, "npy") }
func FuzzNPZ(f *testing.F)         { fuzz(f, "npz") }
func FuzzSafetensors(f *testing.F) { fuzz(f, "safetensors") }
func FuzzParquet(f *testing.F)     { fuzz(f, "parquet") }
func FuzzArrow(f *testing.F)       { fuzz(f, "arrow") }
func FuzzJSONL(f *testing.F)       { fuzz(f, "jsonl") }
func FuzzFAISS(f *testing.F)       { fuzz(f, "faiss") }
func FuzzVecs(f *testing.F)        { fuzz(f, "fvecs", "bvecs", "ivecs") }

// fuzz opens any bytes as a file of the formats, and reads what is accepted.
func fuzz(f *testing.F, formats ...string) {
	for _, w := range slices.Concat(flatFiles, tableFiles) {
		if !slices.Contains(formats, w.format) {
			continue
		}
		b, err := os.ReadFile("testdata/" + w.file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	ids, err := dataset.IDsOf("corpus.jsonl", "d0", "d1")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, format := range formats {
			folder := fstest.MapFS{"vectors/a/docs.x": {Data: b}, "vectors/a/vectors.json": {Data: []byte(`{"docs": {"path": "docs.x", "format": "` + format + `"}}`)}}
			x, err := open(folder, ids)
			if err != nil {
				datasettest.AsError(t, err, "data/vectors/a/docs.x")
				continue
			}
			if x.Rows() > 0 {
				row := make([]byte, x.Width()*x.DType().Size())
				if err := x.ReadRows(row, x.Rows()-1, 1); err != nil {
					t.Error(err)
				}
			}
			if err := dataset.CloseSource(x); err != nil {
				t.Error(err)
			}
		}
	})
}
