package mining

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/projection"
)

type vectorsOf map[string][][]float32

func (v vectorsOf) Models() []string { return slices.Sorted(maps.Keys(v)) }

func (v vectorsOf) Open(model string) (dataset.Matrix, error) {
	return dataset.NewMatrix(model, v[model])
}

// twinsData has positives p of query q1 and e of query q2, both judged of q1 too in another split. "text" has the title
// and text of p, "vectors" its vectors in both models; "title" has its text alone, "one model" its vectors in one. The
// texts of e and "empty" are empty.
func twinsData(t *testing.T) *dataset.Dataset {
	t.Helper()
	texts := dataset.TextsOf{{ID: "p", Title: "T", Text: "the positive"}, {ID: "text", Title: "T", Text: "the positive"}, {ID: "vectors", Text: "another text"},
		{ID: "title", Title: "Tt", Text: "he positive"}, {ID: "one model", Text: "other"}, {ID: "e"}, {ID: "empty"}, {ID: "far", Text: "far"}}
	a := [][]float32{{1, 2, 0}, {3, 1, 1}, {1, 2, 0}, {1, 4, 0}, {1, 2, 0}, {2, 1, 0}, {2, 0, 3}, {0, 1, 1}}
	b := [][]float32{{5, 1}, {3, 1}, {5, 1}, {1, 4}, {5, 2}, {2, 1}, {2, 3}, {1, 1}}
	side := func(texts dataset.TextsOf, vectors vectorsOf) dataset.Side {
		var ids []string
		for _, text := range texts {
			ids = append(ids, text.ID)
		}
		stored, err := dataset.IDsOf("ids", ids...)
		if err != nil {
			t.Fatal(err)
		}
		return dataset.Side{IDs: stored, Texts: texts, Vectors: vectors}
	}
	train := &dataset.Qrels{Split: "train", Judgements: []dataset.Judgement{{Query: "q1", Document: "p", Score: 1}, {Query: "q2", Document: "e", Score: 1}}}
	test := &dataset.Qrels{Split: "test", Judgements: []dataset.Judgement{{Query: "q1", Document: "p", Score: 1}, {Query: "q1", Document: "e", Score: 1}}}
	d, err := dataset.New("made", side(texts, vectorsOf{"a": a, "b": b}),
		side(dataset.TextsOf{{ID: "q1", Text: "?"}, {ID: "q2", Text: "?"}}, vectorsOf{"a": {{1, 1, 1}, {2, 1, 1}}, "b": {{1, 1}, {1, 2}}}), []*dataset.Qrels{train, test})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestTwins mines all documents as negatives. Those that equal a positive of the query are none, and are counted; with
// TwinsKeep the manifest is the one of a program that knows no twins.
func TestTwins(t *testing.T) {
	data := twinsData(t)
	p, err := projection.Fit(t.Context(), data, projection.FitOptions{NoPCA: true})
	if err != nil {
		t.Fatal(err)
	}
	mined := func(o Options) (*negatives.Result, map[string]string) {
		t.Helper()
		o.Compute, o.Rule, o.Top = Compute{Engine: engine.Native(engine.Options{}), Threads: 2}, "topk", 9
		result, err := Mine(t.Context(), data, p, o)
		if err != nil {
			t.Fatal(err)
		}
		of := map[string]string{}
		for _, pair := range result.Pairs {
			var ids []string
			for _, n := range pair.Negatives {
				ids = append(ids, n.ID)
			}
			slices.Sort(ids)
			of[pair.QueryID+" "+pair.PositiveID] += strings.Join(ids, ",")
		}
		return result, of
	}
	result, got := mined(Options{Split: "all"})
	want := map[string]string{"q1 p": "empty,far,one model,title", "q1 e": "empty,far,one model,title", "q2 e": "empty,far,one model,p,text,title,vectors"}
	if !maps.Equal(got, want) || result.Manifest.Twins != TwinsExclude || result.Tallies.Twins != 2 || result.Tallies.Pairs != 3 {
		t.Errorf("%v, %q, %+v; expected %v, and each pair once", got, result.Manifest.Twins, result.Tallies, want)
	}
	kept, got := mined(Options{Split: "all", Twins: TwinsKeep})
	want["q1 p"], want["q1 e"] = "empty,far,one model,text,title,vectors", "empty,far,one model,text,title,vectors"
	if !maps.Equal(got, want) {
		t.Errorf("kept: %v; expected %v", got, want)
	}
	manifest, err := json.Marshal(kept.Manifest)
	if err != nil || strings.Contains(string(manifest), "twins") {
		t.Errorf("kept: %s, %v", manifest, err)
	}
	if kept.Manifest.RunID() == result.Manifest.RunID() {
		t.Error("runs with and without twins have one name")
	}
	shared := &TwinSearch{}
	_, first := mined(Options{Split: "all", Search: shared})
	data.Documents.Texts = dataset.NoTexts{}
	if _, again := mined(Options{Split: "all", Search: shared}); !maps.Equal(again, first) {
		t.Errorf("%v from a search that found %v", again, first)
	}
	if _, got := mined(Options{Split: "all"}); got["q1 p"] != "empty,far,one model,text,title" {
		t.Errorf("without texts: %v", got)
	}
	if p, err = projection.Fit(t.Context(), data, projection.FitOptions{NoPCA: true, Models: []projection.Weight{{Model: "a", Weight: 1}}}); err != nil {
		t.Fatal(err)
	}
	if _, got := mined(Options{Split: "all", Search: shared}); got["q1 p"] != "empty,far,text,title" {
		t.Errorf("by another model: %v", got)
	}
}
