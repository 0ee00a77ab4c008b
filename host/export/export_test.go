package export_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/export"
	"github.com/quarry-hn/quarry/host/negatives"
)

// twoQueries are pairs of two queries: "q1" has positives a and b, "q2" has c and fewer negatives; a fourth pair has
// none.
func twoQueries() []negatives.Pair {
	pair := func(query, positive string, d float64, ids ...string) negatives.Pair {
		p := negatives.Pair{QueryID: query, PositiveID: positive, DQPD: d}
		for i, id := range ids {
			p.Negatives = append(p.Negatives, negatives.Negative{ID: id, Rank: i + 1, DQD: 0.5 + 0.125*float64(i), DPDD: 0.5})
		}
		return p
	}
	return []negatives.Pair{pair("q1", "a", 0.25, "n1", "n2", "n3"), pair("q1", "b", 0.75, "n1", "n3"), pair("q2", "c", 0.5, "n2"), pair("q2", "a", 0.5)}
}

func data(t *testing.T) *dataset.Dataset {
	t.Helper()
	side := func(name string, texts ...dataset.Text) dataset.Side {
		var ids []string
		for _, text := range texts {
			ids = append(ids, text.ID)
		}
		stored, err := dataset.IDsOf(name, ids...)
		if err != nil {
			t.Fatal(err)
		}
		return dataset.Side{IDs: stored, Texts: dataset.TextsOf(texts), Vectors: none{}}
	}
	d, err := dataset.New("made", side("documents", dataset.Text{ID: "a", Title: "A", Text: "<a>"}, dataset.Text{ID: "b", Text: "b\tb"}, dataset.Text{ID: "c", Text: "é"},
		dataset.Text{ID: "n1", Text: "one"}, dataset.Text{ID: "n2", Title: "Two"}, dataset.Text{ID: "n3", Text: "three\n"}),
		side("queries", dataset.Text{ID: "q1", Text: "first?"}, dataset.Text{ID: "q2", Text: "second?"}), []*dataset.Qrels{{Split: "train"}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

type none struct{}

func (none) Models() []string                    { return []string{"m"} }
func (none) Open(string) (dataset.Matrix, error) { return nil, fmt.Errorf("no vectors") }

// TestNoTexts refuses rows whose queries, or whose documents, all have no text. One text is enough, of those that are written.
func TestNoTexts(t *testing.T) {
	for _, c := range []struct {
		queries, documents dataset.TextsOf
		says               string
	}{
		{dataset.TextsOf{{ID: "q1"}, {ID: "q2"}}, dataset.TextsOf{{ID: "a", Text: "A"}, {ID: "n1"}}, "queries: no query of the negatives has a text"},
		{dataset.TextsOf{{ID: "q1"}, {ID: "q2", Text: "of no row"}}, dataset.TextsOf{{ID: "a", Text: "A"}, {ID: "n1"}}, "queries: no query of the negatives has a text"},
		{dataset.TextsOf{{ID: "q1", Text: "?"}, {ID: "q2"}}, dataset.TextsOf{{ID: "a"}, {ID: "n1"}}, "documents: no document of the negatives has a text"},
		{dataset.TextsOf{{ID: "q1", Text: "?"}, {ID: "q2"}}, dataset.TextsOf{{ID: "a"}, {ID: "n1", Title: "One"}}, ""},
	} {
		d := data(t)
		d.Queries.Texts, d.Documents.Texts = c.queries, c.documents
		pairs := []negatives.Pair{{QueryID: "q1", PositiveID: "a", Negatives: []negatives.Negative{{ID: "n1", Rank: 1}}}, {QueryID: "q2", PositiveID: "a"}}
		var b bytes.Buffer
		_, err := export.Write(d, pairs, export.Options{}, &b)
		switch {
		case c.says == "" && (err != nil || b.Len() == 0):
			t.Errorf("%v: %q", err, b.String())
		case c.says != "" && (err == nil || b.Len() > 0 || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "texts.json") || !strings.Contains(err.Error(), "--ids")):
			t.Errorf("%v: %q; expected %q", err, b.String(), c.says)
		}
	}
}

// TestFormats writes the pairs in every format.
func TestFormats(t *testing.T) {
	seed := uint64(1)
	for _, c := range []struct {
		name string
		o    export.Options
		want string
		says string
	}{
		{"triplet", export.Options{Separator: ". "}, `{"query":"first?","positive":"A. <a>","negative":"one"}
{"query":"first?","positive":"A. <a>","negative":"Two"}
{"query":"first?","positive":"A. <a>","negative":"three\n"}
{"query":"first?","positive":"b\tb","negative":"one"}
{"query":"first?","positive":"b\tb","negative":"three\n"}
{"query":"second?","positive":"é","negative":"Two"}
`, "1 pairs have no negative to write and were left out"},
		{"triplet, ranks and scores", export.Options{Format: "triplet", IDs: true, Scores: true, Ranks: [2]int{2, 2}}, `{"query":"q1","positive":"a","negative":"n2","scores":[0.75,0.375]}
{"query":"q1","positive":"b","negative":"n3","scores":[0.25,0.375]}
`, "2 pairs have no negative to write and were left out"},
		{"n-tuple", export.Options{Format: "n-tuple", IDs: true, Negatives: 2}, `{"query":"q1","positive":"a","negative_1":"n1","negative_2":"n2"}
{"query":"q1","positive":"b","negative_1":"n1","negative_2":"n3"}
`, "1 pairs have no negative to write and were left out\n1 pairs have fewer than 2 negatives: 1 were dropped, 0 were kept"},
		{"n-tuple, short ones kept", export.Options{Format: "n-tuple", IDs: true, Short: "keep", Scores: true}, `{"query":"q1","positive":"a","negative_1":"n1","negative_2":"n2","negative_3":"n3","scores":[0.75,0.5,0.375,0.25]}
{"query":"q1","positive":"b","negative_1":"n1","negative_2":"n3","negative_3":null,"scores":[0.25,0.5,0.375]}
{"query":"q2","positive":"c","negative_1":"n2","negative_2":null,"negative_3":null,"scores":[0.5,0.5]}
`, "1 pairs have no negative to write and were left out\n2 pairs have fewer than 3 negatives: 0 were dropped, 2 were kept"},
		{"labeled-pair", export.Options{Format: "labeled-pair", IDs: true, Negatives: 1}, `{"query":"q1","document":"a","label":1}
{"query":"q1","document":"b","label":1}
{"query":"q1","document":"n1","label":0}
{"query":"q2","document":"c","label":1}
{"query":"q2","document":"a","label":1}
{"query":"q2","document":"n2","label":0}
`, ""},
		{"labeled-list", export.Options{Format: "labeled-list", IDs: true}, `{"query":"q1","documents":["a","n1","n2","n3"],"labels":[1,0,0,0]}
{"query":"q1","documents":["b","n1","n3"],"labels":[1,0,0]}
{"query":"q2","documents":["c","n2"],"labels":[1,0]}
`, "1 pairs have no negative to write and were left out"},
		{"flagembedding", export.Options{Format: "flagembedding", IDs: true, Scores: true, Negatives: 2, Short: "drop"}, `{"query":"q1","pos":["a","b"],"neg":["n1","n2"],"pos_scores":[0.75,0.25],"neg_scores":[0.5,0.375]}
`, "1 queries have fewer than 2 negatives: 1 were dropped, 0 were kept"},
		{"tevatron", export.Options{Format: "tevatron", Negatives: 1}, `{"query_id":"q1","query":"first?","positive_passages":[{"docid":"a","title":"A","text":"<a>"},{"docid":"b","title":"","text":"b\tb"}],"negative_passages":[{"docid":"n1","title":"","text":"one"}]}
{"query_id":"q2","query":"second?","positive_passages":[{"docid":"c","title":"","text":"é"},{"docid":"a","title":"A","text":"<a>"}],"negative_passages":[{"docid":"n2","title":"Two","text":""}]}
`, ""},
		{"dpr", export.Options{Format: "dpr", IDs: true, Negatives: 1, Scores: true}, `[
{"question":"q1","answers":[],"positive_ctxs":[{"passage_id":"a","score":0.75},{"passage_id":"b","score":0.25}],"negative_ctxs":[],"hard_negative_ctxs":[{"passage_id":"n1","score":0.5}]},
{"question":"q2","answers":[],"positive_ctxs":[{"passage_id":"c","score":0.5},{"passage_id":"a","score":0.5}],"negative_ctxs":[],"hard_negative_ctxs":[{"passage_id":"n2","score":0.5}]}
]
`, ""},
		{"tsv", export.Options{Format: "tsv", Ranks: [2]int{2, 9}, Scores: true}, "first?\tA<a>\tTwo\t0.75\t0.375\nfirst?\tA<a>\tthree \t0.75\t0.25\nfirst?\tb b\tthree \t0.25\t0.375\n", "2 pairs have no negative to write and were left out"},
		{"shuffled", export.Options{Format: "tsv", IDs: true, Seed: &seed}, "", ""},
	} {
		var b bytes.Buffer
		var d *dataset.Dataset
		if !c.o.IDs {
			d = data(t)
		}
		written, err := export.Write(d, twoQueries(), c.o, &b)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if c.o.Seed != nil {
			checkShuffled(t, b.String())
			continue
		}
		if lines := strings.Count(c.want, "\n"); b.String() != c.want || written.Says() != c.says || c.o.Format != "dpr" && written.Lines != lines || written.Pairs != 4 {
			t.Errorf("%s, %+v %q:\n%s\nexpected:\n%s", c.name, written, written.Says(), b.String(), c.want)
		}
	}
}

// TestTextThatIsAName: a text may be what its member is called.
func TestTextThatIsAName(t *testing.T) {
	var b bytes.Buffer
	pairs := []negatives.Pair{{QueryID: "query", PositiveID: "positive", Negatives: []negatives.Negative{{ID: "negative"}}}}
	if _, err := export.Write(nil, pairs, export.Options{IDs: true}, &b); err != nil || b.String() != `{"query":"query","positive":"positive","negative":"negative"}`+"\n" {
		t.Errorf("%s, %v", b.String(), err)
	}
}

// checkShuffled compares lines that were shuffled by seed 1 with those of seed 1 again, of seed 2, and of no seed.
func checkShuffled(t *testing.T, one string) {
	t.Helper()
	with := func(seed *uint64) string {
		var b bytes.Buffer
		if _, err := export.Write(nil, twoQueries(), export.Options{Format: "tsv", IDs: true, Seed: seed}, &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	first, second := uint64(1), uint64(2)
	if one != with(&first) || one == with(&second) || one == with(nil) || len(one) != len(with(nil)) {
		t.Errorf("shuffled:\n%s\nin order:\n%s", one, with(nil))
	}
}

// TestRefused has options that make no sense.
func TestRefused(t *testing.T) {
	for says, o := range map[string]export.Options{
		"format is": {Format: "other"}, "short is": {Short: "other"}, "negatives is": {Negatives: -1}, "ranks go": {Ranks: [2]int{3, 2}}, "no place for scores": {Format: "tevatron", Scores: true},
		"no table": {Format: "dpr", Parquet: true},
	} {
		if _, err := export.Write(nil, nil, o, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

// TestRefusedPairs has pairs that do not have what the options ask for.
func TestRefusedPairs(t *testing.T) {
	for _, c := range []struct {
		file string
		o    export.Options
		says string // of the error; empty where there is none
	}{
		{`{"query_id":"q","positive_id":"a","d_q_pd":0,"negatives":[{"id":"n","rank":1,"d_q_d":0}]}`, export.Options{IDs: true, Scores: true}, ""},
		{`{"query_id":"q","positive_id":"a","negatives":[{"id":"n","rank":1,"d_q_d":0}]}`, export.Options{IDs: true, Scores: true}, "line 1 of the negatives has no d_q_pd"},
		{`{"query_id":"q","positive_id":"a","d_q_pd":0,"negatives":[{"id":"n","rank":1}]}`, export.Options{IDs: true, Scores: true}, "a negative without d_q_d"},
		{`{"query_id":"q","positive_id":"a","negatives":[{"id":"n","rank":1}]}`, export.Options{IDs: true}, ""},
		{`{"query_id":"q","positive_id":"a\tb","d_q_pd":0,"negatives":[{"id":"n","rank":1,"d_q_d":0}]}`, export.Options{Format: "tsv", IDs: true}, `id "a\tb" has what separates`},
	} {
		pairs, err := negatives.Read(strings.NewReader(c.file), "negatives.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		_, err = export.Write(nil, pairs, c.o, &bytes.Buffer{})
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; expected %q", c.file, err, c.says)
		}
	}
}

// TestReaders has the libraries that train with the files load them, where QUARRY_TRAINERS names a Python that has them.
func TestReaders(t *testing.T) {
	python := os.Getenv("QUARRY_TRAINERS")
	if python == "" {
		t.Skip("QUARRY_TRAINERS names no Python with datasets, sentence-transformers, FlagEmbedding and tevatron, which load what is written here")
	}
	dir := t.TempDir()
	write := func(file string, o export.Options) {
		var b bytes.Buffer
		if _, err := export.Write(data(t), twoQueries(), o, &b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range export.Names() {
		o := export.Options{Format: name, Negatives: 1, Separator: " "}
		write(name, o)
		if o.Parquet = true; slices.Contains(withColumns, name) {
			write(name+".parquet", o)
		}
	}
	write("flagembedding-scores", export.Options{Format: "flagembedding", Negatives: 1, Separator: " ", Scores: true})
	out, err := exec.CommandContext(t.Context(), python, "testdata/read.py", dir).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
