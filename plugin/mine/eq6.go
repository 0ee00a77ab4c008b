package mine

import (
	"math"

	"github.com/quarry-hn/quarry/plugin/kernel"
)

// eq6 holds documents against the positives of queries by approximate scores, so that few of those that Eq. 6 refuses are
// scored. It knows the queries that have one positive; all documents go on for the others, and all where it is empty.
type eq6 struct {
	pair []int32 // of each query: its pair, or -1
	rows []int32 // of each query: its positive's unit vector in 16 bits, as in screen.rows
	near []int32 // approximate scores of the positives, as screen.scores has those of the queries

	// What Extend is handed to rule nothing out.
	floor, tails []float32
	queries      []int32
}

// newEq6 prepares for a rule that has Eq. 6 and counts nothing.
func newEq6(s *Scanner) eq6 {
	q, stride := len(s.queryNorms), s.screen.panels.Columns
	e := eq6{pair: make([]int32, q), rows: make([]int32, q*stride), floor: make([]float32, mostQueries), tails: make([]float32, mostQueries), queries: make([]int32, mostQueries)}
	for i := range e.floor {
		e.floor[i] = float32(math.Inf(-1))
	}
	for query, pairs := range s.queryPairs {
		together := list(s.pairs.TogetherOffsets, s.pairs.Together, query)
		if e.pair[query] = -1; len(pairs) != 1 || len(together) > 1 {
			continue
		}
		e.pair[query] = pairs[0]
		positive := int(s.pairs.PairPositive[pairs[0]])
		if len(together) == 1 {
			positive = int(together[0])
		}
		s.kernel.Scale(s.screen.unit, s.row(s.pairs.Positives, positive), 1/s.positiveNorms[positive])
		s.kernel.Quantize(e.rows[query*stride:][:kernel.Words(s.pairs.Width)], s.screen.unit)
	}
	return e
}

// surely is 1 where Eq. 6 surely lets a document of the block through for the one positive of a query, by scores that are
// there, -1 where it surely refuses it, and otherwise 0. Both scores may be off by the slack.
func (e *eq6) surely(s *screen, query, document int) int {
	if len(e.pair) == 0 || e.pair[query] < 0 {
		return 0
	}
	at := document*s.run.n + query - s.run.first
	switch margin := (float64(s.scores[at]) - float64(e.near[at])) / unitSquare; {
	case margin > 2*s.slack:
		return 1
	case margin < -2*s.slack:
		return -1
	}
	return 0
}

// dropEq6 takes those queries of the run out of some, to which a document of the block is left, for which Eq. 6 surely refuses
// it. These pairs learn that the document is in their window: where that is not sure, it stays. first is the position of the
// block's first document.
func (s *Scanner) dropEq6(first int64, document int, queries []int32) []int32 {
	e, run, stride := &s.eq6, s.screen.run, s.screen.panels.Columns
	if len(e.pair) == 0 {
		return queries
	}
	e.near = grow(e.near, len(s.screen.scores))
	near := e.near[document*run.n : (document+1)*run.n]
	for _, query := range queries {
		near[query] = 0
	}
	s.kernel.Extend(e.queries[:copy(e.queries, queries)], near, e.rows[run.first*stride:], stride, s.screen.words[document*stride:(document+1)*stride], e.floor, e.tails, 0)
	s.screen.work.Extended += int64(len(queries))
	s.screen.work.ExtendedColumns += int64(len(queries) * s.pairs.Width)
	kept := queries[:0]
	for _, i := range queries {
		query := run.first + int(i)
		if pair := e.pair[query]; e.surely(&s.screen, query, document) < 0 && s.surelyInWindow(pair, s.screen.score(query, document)) {
			s.window[pair] = s.window[pair] || !s.excluded(query, first+int64(document))
			continue
		}
		kept = append(kept, i)
	}
	return kept
}
