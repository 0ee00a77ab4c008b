package negatives

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// randomSampler is a sampler that does not scan: it draws documents that are not the pair's positive, and sorts them by a made distance. It has fewer
// than top where there are fewer.
func randomSampler(pairs []Pair, documents []string, top int, seed uint64) []Pair {
	random := rand.New(rand.NewPCG(seed, 0))
	sampled := make([]Pair, len(pairs))
	for i, p := range pairs {
		p.Negatives = []Negative{}
		for _, d := range random.Perm(len(documents)) {
			if len(p.Negatives) < top && documents[d] != p.PositiveID {
				p.Negatives = append(p.Negatives, Negative{ID: documents[d], DQD: float64((d*7+i)%5) / 4})
			}
		}
		slices.SortStableFunc(p.Negatives, func(a, b Negative) int { return cmp.Compare(a.DQD, b.DQD) })
		for rank := range p.Negatives {
			p.Negatives[rank].Rank = rank + 1
		}
		if len(p.Negatives) == 0 {
			p.None = NoneWindow
		}
		sampled[i] = p
	}
	return sampled
}

// TestResultOfASampler makes a result of pairs that no scan found: its files are read back as those of mining are.
func TestResultOfASampler(t *testing.T) {
	manifest := NewManifest(mine.Rule{Name: "random"}, &pca.Projection{PCA: "none", Models: []pca.Model{{Name: "m", Width: 4, Weight: 1}}}, "fingerprint")
	pairs := []Pair{{QueryID: "q1", PositiveID: "d1"}, {QueryID: "q2", PositiveID: "d3"}}
	make := func(documents ...string) *Result {
		r, err := NewResult(randomSampler(pairs, documents, 2, 7), Tallies{Pairs: len(pairs), Documents: int64(len(documents))}, manifest)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := make("d1", "d2", "d3", "d4")
	if want := (Tallies{Documents: 4, Pairs: 2, WithNegatives: 2, Negatives: 4}); r.Tallies != want || r.Manifest.Tallies != want {
		t.Errorf("the tallies are %+v; expected %+v", r.Tallies, want)
	}
	var file, again bytes.Buffer
	if err := r.WriteNegatives(&file); err != nil {
		t.Fatal(err)
	}
	back, err := Read(bytes.NewReader(file.Bytes()), "negatives.jsonl")
	if err != nil || !reflect.DeepEqual(back, r.Pairs) {
		t.Errorf("read back: %v (%v)", back, err)
	}
	if err := make("d1", "d2", "d3", "d4").WriteNegatives(&again); err != nil || !bytes.Equal(again.Bytes(), file.Bytes()) {
		t.Errorf("the same seed gives other bytes (%v)", err)
	}
	var m bytes.Buffer
	if err := r.Manifest.Write(&m); err != nil || !json.Valid(m.Bytes()) {
		t.Errorf("the manifest: %v", err)
	}
	if short := make("d1"); short.Tallies.NoneWindow != 1 || short.Tallies.Negatives != 1 {
		t.Errorf("a shortfall was filled: %+v", short.Tallies)
	}
}
