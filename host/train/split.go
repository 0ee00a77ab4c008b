package train

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Components groups queries that share a positive, directly or by way of other queries. relevant gives the ids of the documents that are
// relevant to each query. The queries of a component are in the order of their ids, and the components in that of their first queries.
//
// A model that is trained on a query has seen the positives of its whole component. So a component lies on one side of a split.
func Components(relevant map[string][]string) [][]string {
	parent := map[string]string{}
	root := func(q string) string {
		for parent[q] != q {
			parent[q] = parent[parent[q]]
			q = parent[q]
		}
		return q
	}
	owner := map[string]string{} // of a document: the first query that it is relevant to
	queries := slices.Sorted(maps.Keys(relevant))
	for _, q := range queries {
		parent[q] = q
		for _, d := range relevant[q] {
			if first, seen := owner[d]; seen {
				parent[root(q)] = root(first)
			} else {
				owner[d] = q
			}
		}
	}
	at := map[string]int{}
	var components [][]string
	for _, q := range queries {
		i, seen := at[root(q)]
		if !seen {
			i = len(components)
			at[root(q)] = i
			components = append(components, nil)
		}
		components[i] = append(components[i], q)
	}
	return components
}

// Split is a cut of queries into three sides that share no positive.
type Split struct {
	Train, Validation, Test []string
}

// shares are the parts of the queries that Cut gives each side.
var shares = [...]float64{0.6, 0.15, 0.25}

// Cut puts each component on one side: about 60 % of the queries train, 15 % validate and 25 % test. A component goes where most queries
// are missing. The seed alone decides the order that components come in.
func Cut(components [][]string, seed uint64) Split {
	total := 0.0
	for _, c := range components {
		total += float64(len(c))
	}
	var sides [len(shares)][]string
	random := rand.New(rand.NewPCG(seed, 0x73706c6974))
	for _, i := range random.Perm(len(components)) {
		to, most := 0, 0.0
		for side, share := range shares {
			// A side's need is relative to its share, so that all sides fill at the same pace.
			if missing := share*total - float64(len(sides[side])); missing/share > most {
				to, most = side, missing/share
			}
		}
		sides[to] = append(sides[to], components[i]...)
	}
	return Split{sides[0], sides[1], sides[2]}
}
