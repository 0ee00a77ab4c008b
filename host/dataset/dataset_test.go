package dataset_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
)

// TestMemory puts data sets together of sources that are in no file, and has them pass the suite for formats.
func TestMemory(t *testing.T) { datasettest.Run(t, openMemory) }

func openMemory(_ *testing.T, c datasettest.Contents) (*dataset.Dataset, error) {
	var sides [2]dataset.Side
	for i, of := range [][]dataset.Text{c.Documents, c.Queries} {
		name := []string{"documents", "queries"}[i]
		ids := []string{}
		for _, text := range of {
			ids = append(ids, text.ID)
		}
		kept, err := dataset.IDsOf(name, ids...)
		if err != nil {
			return nil, err
		}
		sides[i] = dataset.Side{IDs: withTexts{kept, fmt.Sprint(of)}, Texts: dataset.TextsOf(of), Vectors: vectorsInMemory{c.Models, i}}
		if c.NoTexts {
			sides[i].Texts = nil
		}
	}
	var judged dataset.JudgedPairs
	var qrels []*dataset.Qrels
	for _, split := range c.Qrels {
		q := &dataset.Qrels{Split: split.Name, Path: "judgements", SHA256: sha256Of(fmt.Sprint(split))}
		for _, j := range split.Judgements {
			if err := judged.Add(q, j); err != nil {
				return nil, err
			}
		}
		qrels = append(qrels, q)
	}
	return dataset.New("memory", sides[0], sides[1], qrels)
}

func sha256Of(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// withTexts are ids whose fingerprint is that of their texts too.
type withTexts struct {
	*dataset.StoredIDs
	texts string
}

func (w withTexts) SHA256() (string, error) { return sha256Of(w.texts), nil }

type vectorsInMemory struct {
	of   []datasettest.Vectors
	side int // 0 of the documents, 1 of the queries
}

func (v vectorsInMemory) Models() (names []string) {
	for _, m := range v.of {
		names = append(names, m.Name)
	}
	return slices.Sorted(slices.Values(names))
}

func (v vectorsInMemory) Open(model string) (dataset.Matrix, error) {
	for _, m := range v.of {
		if m.Name == model {
			return dataset.NewMatrix("vectors of "+model, [][][]float32{m.Documents, m.Queries}[v.side])
		}
	}
	return nil, dataset.NoModel("vectors", v.Models())
}

// closes counts how often it is closed.
type closes struct {
	dataset.Matrix
	n *int
}

func (c closes) Close() error { *c.n++; return nil }

type closingVectors struct{ closes }

func (v closingVectors) Models() []string                    { return []string{"m"} }
func (v closingVectors) Open(string) (dataset.Matrix, error) { return v.closes, nil }

// TestClose opens vectors that are to be closed: once each, also where they do not fit one another.
func TestClose(t *testing.T) {
	for _, rows := range []int{1, 2} {
		n := 0
		side := func(rows int) dataset.Side {
			ids, err := dataset.IDsOf("ids", "x")
			if err != nil {
				t.Fatal(err)
			}
			x, err := dataset.NewMatrix("x", slices.Repeat([][]float32{{1}}, rows))
			if err != nil {
				t.Fatal(err)
			}
			return dataset.Side{IDs: ids, Texts: dataset.TextsOf{}, Vectors: closingVectors{closes{x, &n}}}
		}
		d, err := dataset.New("memory", side(1), side(rows), []*dataset.Qrels{{Split: "train"}})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := d.Vectors("m"); (err == nil) != (rows == 1) {
				t.Errorf("%d rows for one id: %v", rows, err)
			}
		}
		if want := map[int]int{1: 0, 2: 4}[rows]; n != want {
			t.Errorf("%d matrices were closed before the data set; expected %d", n, want)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		// The vectors of both sides are sources that can be closed, too.
		if want := map[int]int{1: 4, 2: 6}[rows]; n != want {
			t.Errorf("%d were closed; expected %d", n, want)
		}
	}
}
