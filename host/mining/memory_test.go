package mining

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// vectors are one model's rows in memory.
type vectors struct{ rows [][]float32 }

func (v vectors) Models() []string { return []string{"m"} }

func (v vectors) Open(string) (dataset.Matrix, error) { return dataset.NewMatrix("m", v.rows) }

// madeData is documents and queries of random vectors; query i has the positives i and i+1.
func madeData(t *testing.T, documents, queries, width int) *dataset.Dataset {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(documents), uint64(queries)))
	side := func(name string, n int) dataset.Side {
		ids, rows := make([]string, n), make([][]float32, n)
		for i := range n {
			ids[i], rows[i] = fmt.Sprintf("%s%d", name, i), make([]float32, width)
			for c := range rows[i] {
				rows[i][c] = float32(random.NormFloat64())
			}
		}
		all, err := dataset.IDsOf(name, ids...)
		if err != nil {
			t.Fatal(err)
		}
		return dataset.Side{IDs: all, Vectors: vectors{rows}}
	}
	qrels := &dataset.Qrels{Split: "train", Path: "train"}
	for i := range queries {
		for d := i; d < min(i+2, documents); d++ {
			qrels.Judgements = append(qrels.Judgements, dataset.Judgement{Query: fmt.Sprintf("q%d", i), Document: fmt.Sprintf("d%d", d), Score: 1})
		}
	}
	data, err := dataset.New("made", side("d", documents), side("q", queries), []*dataset.Qrels{qrels})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = data.Close() })
	return data
}

// TestWhatAPlanBeginsFinishes plans in the least memory that a refusal names, and in somewhat more, where the pairs go in several groups: the
// instances, whose sessions keep to their limits, never lack memory half-way.
func TestWhatAPlanBeginsFinishes(t *testing.T) {
	spare := instanceMemory
	instanceMemory = 0
	t.Cleanup(func() { instanceMemory = spare })
	least := regexp.MustCompile(`this takes at least (\d+) MiB`)
	several := false
	for _, row := range []struct {
		documents, queries, width int
		o                         Options
	}{
		{600, 500, 96, Options{Rule: "topk", Top: 200, Counts: true}},
		{900, 400, 32, Options{Rule: "perc", Top: 5, Positives: PositivesAll}},
		{500, 450, 48, Options{Rule: "capped", Top: 50, Zero: option.ZeroSkip}},
	} {
		data := madeData(t, row.documents, row.queries, row.width)
		p, err := projection.Fit(t.Context(), data, projection.FitOptions{Components: row.width * 3 / 4})
		if err != nil {
			t.Fatal(err)
		}
		row.o.Compute = Compute{Engine: engine.Native(engine.Options{}), Threads: 2, PartDocuments: 200}
		mine := func(memory int64) (groups int, err error) {
			o := row.o
			o.Memory = option.Budget{Bytes: memory} // nothing is reserved, so that little is given
			plan, err := NewPlan(t.Context(), data, p, o)
			if err != nil {
				return 0, err
			}
			defer plan.Close(context.Background())
			merge := plan.NewMerge()
			for _, piece := range plan.Pieces() {
				part, err := plan.MinePiece(t.Context(), piece)
				if err == nil {
					err = merge.Add(part)
				}
				if err != nil {
					return 0, fmt.Errorf("begun, and not finished: %w", err)
				}
			}
			_, err = merge.Result()
			return plan.Groups(), err
		}
		_, err = mine(1 << 20)
		named := least.FindStringSubmatch(fmt.Sprint(err))
		if !errors.Is(err, option.ErrMemory) || named == nil {
			t.Fatalf("in 1 MiB: %v", err)
		}
		mib, _ := strconv.ParseInt(named[1], 10, 64)
		for _, memory := range []int64{mib, mib + 2, mib + mib/4, 2 * mib} {
			groups, err := mine(memory << 20)
			if err != nil {
				t.Errorf("%d documents, %+v, in %d MiB: %v", row.documents, row.o.Rule, memory, err)
			}
			several = several || groups > 1
		}
	}
	if !several {
		t.Error("the pairs always went in one group")
	}
}
