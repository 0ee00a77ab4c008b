package sampler

import (
	"context"
	"errors"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/projection"
)

// Given gives the pairs of a data set negatives that were mined already, by whatever: of each pair that is in given, the first m.Top. They are
// scored as a scan scores them, whatever distances they came with, and the nearest comes first. Pairs that the data set lacks are passed over.
// name is what errors call given, the path of a file; such an error is a *dataset.Error. m.Rule is not looked at.
func Given(ctx context.Context, data *dataset.Dataset, p *projection.Projection, m mining.Options, name string, given []negatives.Pair) (_ *negatives.Result, err error) {
	s := &sampling{mine: m, data: data, projection: p}
	if s.plan, err = s.newPlan(ctx, data, topk, m.Top); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.plan.Close(ctx)) }()
	chosen, err := s.positions(name, given)
	if err != nil {
		return nil, err
	}
	part, err := s.plan.Score(ctx, chosen)
	if err != nil {
		return nil, err
	}
	manifest := s.plan.Manifest()
	manifest.Rule = negatives.ManifestRule{Name: "given", ManifestSampling: &negatives.ManifestSampling{Sampler: "given"}}
	return s.plan.Result(part, manifest, nil)
}

// positions finds the documents that are given for each pair of the plan.
func (s *sampling) positions(name string, given []negatives.Pair) ([][]int64, error) {
	most := s.plan.Manifest().Top
	queries, documents := map[string]bool{}, map[string]bool{}
	for _, pair := range given {
		queries[pair.QueryID], documents[pair.PositiveID] = true, true
		for _, n := range pair.Negatives[:min(most, len(pair.Negatives))] {
			documents[n.ID] = true
		}
	}
	queryRows, err := s.data.Queries.Rows(queries)
	if err != nil {
		return nil, err
	}
	rows, err := s.data.Documents.Rows(documents)
	if err != nil {
		return nil, err
	}
	at := map[mining.PairRows]int{}
	for i, pair := range s.plan.PairRows() {
		at[pair] = i
	}
	chosen, found := make([][]int64, len(at)), false
	for i, pair := range given {
		query, isQuery := queryRows[pair.QueryID]
		positive, isDocument := rows[pair.PositiveID]
		number, is := at[mining.PairRows{Query: query, Positive: positive}]
		if !isQuery || !isDocument || !is {
			continue
		}
		found = true
		bad := func(format string, args ...any) error {
			e := dataset.FileError(name, "mine for this data set, with its judgements", format, args...)
			e.Line = i + 1
			return e
		}
		if chosen[number] != nil {
			return nil, bad("query %s and document %s are a pair twice", excerpt.Quote(pair.QueryID), excerpt.Quote(pair.PositiveID))
		}
		chosen[number] = []int64{}
		for _, n := range pair.Negatives[:min(most, len(pair.Negatives))] {
			row, is := rows[n.ID]
			if !is {
				return nil, bad("negative %s is not in %s", excerpt.Quote(n.ID), s.data.Documents.Name())
			}
			if _, excluded := slices.BinarySearch(s.plan.Excluded(query), int64(row)); excluded {
				return nil, bad("negative %s is judged relevant to query %s, or is the query itself", excerpt.Quote(n.ID), excerpt.Quote(pair.QueryID))
			}
			if slices.Contains(chosen[number], int64(row)) {
				return nil, bad("negative %s is there twice", excerpt.Quote(n.ID))
			}
			chosen[number] = append(chosen[number], int64(row))
		}
	}
	if !found {
		return nil, dataset.FileError(name, "mine for this data set and split", "none of its %d pairs is a pair of %s", len(given), s.data.Name)
	}
	return chosen, nil
}
