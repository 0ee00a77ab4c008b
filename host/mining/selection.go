package mining

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// selection is the pairs of a split, by row, in the order of its judgements.
type selection struct {
	pairs     []rowPair
	exclude   map[int][]int64 // by query: positions of documents that are never mined as its negatives
	positives map[int][]int   // by query: rows of the documents that are judged relevant to it, in any split
	together  map[int][]int   // by query: documents that must all satisfy the rule; nil unless asked for
	path      string          // of the first qrels file, for errors
	missing   int             // pairs left out because their query or positive is not in the data set
	zero      int             // pairs left out because their query or positive is a zero vector
	twins     int             // documents that are left out because they equal a positive of some query
	queries   int             // distinct queries, before pairs of zero vectors are dropped
}

// rowPair is a pair: a row of the query vectors and one of the document vectors.
type rowPair struct{ query, positive int }

// selectWithoutTwins takes the pairs of a split, and leaves the twins of positives out where the options say so. documents are
// the vectors of models.
func selectWithoutTwins(ctx context.Context, data *dataset.Dataset, models []pca.Model, documents []dataset.Matrix, o Options) (*selection, error) {
	s, err := selectPairs(data, o)
	if err != nil || o.Twins == TwinsKeep {
		return s, err
	}
	of, err := o.Search.once(data, models, func() (twins, error) { return s.findTwins(ctx, data, documents, o.Compute) })
	if err != nil {
		return nil, err
	}
	s.excludeTwins(of)
	return s, nil
}

// selectPairs takes the pairs of a split. A document judged relevant to a query in any split, or in the judgements beside them, is never mined as
// its negative.
func selectPairs(data *dataset.Dataset, o Options) (*selection, error) {
	splits, err := chooseSplits(data, o.Split)
	if err != nil {
		return nil, err
	}
	queries, documents, err := judgedRows(data)
	if err != nil {
		return nil, err
	}
	positivesOf := map[string][]int{} // document rows, by query id
	for _, j := range dataset.Relevant(slices.Concat(data.Qrels, data.Judged)) {
		if row, ok := documents[j.Document]; ok {
			positivesOf[j.Query] = append(positivesOf[j.Query], row)
		}
	}
	if o.Missing == MissingError {
		if err := checkKnown(data, data.Judged, queries, documents); err != nil {
			return nil, err
		}
	}
	s := &selection{path: splits[0].Path, exclude: map[int][]int64{}, positives: map[int][]int{}}
	if o.Positives == PositivesAll {
		s.together = map[int][]int{}
	}
	for q, j := range dataset.Relevant(splits) {
		query, okQuery := queries[j.Query]
		positive, okPositive := documents[j.Document]
		if !okQuery || !okPositive {
			if o.Missing == MissingError {
				return nil, missingError(data, q, j, okQuery)
			}
			s.missing++
			continue
		}
		s.pairs = append(s.pairs, rowPair{query, positive})
		if _, seen := s.exclude[query]; seen {
			continue
		}
		self, isDocument := documents[j.Query]
		s.exclude[query] = exclusions(positivesOf[j.Query], self, isDocument && o.Self == SelfExclude)
		s.positives[query] = positivesOf[j.Query]
		if s.together != nil {
			s.together[query] = positivesOf[j.Query]
		}
	}
	if len(s.pairs) == 0 {
		return nil, noPairs(s.path, o.Split, s.missing)
	}
	s.queries = len(s.exclude)
	return s, nil
}

// CheckJudgements finds all that mining would refuse of the judgements, whatever the split: of each split the first pair whose query or
// positive is missing, and that there is no pair in any.
func CheckJudgements(data *dataset.Dataset) (problems []error) {
	queries, documents, err := judgedRows(data)
	if err != nil {
		return []error{err}
	}
	for _, q := range data.Qrels {
		if err := checkKnown(data, []*dataset.Qrels{q}, queries, documents); err != nil {
			problems = append(problems, err)
		}
	}
	for range dataset.Relevant(data.Qrels) {
		return problems
	}
	return append(problems, noPairs(data.Qrels[0].Path, "all", 0))
}

func noPairs(path, split string, missing int) error {
	return dataset.FileError(path, "add judgements, or choose another --split", "split %s has no pair with a score above 0 (%d were skipped as missing)", excerpt.Quote(split), missing)
}

// checkKnown fails where judgements name what the data set lacks.
func checkKnown(data *dataset.Dataset, judgements []*dataset.Qrels, queries, documents map[string]int) error {
	for q, j := range dataset.Relevant(judgements) {
		_, okQuery := queries[j.Query]
		if _, okDocument := documents[j.Document]; !okQuery || !okDocument {
			return missingError(data, q, j, okQuery)
		}
	}
	return nil
}

