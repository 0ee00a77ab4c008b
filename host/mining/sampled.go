package mining

import (
	"context"
	"slices"

	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// What follows is for samplers (package sampler), which choose documents in other ways than by a scan, or out of what a scan found.

// PairRows are the rows of a pair's query and of its positive.
type PairRows struct{ Query, Positive int }

// PairRows returns the rows of all pairs, in their order.
func (p *Plan) PairRows() []PairRows {
	rows := make([]PairRows, len(p.selection.pairs))
	for i, pair := range p.selection.pairs {
		rows[i] = PairRows{pair.query, pair.positive}
	}
	return rows
}

// Excluded lists the documents that are never negatives of the query of a row, by position, ascending: those judged relevant to it in any
// split, and, unless the options keep them, their twins and the one that is the query itself. The caller must not change the list.
func (p *Plan) Excluded(query int) []int64 { return p.selection.exclude[query] }

// CheckAll checks that a part is of all the plan's pairs and documents, and of its options.
func (p *Plan) CheckAll(part *mine.Part) error {
	options := p.miner.options
	options.PairsID = p.pairsID(span{0, len(p.selection.pairs)})
	return CheckPart(part, options, mine.Range{First: 0, End: int64(p.Documents())})
}

// ZeroDocuments lists the documents that are zero vectors, by position, ascending, where Options.Zero leaves them out. Otherwise it reads
// nothing: such a document is an error once it is scored.
func (p *Plan) ZeroDocuments(ctx context.Context) (zero []int64, err error) {
	if p.options.Zero != option.ZeroSkip {
		return nil, nil
	}
	done := p.options.Progress.Count("look for zero vectors", p.Documents())
	step := p.rowsHeld()
	err = p.miner.alone(func() error {
		for first := 0; first < p.Documents(); first += step {
			rows := make([]int, min(step, p.Documents()-first))
			for i := range rows {
				rows[i] = first + i
			}
			_, zeros, err := p.miner.instances.project(ctx, p.documents, rows, option.ZeroSkip, done)
			if err != nil {
				return err
			}
			for i, z := range zeros {
				if z {
					zero = append(zero, int64(first+i))
				}
			}
		}
		return nil
	})
	return zero, err
}

// rowsHeld is how many projected rows are held at a time.
func (p *Plan) rowsHeld() int { return max(64, min(1<<12, transformBytes/(8*p.projection.Width()))) }

// Score gives the documents that were chosen for each pair their scores, which have the bits that a scan gives: s(Q,PD), and of each document
// s(Q,D) and s(PD,D), the nearest to the query first. chosen has a list of positions for each pair, without repeats.
func (p *Plan) Score(ctx context.Context, chosen [][]int64) (part *mine.Part, err error) {
	n := len(p.selection.pairs)
	part = &mine.Part{Ranges: []mine.Range{{First: 0, End: int64(p.Documents())}}, SQPD: make([]float64, n), Window: make([]bool, n), Found: make([][]mine.Negative, n)}
	done := p.options.Progress.Count("score", n)
	err = p.miner.alone(func() error {
		for first := 0; first < n; {
			end, rows := first, 0
			for end < n && (end == first || rows+2+len(chosen[end]) <= p.rowsHeld()) {
				rows += 2 + len(chosen[end])
				end++
			}
			if err := p.score(ctx, part, chosen, first, end); err != nil {
				return err
			}
			done(end - first)
			first = end
		}
		return nil
	})
	return part, err
}

// Nearer orders documents as a result does, for slices.SortFunc.
func Nearer(a, b mine.Negative) int {
	switch {
	case a.Before(b):
		return -1
	case b.Before(a):
		return 1
	}
	return 0
}

// score scores the documents of pairs first to end-1.
func (p *Plan) score(ctx context.Context, part *mine.Part, chosen [][]int64, first, end int) error {
	queryRows, documentRows := map[int]bool{}, map[int]bool{}
	for i, pair := range p.selection.pairs[first:end] {
		queryRows[pair.query], documentRows[pair.positive] = true, true
		for _, position := range chosen[first+i] {
			documentRows[int(position)] = true
		}
	}
	queries, err := p.projectRows(ctx, true, queryRows)
	if err != nil {
		return err
	}
	documents, err := p.projectRows(ctx, false, documentRows)
	if err != nil {
		return err
	}
	k := kernel.Fastest()
	cosine := func(a, b projected) float64 { return k.Dot(a.row, b.row) / (a.norm * b.norm) }
	for i := first; i < end; i++ {
		pair := p.selection.pairs[i]
		query, positive := queries[pair.query], documents[pair.positive]
		part.SQPD[i] = cosine(query, positive)
		for _, position := range chosen[i] {
			d := documents[int(position)]
			part.Found[i] = append(part.Found[i], mine.Negative{Position: position, SQD: cosine(query, d), SPDD: cosine(positive, d)})
		}
		slices.SortFunc(part.Found[i], Nearer)
		part.Window[i] = len(chosen[i]) > 0
	}
	return nil
}

// projected is a projected row and its norm.
type projected struct {
	row  []float32
	norm float64
}

// projectRows projects rows of the queries or of the documents.
func (p *Plan) projectRows(ctx context.Context, ofQueries bool, wanted map[int]bool) (map[int]projected, error) {
	xs := p.documents
	if ofQueries {
		xs = p.queries
	}
	rows := make([]int, 0, len(wanted))
	for row := range wanted {
		rows = append(rows, row)
	}
	slices.Sort(rows)
	y, _, err := p.miner.instances.project(ctx, xs, rows, option.ZeroError, func(int) {})
	if err != nil {
		return nil, err
	}
	k, width := kernel.Fastest(), p.projection.Width()
	of := make(map[int]projected, len(rows))
	for i, row := range rows {
		v := y[i*width : (i+1)*width]
		norm := kernel.Norm(k, v)
		if norm == 0 {
			return nil, p.miner.instances.locate(abi.Errorf(abi.ZeroVector, "the projected vector is zero, so its cosine is undefined").At(abi.TensorDocuments, i),
				abi.OpTransform, xs, len(rows), func(i int) int { return rows[i] })
		}
		of[row] = projected{v, norm}
	}
	return of, nil
}
