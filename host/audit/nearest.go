package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// nearestKept is how many documents are ranked by their nearness to a positive.
const nearestKept = 100

// positivesAtOnce is how many positives go through the documents together, which bounds the memory of their ranks.
const positivesAtOnce = 1 << 14

// ranks are the ranks of negatives among all documents, by their nearness to the positive, from 1. Those past nearestKept have none.
type ranks map[[2]string]int // by positive and negative

// newRanks ranks the documents nearest to each positive, by the mean of the models' cosines. It mines them as topk, with the positives as queries.
func newRanks(ctx context.Context, data *dataset.Dataset, pairs []negatives.Pair, rows map[string]int, c mining.Compute) (ranks, error) {
	r := ranks{}
	positives := map[string]bool{}
	for _, p := range pairs {
		for _, n := range p.Negatives {
			positives[p.PositiveID] = true
			r[[2]string{p.PositiveID, n.ID}] = 0
		}
	}
	progress := c.Progress
	c.Progress = func(stage string, done, total int64) {
		if stage == "mine" {
			progress.Report("rank documents by their nearness to the positives", done, total)
		}
	}
	p, err := projection.Fit(ctx, data, projection.FitOptions{NoPCA: true, Zero: option.ZeroSkip, Threads: c.Threads, Memory: c.Memory})
	if err != nil {
		return nil, err
	}
	for some := range slices.Chunk(slices.Sorted(maps.Keys(positives)), positivesAtOnce) {
		if err := r.mine(ctx, data, p, some, rows, c); err != nil {
			return nil, err
		}
	}
	maps.DeleteFunc(r, func(_ [2]string, rank int) bool { return rank == 0 })
	return r, nil
}

// mine fills in the ranks of some positives.
func (r ranks) mine(ctx context.Context, data *dataset.Dataset, p *projection.Projection, positives []string, rows map[string]int, c mining.Compute) (err error) {
	ids, err := dataset.IDsOf("the positives", positives...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ids.Close()) }()
	of := make([]int, len(positives))
	itself := &dataset.Qrels{Split: "positives", Path: "the positives"}
	for i, id := range positives {
		of[i] = rows[id]
		itself.Judgements = append(itself.Judgements, dataset.Judgement{Query: id, Document: id, Score: 1})
	}
	documents := data.Documents
	documents.Vectors = documentsOf{data, nil}
	// Close of this data set would close the documents, which are the caller's. What it opens, it shares with them.
	again, err := dataset.New(data.Name, documents, dataset.Side{IDs: ids, Vectors: documentsOf{data, of}}, []*dataset.Qrels{itself})
	if err != nil {
		return err
	}
	mined, err := mining.Mine(ctx, again, p, mining.Options{Compute: c, Split: "all", Rule: "topk", Top: nearestKept, Twins: mining.TwinsKeep, Zero: option.ZeroSkip})
	if err != nil {
		return err
	}
	for _, pair := range mined.Pairs {
		for _, n := range pair.Negatives {
			key := [2]string{pair.PositiveID, n.ID}
			if _, wanted := r[key]; wanted {
				r[key] = n.Rank
			}
		}
	}
	return nil
}

// documentsOf are the vectors of a data set's documents: of some rows, or of all where rows is nil.
type documentsOf struct {
	*dataset.Dataset
	rows []int
}

func (d documentsOf) Models() []string { return d.Dataset.Models }

func (d documentsOf) Open(model string) (dataset.Matrix, error) {
	m, err := d.Vectors(model)
	if err != nil {
		return nil, err
	}
	return rowsOf{m.Documents, d.rows}, nil
}

// rowsOf is a matrix of some rows of another, or of all where rows is nil. It is no io.Closer: the other stays open.
type rowsOf struct {
	dataset.Matrix
	rows []int
}

func (x rowsOf) Rows() int {
	if x.rows == nil {
		return x.Matrix.Rows()
	}
	return len(x.rows)
}

func (x rowsOf) ReadRows(dst []byte, first, n int) error {
	if x.rows == nil {
		return x.Matrix.ReadRows(dst, first, n)
	}
	if err := dataset.CheckRows(x, dst, first, n); err != nil {
		return err
	}
	size := x.Width() * x.DType().Size()
	for i, row := range x.rows[first : first+n] {
		if err := x.Matrix.ReadRows(dst[i*size:][:size], row, 1); err != nil {
			return fmt.Errorf("row %d: %w", row, err)
		}
	}
	return nil
}

func (x rowsOf) SHA256() (string, error) {
	if x.rows == nil {
		return x.Matrix.SHA256()
	}
	return dataset.Fingerprint(x)
}