// judgedRows finds the rows of all queries and documents that are judged, and of documents that have a query's id.
func judgedRows(data *dataset.Dataset) (queries, documents map[string]int, err error) {
	wantedQueries, wantedDocuments := map[string]bool{}, map[string]bool{}
	for _, j := range dataset.Relevant(slices.Concat(data.Qrels, data.Judged)) {
		wantedQueries[j.Query], wantedDocuments[j.Query], wantedDocuments[j.Document] = true, true, true
	}
	if queries, err = data.Queries.Rows(wantedQueries); err == nil {
		documents, err = data.Documents.Rows(wantedDocuments)
	}
	return queries, documents, err
}

// CheckBeforeFit finds what mining would refuse once a projection is fitted: an unknown split, a query or positive that
// is missing, and memory that is too little whatever the fit gives. Call it before a fit, which may be long.
func CheckBeforeFit(data *dataset.Dataset, fit projection.FitOptions, o Options) error {
	o, _, err := o.withDefaults()
	if err != nil {
		return err
	}
	selection, err := selectPairs(data, o)
	if err != nil {
		return err
	}
	least, most, err := sizesToBe(data, fit)
	if err != nil {
		return err
	}
	_, err = splitForPairs(o.Compute, least, selection, o.Top, o.Counts)
	if little := (*option.MemoryError)(nil); errors.As(err, &little) {
		_, err := splitForPairs(o.Compute, most, selection, o.Top, o.Counts)
		if enough := (*option.MemoryError)(nil); errors.As(err, &enough) {
			return &option.MemoryError{Given: little.Given, Least: little.Least, Enough: enough.Least}
		}
	}
	return err
}

// CheckPairs finds what mining would refuse of the pairs: an unknown split, and a query or positive that is missing.
func CheckPairs(data *dataset.Dataset, o Options) error {
	o, _, err := o.withDefaults()
	if err == nil {
		_, err = selectPairs(data, o)
	}
	return err
}

func chooseSplits(data *dataset.Dataset, split string) ([]*dataset.Qrels, error) {
	if split == "all" {
		return data.Qrels, nil
	}
	var names []string
	for _, q := range data.Qrels {
		if q.Split == split {
			return []*dataset.Qrels{q}, nil
		}
		names = append(names, q.Split)
	}
	return nil, fmt.Errorf("%w: there is no qrels/%s.tsv\n  hint: choose --split %s or all", option.ErrOption, excerpt.Text(split), excerpt.Text(strings.Join(names, ", ")))
}

func missingError(data *dataset.Dataset, q *dataset.Qrels, j dataset.Judgement, okQuery bool) error {
	problem := fmt.Sprintf("document %s is not in %s", excerpt.Quote(j.Document), data.Documents.Name())
	if !okQuery {
		problem = fmt.Sprintf("query %s is not in %s", excerpt.Quote(j.Query), data.Queries.Name())
	}
	return &dataset.Error{Path: q.Path, Line: j.Line, Row: -1, Problem: problem, Hint: "add it, or leave such pairs out with --missing skip"}
}

// exclusions lists the documents that are never mined as a query's negatives: its judged positives, and the document that is the query itself.
func exclusions(positives []int, self int, excludeSelf bool) []int64 {
	if excludeSelf && !slices.Contains(positives, self) {
		positives = append(slices.Clone(positives), self)
	}
	exclude := make([]int64, len(positives))
	for i, row := range positives {
		exclude[i] = int64(row)
	}
	slices.Sort(exclude)
	return exclude
}

// drop leaves out the pairs of queries and positives that are marked.
func (s *selection) drop(queries, positives map[int]bool) {
	before := len(s.pairs)
	s.pairs = slices.DeleteFunc(s.pairs, func(p rowPair) bool { return queries[p.query] || positives[p.positive] })
	s.zero += before - len(s.pairs)
	for query, rows := range s.together {
		s.together[query] = slices.DeleteFunc(slices.Clone(rows), func(row int) bool { return positives[row] })
	}
}

// groupRows is consecutive pairs by their rows, as a begin message has them: each query and each positive once.
type groupRows struct {
	queries   []int      // rows of the query vectors
	positives []int      // rows of the document vectors
	pairs     [][2]int64 // of each pair: index into queries, into positives
	exclude   [][]int64  // of each query
	together  [][]int64  // of each query: indices into positives
}

// group returns some of the pairs.
func (s *selection) group(pairs span) *groupRows {
	g := &groupRows{}
	queries, positives := map[int]int64{}, map[int]int64{}
	index := func(of map[int]int64, rows *[]int, row int) int64 {
		i, ok := of[row]
		if !ok {
			i = int64(len(*rows))
			of[row] = i
			*rows = append(*rows, row)
		}
		return i
	}
	for _, p := range s.pairs[pairs.first:pairs.end] {
		before := len(g.queries)
		query := index(queries, &g.queries, p.query)
		if len(g.queries) > before {
			g.exclude = append(g.exclude, s.exclude[p.query])
			var together []int64
			for _, row := range s.together[p.query] {
				together = append(together, index(positives, &g.positives, row))
			}
			g.together = append(g.together, together)
		}
		g.pairs = append(g.pairs, [2]int64{query, index(positives, &g.positives, p.positive)})
	}
	return g
}
