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

// TestOutputsBesidePairs writes into the folder of pairs: negatives are no split of it, and an export, which would be one, is refused.
func TestOutputsBesidePairs(t *testing.T) {
	t.Parallel()
	w := workFolder(t, files{"vectors/a/docs.npy": f4(planar(documentDegrees[:5])...), "vectors/a/queries.npy": f4(planar(queryDegrees[:3])...),
		"train.jsonl": string(must(os.ReadFile("../../dataset/pairs/testdata/texts/rows.jsonl")))})
	w.mustRun(t, "mine ./data -o ./data/negatives.jsonl --engine native --rule topk --no-pca")
	w.mustRun(t, "mine ./data -o ./out/again.jsonl --engine native --rule topk --no-pca --split all")
	if w.read(t, "out/again.jsonl") != w.read(t, "data/negatives.jsonl") {
		t.Error("other negatives beside the first")
	}
	w.mustRun(t, "export ./data/negatives.jsonl ./data -o ./out/triplets.jsonl")
	failure{line: "export ./data/negatives.jsonl ./data -o ./data/triplets.jsonl", says: []string{"data/triplets.jsonl", "read as a split", "another folder"}}.run(t, w)
}
