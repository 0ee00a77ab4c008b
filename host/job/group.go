package job

import (
	"fmt"
	"slices"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// A group's file has the tensors of a begin message (docs/ABI.md), and the ids of its queries and positives.
const (
	groupFormat = "quarry.pairs.v1"
	queryIDs    = "query_ids"
	positiveIDs = "positive_ids"
)

// groupFile is a group of pairs as its file has it.
type groupFile struct {
	*mining.Group
	queries, positives         *ids
	pairQueries, pairPositives []int64 // of each pair, its rows of queries and of positives
}

// marshalGroup returns the bytes of a group's file. The ids are those of the rows of its queries and positives.
func marshalGroup(g *mining.Group, queries, positives []string) ([]byte, error) {
	tensors := slices.Concat(g.Tensors, idTensors(queryIDs, queries), idTensors(positiveIDs, positives))
	return safetensors.Marshal(tensors, map[string]string{"format": groupFormat})
}

// parseGroup reads a group's file and checks that it is the one of the manifest, by the numbers that the manifest has
// of it. The plugin checks the rest before it computes.
func parseGroup(b []byte, pairsID string, want Group) (*groupFile, error) {
	f, err := safetensors.Parse(b, abi.MaxHeader)
	if err != nil {
		return nil, fmt.Errorf("not a safetensors file: %w", err)
	}
	if got := f.Metadata["format"]; got != "" && got != groupFormat {
		return nil, fmt.Errorf("format is %s; expected %q", excerpt.Quote(got), groupFormat)
	}
	g := &groupFile{Group: &mining.Group{ID: pairsID}}
	for _, t := range f.Tensors {
		switch t.Name {
		case queryIDs, queryIDs + "_offsets", positiveIDs, positiveIDs + "_offsets":
			continue
		case abi.TensorPairQuery:
			g.pairQueries = safetensors.Int64s(t.Data)
		case abi.TensorPairPositive:
			g.pairPositives = safetensors.Int64s(t.Data)
		}
		if t.DType == safetensors.U8 {
			return nil, fmt.Errorf("tensor %s does not belong", excerpt.Quote(t.Name))
		}
		g.Tensors = append(g.Tensors, t)
	}
	if g.queries, err = idsOf(f, queryIDs, rowsOf(f, abi.TensorQueries)); err == nil {
		g.positives, err = idsOf(f, positiveIDs, rowsOf(f, abi.TensorPositives))
	}
	if err != nil {
		return nil, err
	}
	return g, g.check(f, want)
}

// rowsOf is how many rows a tensor has; 0 where the file has no such tensor.
func rowsOf(f *safetensors.File, tensor string) int {
	t, _ := f.Tensor(tensor)
	if len(t.Shape) == 0 {
		return 0
	}
	return t.Shape[0]
}

// check compares the group with the manifest's numbers, which workers plan their memory by, and its pairs with its
// queries and positives.
func (g *groupFile) check(f *safetensors.File, want Group) error {
	if n := want.End - want.First; len(g.pairQueries) != n || len(g.pairPositives) != n {
		return fmt.Errorf("tensors pair_query and pair_positive have %d and %d values; the manifest has %d pairs", len(g.pairQueries), len(g.pairPositives), n)
	}
	if got := rowsOf(f, abi.TensorPositives); got > want.Positives {
		return fmt.Errorf("%d positives; the manifest has %d", got, want.Positives)
	}
	if got := rowsOf(f, abi.TensorExclude) + rowsOf(f, abi.TensorTogether); got > want.Excluded {
		return fmt.Errorf("%d documents excluded; the manifest has %d", got, want.Excluded)
	}
	for i, query := range g.pairQueries {
		positive := g.pairPositives[i]
		if query < 0 || positive < 0 || query >= int64(g.queries.len()) || positive >= int64(g.positives.len()) {
			return fmt.Errorf("pair %d is of query %d and positive %d; there are %d and %d", i, query, positive, g.queries.len(), g.positives.len())
		}
	}
	return nil
}

// pair returns the ids of the query and the positive of pair i.
func (g *groupFile) pair(i int) (query, positive string) {
	return g.queries.at(int(g.pairQueries[i])), g.positives.at(int(g.pairPositives[i]))
}
