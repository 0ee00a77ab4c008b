package host

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
)

// pairSet is the pairs of a split, by row, with each query and each positive once.
type pairSet struct {
	queries   []int      // rows of the query vectors
	positives []int      // rows of the document vectors
	pairs     [][2]int64 // of each pair: index into queries, into positives
	exclude   [][]int64  // of each query: document positions that are no negatives of it
	together  [][]int64  // of each query: indices into positives that must all satisfy the rule; empty unless asked for
	path      string     // of the first qrels file, for errors
	missing   int        // pairs left out because their query or positive is not in the folder
}

// selectPairs takes the pairs of a split, in the order of its judgements. Judgements of every split count as positives that are not
// to be negatives.
func selectPairs(folder *dataset.Folder, o MineOptions) (*pairSet, error) {
	positivesOf := map[string][]int64{} // document rows, by query id
	for _, q := range folder.Qrels {
		for _, j := range q.Judgements {
			if row, ok := folder.Documents.Row(j.Document); ok && j.Score > 0 {
				positivesOf[j.Query] = append(positivesOf[j.Query], int64(row))
			}
		}
	}
	splits, err := chooseSplits(folder, o.Split)
	if err != nil {
		return nil, err
	}
	s := &pairSet{path: splits[0].Path}
	queryIndex, positiveIndex := map[int]int64{}, map[int]int64{}
	index := func(of map[int]int64, rows *[]int, row int) int64 {
		i, ok := of[row]
		if !ok {
			i = int64(len(*rows))
			of[row] = i
			*rows = append(*rows, row)
		}
		return i
	}
	for _, q := range splits {
		for _, j := range q.Judgements {
			if j.Score <= 0 {
				continue
			}
			query, okQuery := folder.Queries.Row(j.Query)
			positive, okPositive := folder.Documents.Row(j.Document)
			if !okQuery || !okPositive {
				if o.Missing == MissingError {
					return nil, missingError(folder, q, j, okQuery)
				}
				s.missing++
				continue
			}
			before := len(s.queries)
			i := index(queryIndex, &s.queries, query)
			if len(s.queries) > before {
				s.exclude = append(s.exclude, s.exclusions(folder, j.Query, positivesOf[j.Query], o))
				s.together = append(s.together, nil)
				if o.Positives == PositivesAll {
					for _, row := range positivesOf[j.Query] {
						s.together[i] = append(s.together[i], index(positiveIndex, &s.positives, int(row)))
					}
				}
			}
			s.pairs = append(s.pairs, [2]int64{i, index(positiveIndex, &s.positives, positive)})
		}
	}
	if len(s.pairs) == 0 {
		return nil, &dataset.Error{Path: s.path, Row: -1, Problem: fmt.Sprintf("split %q has no pair with a score above 0 (%d were skipped as missing)", o.Split, s.missing),
			Hint: "add judgements, or choose another --split"}
	}
	return s, nil
}

// CheckPairs fails where Mine would for the pairs alone: an unknown split, a query or positive that is missing. It needs no vectors, so a
// long fit need not come first.
func CheckPairs(folder *dataset.Folder, o MineOptions) error {
	o, _, err := o.withDefaults()
	if err == nil {
		_, err = selectPairs(folder, o)
	}
	return err
}

func chooseSplits(folder *dataset.Folder, split string) ([]*dataset.Qrels, error) {
	if split == "all" {
		return folder.Qrels, nil
	}
	var names []string
	for _, q := range folder.Qrels {
		if q.Split == split {
			return []*dataset.Qrels{q}, nil
		}
		names = append(names, q.Split)
	}
	return nil, fmt.Errorf("%w: there is no qrels/%s.tsv\n  hint: choose --split %s or all", ErrOption, split, strings.Join(names, ", "))
}

func missingError(folder *dataset.Folder, q *dataset.Qrels, j dataset.Judgement, okQuery bool) error {
	problem := fmt.Sprintf("document %q is not in %s", j.Document, folder.Documents.Path)
	if !okQuery {
		problem = fmt.Sprintf("query %q is not in %s", j.Query, folder.Queries.Path)
	}
	return &dataset.Error{Path: q.Path, Line: j.Line, Row: -1, Problem: problem, Hint: "add it, or leave such pairs out with --missing skip"}
}

// exclusions lists what is no negative of a query: its judged positives, and the document that is the query itself.
func (s *pairSet) exclusions(folder *dataset.Folder, query string, positives []int64, o MineOptions) []int64 {
	exclude := slices.Clone(positives)
	if row, ok := folder.Documents.Row(query); ok && o.Self == SelfExclude && !slices.Contains(exclude, int64(row)) {
		exclude = append(exclude, int64(row))
	}
	slices.Sort(exclude)
	return exclude
}

// drop leaves out the pairs of the queries and positives that are marked, and returns how many.
func (s *pairSet) drop(query, positive []bool) int {
	before := len(s.pairs)
	s.pairs = slices.DeleteFunc(s.pairs, func(p [2]int64) bool { return query[p[0]] || positive[p[1]] })
	for i := range s.together {
		s.together[i] = slices.DeleteFunc(s.together[i], func(p int64) bool { return positive[p] })
	}
	return before - len(s.pairs)
}

// ragged lays lists out as offsets and values.
func ragged(lists [][]int64) (offsets, values []int64) {
	offsets, values = make([]int64, 1, len(lists)+1), []int64{}
	for _, l := range lists {
		values = append(values, l...)
		offsets = append(offsets, int64(len(values)))
	}
	return offsets, values
}
