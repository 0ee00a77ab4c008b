package main

import (
	"os"
	"strings"
	"testing"
)

// TestPairsOfTables mines the same pairs from JSON, Parquet and Arrow, in a file or in parts: negatives and manifest are the same bytes.
func TestPairsOfTables(t *testing.T) {
	t.Parallel()
	var negatives, manifest string
	for _, layout := range []map[string]string{
		{"train.jsonl": "texts/rows.jsonl"},
		{"train.parquet": "texts/groups.parquet"},
		{"train.feather": "texts/lz4.feather"},
		{"data/train-00000-of-00002.parquet": "parts/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet": "parts/train-00001-of-00002.parquet"},
		{"train/state.json": "parts/saved/state.json", "train/data-00000-of-00002.arrow": "parts/saved/data-00000-of-00002.arrow",
			"train/data-00001-of-00002.arrow": "parts/saved/data-00001-of-00002.arrow"},
	} {
		data := files{"vectors/a/docs.npy": f4(planar(documentDegrees[:5])...), "vectors/a/queries.npy": f4(planar(queryDegrees[:3])...)}
		for name, file := range layout {
			data[name] = string(must(os.ReadFile("../../dataset/pairs/testdata/" + file)))
		}
		w := workFolder(t, data)
		w.mustRun(t, mineLine+" --rule topk --no-pca")
		if negatives == "" {
			negatives, manifest = w.read(t, "out/n.jsonl"), w.read(t, "out/n.manifest.json")
			if n := strings.Count(negatives, `"rank"`); n < 10 {
				t.Fatalf("%d negatives:\n%s", n, negatives)
			}
		}
		if got := w.read(t, "out/n.jsonl"); got != negatives {
			t.Errorf("%v:\n%s\nexpected\n%s", layout, got, negatives)
		}
		if got := w.read(t, "out/n.manifest.json"); got != manifest {
			t.Errorf("%v:\n%s\nexpected\n%s", layout, got, manifest)
		}
	}
}
