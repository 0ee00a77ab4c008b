package job

import (
	"fmt"
	"slices"

	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// A pairs file is the tensors of a begin message (docs/ABI.md) and the ids of its queries and positives.
const (
	pairsFormat = "quarry.pairs.v1"
	queryIDs    = "query_ids"
	positiveIDs = "positive_ids"
)

// pairsFile is a group of pairs with its ids.
type pairsFile struct {
	*mining.Group
	queries, positives    *ids
	pairQuery, pairAnswer []int64
}

// marshalPairs returns the bytes of a group's file.
func marshalPairs(g *mining.Group, queries, positives []string) ([]byte, error) {
	tensors := slices.Concat(g.Tensors, idTensors(queryIDs, queries), idTensors(positiveIDs, positives))
	return safetensors.Marshal(tensors, map[string]string{"format": pairsFormat})
}

// parsePairs reads a group's file. What it does not check, the plugin does before it computes.
func parsePairs(b []byte, id string, of Pairs) (*pairsFile, error) {
	f, err := safetensors.Parse(b, abi.MaxHeader)
	if err != nil {
		return nil, fmt.Errorf("not a safetensors file: %w", err)
	}
	if got := f.Metadata["format"]; got != "" && got != pairsFormat {
		return nil, fmt.Errorf("format is %q; expected %q", got, pairsFormat)
	}
	p := &pairsFile{Group: &mining.Group{ID: id}}
	for _, t := range f.Tensors {
		switch t.Name {
		case queryIDs, queryIDs + "_offsets", positiveIDs, positiveIDs + "_offsets":
			continue
		case "pair_query":
			p.pairQuery = safetensors.Int64s(t.Data)
		case "pair_positive":
			p.pairAnswer = safetensors.Int64s(t.Data)
		}
		if t.DType == safetensors.U8 {
			return nil, fmt.Errorf("tensor %s does not belong", t.Name)
		}
		p.Tensors = append(p.Tensors, t)
	}
	rows := func(name string) int {
		t, _ := f.Tensor(name)
		if len(t.Shape) == 0 {
			return 0
		}
		return t.Shape[0]
	}
	if p.queries, err = idsOf(f, queryIDs, rows("queries")); err == nil {
		p.positives, err = idsOf(f, positiveIDs, rows("positives"))
	}
	if err != nil {
		return nil, err
	}
	if n := of.End - of.First; len(p.pairQuery) != n || len(p.pairAnswer) != n {
		return nil, fmt.Errorf("tensors pair_query and pair_positive have %d and %d values; the manifest has %d pairs", len(p.pairQuery), len(p.pairAnswer), n)
	}
	if got := rows("positives"); got > of.Positives {
		return nil, fmt.Errorf("%d positives; the manifest has %d", got, of.Positives)
	}
	if got := rows("exclude") + rows("together"); got > of.Excluded {
		return nil, fmt.Errorf("%d documents excluded; the manifest has %d", got, of.Excluded)
	}
	for i := range p.pairQuery {
		if q, a := p.pairQuery[i], p.pairAnswer[i]; q < 0 || a < 0 || q >= int64(p.queries.len()) || a >= int64(p.positives.len()) {
			return nil, fmt.Errorf("pair %d is of query %d and positive %d; there are %d and %d", i, q, a, p.queries.len(), p.positives.len())
		}
	}
	return p, nil
}

// pair is the ids of pair i.
func (p *pairsFile) pair(i int) (query, positive string) {
	return p.queries.at(int(p.pairQuery[i])), p.positives.at(int(p.pairAnswer[i]))
}
