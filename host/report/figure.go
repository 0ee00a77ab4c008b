package report

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// Figure is the paper's Figure 2: documents on the first two principal components. The places of the cases' texts stand with them.
type Figure struct {
	Shares    [2]float64 `json:"shares"` // of the variance that each of the two components has
	Documents int        `json:"documents"`
	Sample    []Point    `json:"sample"` // of all documents, evenly spaced in the corpus
}

// Point is a document in grey.
type Point struct {
	ID    string     `json:"id"`
	Label string     `json:"label,omitempty"` // the beginning of its title and text
	At    [2]float64 `json:"at"`
}

// draw fills in the scree curve, and the places on the first two components.
func (r *Report) draw(ctx context.Context, in Input) error {
	p := in.Projection
	switch {
	case p == nil:
		r.leaveOut("Scree curve and map: no projection was given, and there is none beside the negatives that they were mined with.")
		return nil
	case !p.HasPCA():
		r.leaveOut("Scree curve and map: the vectors are concatenated only, and there are no components.")
		return nil
	}
	r.Scree = &Scree{Variances: p.Variances, Total: p.TotalVariance, Columns: p.Columns(), PCA: p.PCA, Rows: p.Rows}
	if p.Width() < 2 {
		r.leaveOut("Map: the projection has one component.")
		return nil
	}
	plane, err := newPlane(p, in.Data)
	if err != nil {
		return err
	}
	r.Figure = &Figure{Shares: [2]float64{p.Variances[0] / p.TotalVariance, p.Variances[1] / p.TotalVariance}, Documents: in.Data.Documents.Len()}
	if err := r.drawSample(ctx, in.Data, plane); err != nil {
		return err
	}
	return r.drawCases(ctx, in.Data, plane)
}

func (r *Report) drawSample(ctx context.Context, data *dataset.Dataset, p *plane) error {
	rows := evenly(maxSample, data.Documents.Len())
	wanted := map[int]bool{}
	for _, row := range rows {
		wanted[row] = true
	}
	ids, err := data.Documents.OfRows(wanted)
	if err != nil {
		return err
	}
	texts := map[string]dataset.Text{}
	if data.HasTexts() {
		asked := map[string]bool{}
		for _, id := range ids {
			asked[id] = true
		}
		if texts, err = data.Documents.Texts.OfIDs(asked); err != nil {
			return err
		}
	}
	for _, row := range rows {
		at, err := p.documents.at(ctx, row)
		if err != nil {
			return err
		}
		if at != nil {
			t := texts[ids[row]]
			r.Figure.Sample = append(r.Figure.Sample, Point{ID: ids[row], Label: label(t), At: *at})
		}
	}
	return nil
}

// label is the beginning of a document's title and text.
func label(t dataset.Text) string {
	if t.Title != "" {
		t.Text = t.Title + ". " + t.Text
	}
	text, cut := shorten(t.Text, maxLabel)
	if cut > 0 {
		text += "…"
	}
	return text
}

// drawCases finds the places of the cases' texts. A text that many cases have is projected once.
func (r *Report) drawCases(ctx context.Context, data *dataset.Dataset, p *plane) error {
	queries, documents := map[string][]*Text{}, map[string][]*Text{}
	for i := range r.Cases {
		c := &r.Cases[i]
		queries[c.Query.ID] = append(queries[c.Query.ID], &c.Query)
		documents[c.Positive.ID] = append(documents[c.Positive.ID], &c.Positive)
		for j := range c.Negatives {
			n := &c.Negatives[j].Text
			documents[n.ID] = append(documents[n.ID], n)
		}
	}
	for _, side := range []struct {
		ids   dataset.IDs
		rows  *planeRows
		texts map[string][]*Text
	}{{data.Queries, &p.queries, queries}, {data.Documents, &p.documents, documents}} {
		wanted := map[string]bool{}
		for id := range side.texts {
			wanted[id] = true
		}
		rows, err := side.ids.Rows(wanted)
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(rows)) {
			at, err := side.rows.at(ctx, rows[id])
			if err != nil {
				return err
			}
			for _, t := range side.texts[id] {
				t.At = at
			}
		}
	}
	return nil
}

// plane projects single rows onto the first two components.
type plane struct{ queries, documents planeRows }

// planeRows are the rows of one side.
type planeRows struct {
	transformer *pca.Transformer
	models      []dataset.Matrix
}

// newPlane takes the first two components of a projection: a prefix of its basis is a projection itself.
func newPlane(p *projection.Projection, data *dataset.Dataset) (*plane, error) {
	models, err := p.Vectors(data)
	if err != nil {
		return nil, err
	}
	two := *p.Projection
	two.Variances, two.Components = p.Variances[:2], p.Components[:2*p.Columns()]
	t := pca.NewTransformer(&two, kernel.Fastest())
	of := &plane{planeRows{transformer: t}, planeRows{transformer: t}}
	for _, m := range models {
		of.queries.models, of.documents.models = append(of.queries.models, m.Queries), append(of.documents.models, m.Documents)
	}
	return of, nil
}

// at is where a row lies, rounded to what a picture can show. It is nil for a row that is a zero vector.
func (r *planeRows) at(ctx context.Context, row int) (*[2]float64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	raw, err := projection.ReadRaw(r.models, row, 1)
	if err != nil {
		return nil, err
	}
	y := make([]float32, 2)
	err = r.transformer.Transform(y, raw, 1, pca.ZeroSkip, func(model string) string { return model })
	if e := (*abi.Error)(nil); errors.As(err, &e) {
		return nil, projection.VectorError(r.models[0], row, e)
	}
	if err != nil || y[0] == 0 && y[1] == 0 {
		return nil, err
	}
	round := func(v float32) float64 { return math.Round(float64(v)*1e5) / 1e5 }
	return &[2]float64{round(y[0]), round(y[1])}, nil
}
