package beir

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
)

// ofPairs is a file of the testdata of package pairs.
func ofPairs(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../pairs/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// allTexts are the texts of a side.
func allTexts(t *testing.T, side dataset.Side) (texts []dataset.Text) {
	t.Helper()
	if err := side.Texts.EachRow(nil, func(_ int, text dataset.Text) error { texts = append(texts, text); return nil }); err != nil {
		t.Fatal(err)
	}
	return texts
}

// TestPairLayouts finds the same pairs in every layout: as a file, as parts that Hugging Face's repositories have, as what datasets
// saved, and as what texts.json names.
func TestPairLayouts(t *testing.T) {
	t.Parallel()
	const judged, columns = ": 5 judgements, 5 of them relevant", `columns "anchor", "positive", "answer", "negative", "neg"`
	first, second := ofPairs(t, "parts/train-00000-of-00002.parquet"), ofPairs(t, "parts/train-00001-of-00002.parquet")
	parquet := map[string]string{"train.parquet": ofPairs(t, "texts/plain.parquet")}
	saved := map[string]string{}
	for _, name := range []string{"state.json", "dataset_info.json", "data-00000-of-00002.arrow", "data-00001-of-00002.arrow"} {
		saved["train/"+name] = ofPairs(t, "parts/saved/"+name)
	}
	var want *dataset.Dataset
	for _, row := range []struct {
		files map[string]string
		file  File
	}{
		{map[string]string{"train.jsonl": ofPairs(t, "texts/rows.jsonl")}, File{"train.jsonl", "pairs of split train" + judged}},
		{parquet, File{"train.parquet", "pairs of split train, parquet, " + columns + judged}},
		{map[string]string{"train.arrow": ofPairs(t, "texts/large.arrows")}, File{"train.arrow", "pairs of split train, arrow, " + columns + judged}},
		{map[string]string{"train-00000-of-00002.parquet": first, "train-00001-of-00002.parquet": second, "README.md": "-", ".train.jsonl": "-"},
			File{"train-*.parquet", "pairs of split train, 2 parts, parquet, " + columns + judged}},
		{map[string]string{"data/train-00000-of-00002-0123456789abcdef.parquet": first, "data/train-00001-of-00002-fedcba9876543210.parquet": second},
			File{"data/train-*.parquet", "pairs of split train, 2 parts, parquet, " + columns + judged}},
		{map[string]string{"train.parquet/part-9.parquet": first, "train.parquet/part-10.parquet": second, "train.parquet/_SUCCESS": ""},
			File{"train.parquet", "pairs of split train, 2 parts, parquet, " + columns + judged}},
		{saved, File{"train", "pairs of split train, 2 parts, arrow, " + columns + judged}},
		{map[string]string{"texts.json": `{"pairs":{"train":{"path":["z.parquet","triplet/train-*.parquet"],"query":"anchor"}}}`, "z.parquet": first, "triplet/train-1.parquet": second, "corpus.jsonl": "-"},
			File{"z.parquet, triplet/train-*.parquet", "pairs of split train, 2 parts, parquet, " + columns + judged}},
	} {
		dir := onDiskOf(t, 5, 3, row.files)
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		got, err := Explain(os.DirFS(dir), d)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Name == choicesFile {
			got = got[1:]
		}
		if all := []File{row.file, {"all pairs", "5 different documents, 3 different queries"}}; !reflect.DeepEqual(got, all) {
			t.Errorf("%q; expected %q", got, all)
		}
		if want == nil {
			want = d
		}
		if !slices.Equal(allTexts(t, d.Documents), allTexts(t, want.Documents)) || !slices.Equal(allTexts(t, d.Queries), allTexts(t, want.Queries)) || d.Qrels[0].SHA256 != want.Qrels[0].SHA256 {
			t.Errorf("%s: other documents, queries or judgements than of train.jsonl", row.file.Name)
		}
	}
}

// TestNoPairs: negatives that lie in a folder of pairs are no split, and a folder with judgements is none of pairs. What is exported
// there would be a split.
func TestNoPairs(t *testing.T) {
	t.Parallel()
	const pair = `{"query":"q","positive":"a"}`
	dir := onDiskOf(t, 2, 1, map[string]string{"train.jsonl": pair, "negatives.jsonl": `{"query_id":"q0","positive_id":"d0","d_q_pd":0.5,"negatives":[]}` + "\n",
		"ids.jsonl": `{"query_id":"q0","query":"q","positive_id":"d0","positive":"b"}`, "._train.jsonl": "\x00"})
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if len(d.Qrels) != 2 || d.Qrels[0].Split != "train" || d.Qrels[1].Split != "ids" {
		t.Errorf("splits %v", d.Qrels)
	}
	for path, want := range map[string]bool{"t.jsonl": true, "data/t.parquet": true, "../t.jsonl": false, "out/t.jsonl": false, "t.tsv": false} {
		if got := IsSplit(dir, filepath.Join(dir, path)); got != want {
			t.Errorf("%s is a split: %v", path, got)
		}
	}
	for name, text := range map[string]string{"qrels.dev.tsv": "q0\td0\t1\n", "texts.json": `{"pairs":{"train":{"path":"train.jsonl"}}}`} {
		dir := onDiskOf(t, 1, 1, map[string]string{"train.jsonl": pair, name: text})
		if IsSplit(dir, filepath.Join(dir, "t.jsonl")) {
			t.Errorf("with %s other files are splits", name)
		}
		d, err := Open(dir)
		if chosen := name == choicesFile; chosen != (err == nil) {
			t.Errorf("with %s: %v", name, err)
		} else if chosen {
			_ = d.Close()
		}
	}
}

// TestPairsThatAreNotSound has folders of which nothing says which pairs are meant, and parts that are missing.
func TestPairsThatAreNotSound(t *testing.T) {
	t.Parallel()
	const pair = `{"query":"q","positive":"a"}`
	parquet := ofPairs(t, "texts/plain.parquet")
	for _, row := range []struct {
		files    map[string]string
		at, says string
	}{
		{map[string]string{"train.jsonl": pair, "train.parquet": parquet}, "train.jsonl", "there is train.parquet too"},
		{map[string]string{"train.jsonl": pair, "train.jsonl.gz": ""}, "train.jsonl", "there is train.jsonl.gz too"},
		{map[string]string{"train.jsonl": pair, "train/state.json": "{}"}, "train", "there is train.jsonl too"},
		{map[string]string{"dev.jsonl": pair, "data/train.parquet": parquet}, "dev.jsonl", "there is data/train.parquet too"},
		{map[string]string{"train-00000-of-00002.parquet": parquet, "train-00000-of-00003.parquet": parquet}, "train-00000-of-00002.parquet", "there is train-00000-of-00003.parquet too"},
		{map[string]string{"train-00001-of-00003.parquet": parquet, "train-00002-of-00003.parquet": parquet}, "train-00001-of-00003.parquet", "there are 2 parts; by its name there are 3"},
		{map[string]string{"train.parquet/_SUCCESS": ""}, "train.parquet", "there are no parts in the folder"},
		{map[string]string{"train.parquet": parquet[:len(parquet)-1]}, "train.parquet", "cut off"},
		{map[string]string{"texts.json": `{"pairs":{"train":{"path":"train.parquet","query":"question"}}}`, "train.parquet": parquet}, "train.parquet", `there is no column "question"`},
	} {
		dir := onDiskOf(t, 1, 1, row.files)
		_, err := Open(dir)
		if e := datasettest.AsError(t, err, filepath.Join(dir, row.at)); !strings.Contains(e.Problem, row.says) || e.Hint == "" {
			t.Errorf("%v; expected %q and a hint", err, row.says)
		}
	}
}
