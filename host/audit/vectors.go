package audit

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// vectors are the cosines that the signals need, summed over the models. Only one model's vectors are in memory at a time.
type vectors struct {
	pairs     []negatives.Pair
	queries   map[string]int // rows by id
	documents map[string]int
	of        [][]cosines            // of each pair's negatives
	twins     [][2]string            // pairs of positives of one query
	positives []float64              // their cosines
	near      map[[2]string]*float64 // cosines of two queries: a pair's, and another to which one of its negatives is relevant
	models    int
}

// mostQueries is how many of the queries to which a document is relevant are looked at.
const mostQueries = 100

// cosines are those of one negative, summed over the models.
type cosines struct {
	query, positive float64 // s(Q,D), s(PD,D)
	own             float64 // s(Q,PD)
	prefer          int     // models for which s(Q,D) > s(Q,PD)
}

func newVectors(data *dataset.Dataset, pairs []negatives.Pair, j *judged) (*vectors, error) {
	v := &vectors{pairs: pairs, models: len(data.Models), of: make([][]cosines, len(pairs)), near: map[[2]string]*float64{}}
	queries, documents := map[string]bool{}, map[string]bool{}
	for i, p := range pairs {
		v.of[i] = make([]cosines, len(p.Negatives))
		queries[p.QueryID], documents[p.PositiveID] = true, true
		for _, n := range p.Negatives {
			documents[n.ID] = true
			for _, q := range j.elsewhere(p.QueryID, n.ID) {
				queries[q] = true
				v.near[[2]string{p.QueryID, q}] = new(float64)
			}
		}
	}
	for _, query := range slices.Sorted(maps.Keys(j.positives)) {
		of := j.positives[query]
		for a := range of {
			for b := range a {
				v.twins = append(v.twins, [2]string{of[a], of[b]})
				documents[of[a]], documents[of[b]] = true, true
			}
		}
	}
	v.positives = make([]float64, len(v.twins))
	var err error
	if v.queries, err = data.Queries.Rows(queries); err != nil {
		return nil, err
	}
	if v.documents, err = data.Documents.Rows(documents); err != nil {
		return nil, err
	}
	// Judged documents that the data set lacks have no vectors.
	v.twins = slices.DeleteFunc(v.twins, func(t [2]string) bool { return !v.has(t[0]) || !v.has(t[1]) })
	v.positives = v.positives[:len(v.twins)]
	maps.DeleteFunc(v.near, func(q [2]string, _ *float64) bool { _, ok := v.queries[q[1]]; return !ok })
	return v, nil
}

func (v *vectors) has(document string) bool { _, ok := v.documents[document]; return ok }

// measure adds the cosines of every model, and makes means of those of positives.
func (v *vectors) measure(ctx context.Context, data *dataset.Dataset, progress option.Progress) error {
	count := progress.Count("audit", (data.Documents.Len()+data.Queries.Len())*v.models)
	for _, name := range data.Models {
		m, err := data.Vectors(name)
		if err != nil {
			return err
		}
		documents, err := readUnit(ctx, m.Documents, v.documents, count)
		if err != nil {
			return err
		}
		queries, err := readUnit(ctx, m.Queries, v.queries, count)
		if err != nil {
			return err
		}
		if err := v.add(ctx, documents, queries); err != nil {
			return err
		}
	}
	for i := range v.positives {
		v.positives[i] /= float64(v.models)
	}
	for _, cosine := range v.near {
		*cosine /= float64(v.models)
	}
	return nil
}

// add adds the cosines of one model, whose rows are of length 1.
func (v *vectors) add(ctx context.Context, documents, queries map[string][]float32) error {
	for i, t := range v.twins {
		v.positives[i] += dot(documents[t[0]], documents[t[1]])
	}
	for q, cosine := range v.near {
		*cosine += dot(queries[q[0]], queries[q[1]])
	}
	return parallel.Each(ctx, option.Threads(0), len(v.pairs), func(_, i int) error {
		p := v.pairs[i]
		q, positive := queries[p.QueryID], documents[p.PositiveID]
		own := dot(q, positive)
		for j, n := range p.Negatives {
			c, d := &v.of[i][j], documents[n.ID]
			s := dot(q, d)
			c.query, c.positive, c.own = c.query+s, c.positive+dot(positive, d), c.own+own
			if s > own {
				c.prefer++
			}
		}
		return nil
	})
}

// signals are the signals of negative j of pair i that come from vectors.
func (v *vectors) signals(i, j int, elsewhere []string) Signals {
	c, models := v.of[i][j], float64(v.models)
	s := Signals{ToQuery: c.query / models, ToPositive: c.positive / models, Margin: (c.query - c.own) / models, Prefer: c.prefer}
	for _, q := range elsewhere {
		if cosine, ok := v.near[[2]string{v.pairs[i].QueryID, q}]; ok {
			s.NearQuery = max(s.NearQuery, *cosine)
		}
	}
	if others := len(v.of[i]) - 1; others > 0 {
		sum := 0.0
		for k, other := range v.of[i] {
			if k != j {
				sum += other.query
			}
		}
		s.Lead = (c.query - sum/float64(others)) / models
	}
	return s
}

// readUnit reads rows of a matrix, each scaled to length 1, by their ids. A zero row stays zero, so that its cosines are 0.
func readUnit(ctx context.Context, x dataset.Matrix, rows map[string]int, count func(int)) (map[string][]float32, error) {
	ids := slices.SortedFunc(maps.Keys(rows), func(a, b string) int { return rows[a] - rows[b] })
	width := x.Width()
	p := pca.Projection{Normalize: true, PCA: "none", Models: []pca.Model{{Name: x.Name(), Width: width, Weight: 1}}}
	unit := make(map[string][]float32, len(rows))
	const block = 512
	fused := make([]float32, block*width)
	for first := 0; first < x.Rows(); first += block {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(block, x.Rows()-first)
		count(n)
		if len(ids) == 0 || rows[ids[0]] >= first+n {
			continue
		}
		raw, err := projection.ReadRaw([]dataset.Matrix{x}, first, n)
		if err != nil {
			return nil, err
		}
		_, err = p.FuseWith(kernel.Fastest(), fused[:n*width], raw, n, pca.Zero(true), func(model string) string { return model })
		if e := (*abi.Error)(nil); errors.As(err, &e) {
			return nil, projection.VectorError(x, first+e.Row, e)
		} else if err != nil {
			return nil, err
		}
		for len(ids) > 0 && rows[ids[0]] < first+n {
			at := (rows[ids[0]] - first) * width
			unit[ids[0]] = slices.Clone(fused[at : at+width])
			ids = ids[1:]
		}
	}
	return unit, nil
}

// dot is a dot product in float64, summed in one order.
func dot(a, b []float32) float64 {
	var s [4]float64
	for i := range a {
		s[i&3] += float64(float64(a[i]) * float64(b[i]))
	}
	return (s[0] + s[2]) + (s[1] + s[3])
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
