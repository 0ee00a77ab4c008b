package train

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/sampler"
)

// separator joins a document's title and text, as export does.
const separator = " "

// Relevant gives the documents that are judged relevant to each query, of all splits, in the order of the judgements.
func Relevant(data *dataset.Dataset) map[string][]string {
	relevant := map[string][]string{}
	for _, j := range dataset.Relevant(data.Qrels) {
		relevant[j.Query] = append(relevant[j.Query], j.Document)
	}
	return relevant
}

// corpus is what all trainings of a comparison share.
type corpus struct {
	relevant   map[string][]string // of queries that can be trained on or tested
	components [][]string
	component  map[string]int      // of a query
	nearest    map[string][]string // of a query: documents by the projection, positives where they rank
	ids        []string            // of all documents
	texts      *negatives.Texts    // of all documents, and of those queries
	data       string              // fingerprint
}

// read mines the nearest documents of every judged query, and reads all texts.
func (o *Options) read(ctx context.Context, data *dataset.Dataset) (*corpus, error) {
	nearest, err := o.mine(ctx, data, o.Projection, sampler.Rule{Name: "topk"}, o.Candidates)
	if err != nil {
		return nil, err
	}
	c := &corpus{relevant: map[string][]string{}, nearest: map[string][]string{}, component: map[string]int{}}
	pairs := map[string][]negatives.Pair{}
	for _, p := range nearest {
		c.relevant[p.QueryID] = append(c.relevant[p.QueryID], p.PositiveID)
		pairs[p.QueryID] = append(pairs[p.QueryID], p)
	}
	for q, of := range pairs {
		c.nearest[q] = rankNearest(of, o.Candidates)
	}
	c.components = Components(c.relevant)
	for i, queries := range c.components {
		for _, q := range queries {
			c.component[q] = i
		}
	}
	if len(c.components) < 8 {
		return nil, dataset.FileError(data.Name, "give judgements of more queries", "its judged queries make %d groups that share no positive; a split into training, validation and test needs at least 8", len(c.components))
	}
	return c, c.readTexts(data)
}

// rankNearest orders a query's positives and the documents near to it by their distance, and keeps the first ones. Each pair of the query
// has the same documents, which are relevant to it in no split.
func rankNearest(pairs []negatives.Pair, most int) (ids []string) {
	type at struct {
		id       string
		distance float64
	}
	var all []at
	for _, p := range pairs {
		all = append(all, at{p.PositiveID, p.DQPD})
	}
	for _, n := range pairs[0].Negatives {
		all = append(all, at{n.ID, n.DQD})
	}
	slices.SortStableFunc(all, func(a, b at) int { return cmp.Compare(a.distance, b.distance) })
	for _, a := range all[:min(most, len(all))] {
		ids = append(ids, a.id)
	}
	return ids
}

func (c *corpus) readTexts(data *dataset.Dataset) (err error) {
	for id := range data.Documents.All(&err) {
		c.ids = append(c.ids, strings.Clone(id))
	}
	if err != nil {
		return err
	}
	var sums [2]string
	for i, side := range []dataset.Side{data.Documents, data.Queries} {
		if sums[i], err = side.SHA256(); err != nil {
			return err
		}
	}
	c.data = sums[0][:16] + sums[1][:16]
	documents, queries := map[string]bool{}, map[string]bool{}
	for _, id := range c.ids {
		documents[id] = true
	}
	for q := range c.relevant {
		queries[q] = true
	}
	c.texts = &negatives.Texts{}
	if c.texts.Documents, err = data.Documents.Texts.OfIDs(documents); err != nil {
		return err
	}
	c.texts.Queries, err = data.Queries.Texts.OfIDs(queries)
	return err
}

// mine mines one rule for the pairs of all splits. Where only the trainer makes the rule's negatives, there are none.
func (o *Options) mine(ctx context.Context, data *dataset.Dataset, p *projection.Projection, r sampler.Rule, top int) ([]negatives.Pair, error) {
	m := o.Mine
	m.Split, m.Rule = "all", r.Mined()
	if m.Rule == "" {
		return nil, nil
	}
	if top > 0 {
		m.Top = top
	}
	mined, err := sampler.Sample(ctx, data, p, m, o.Sampler)
	if err != nil {
		return nil, fmt.Errorf("mine for rule %s: %w", r.Name, err)
	}
	return mined.Pairs, nil
}

// The files that jobs read, in the comparison's folder.
const (
	documentsFile = "documents.jsonl"
	queriesFile   = "queries.jsonl"
	titlesFile    = "titles.jsonl"
)

// write writes the files that jobs read. titles says whether the pairs to make a cross-encoder are among them.
func (c *corpus) write(folder string, titles bool) error {
	type text struct {
		ID   string `json:"id"`
		Text string `json:"text"`
	}
	files := map[string]func(*json.Encoder) error{
		documentsFile: func(e *json.Encoder) error {
			for _, id := range c.ids {
				if err := e.Encode(text{id, c.texts.Document(id, separator)}); err != nil {
					return err
				}
			}
			return nil
		},
		queriesFile: func(e *json.Encoder) error {
			for _, id := range sorted(c.relevant) {
				if err := e.Encode(text{id, c.texts.Queries[id].Text}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	if titles {
		files[titlesFile] = c.writeTitles
	}
	for _, name := range sorted(files) {
		if err := atomicfile.Write(filepath.Join(folder, name), true, func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetEscapeHTML(false)
			return files[name](e)
		}); err != nil {
			return err
		}
	}
	return nil
}

// writeTitles writes titles with their texts, in the corpus' order. A document that is relevant to any query is left out, and so is a title
// that is a query's text: a cross-encoder that is made of these pairs has seen nothing of any query, trained or tested.
func (c *corpus) writeTitles(e *json.Encoder) error {
	seen, asked := map[string]bool{}, map[string]bool{}
	for q, documents := range c.relevant {
		asked[fold(c.texts.Queries[q].Text)] = true
		for _, d := range documents {
			seen[d] = true
		}
	}
	n := 0
	for _, id := range c.ids {
		d := c.texts.Documents[id]
		if seen[id] || d.Title == "" || d.Text == "" || asked[fold(d.Title)] {
			continue
		}
		n++
		if err := e.Encode(struct {
			Title string `json:"title"`
			Text  string `json:"text"`
		}{d.Title, d.Text}); err != nil {
			return err
		}
	}
	if n < 10 {
		return fmt.Errorf("%w: a cross-encoder cannot be made of this corpus, since %d documents have a title and are relevant to no query\n"+
			"  hint: name a cross-encoder's folder with --model", option.ErrOption, n)
	}
	return nil
}

// fold is a text without case and without spaces that differ.
func fold(text string) string { return strings.ToLower(strings.Join(strings.Fields(text), " ")) }
