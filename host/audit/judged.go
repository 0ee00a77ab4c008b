package audit

import (
	"slices"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/negatives"
)

// judged are the judgements of all splits.
type judged struct {
	scores    map[[2]string]float64 // by query and document
	positives map[string][]string   // of a query, in the order of the judgements
	queries   map[string][]string   // to which a document is relevant
}

func newJudged(data *dataset.Dataset) *judged {
	j := &judged{scores: map[[2]string]float64{}, positives: map[string][]string{}, queries: map[string][]string{}}
	for _, split := range data.Qrels {
		for _, one := range split.Judgements {
			j.scores[[2]string{one.Query, one.Document}] = one.Score
		}
	}
	for _, one := range dataset.Relevant(data.Qrels) {
		j.positives[one.Query] = append(j.positives[one.Query], one.Document)
		j.queries[one.Document] = append(j.queries[one.Document], one.Query)
	}
	return j
}

// of is the judgement of a document for a query, or nil.
func (j *judged) of(query, document string) *float64 {
	if score, ok := j.scores[[2]string{query, document}]; ok {
		return &score
	}
	return nil
}

// positivesOf are the positives of a pair's query, that of the pair first.
func (j *judged) positivesOf(p negatives.Pair) []string {
	all := []string{p.PositiveID}
	for _, d := range j.positives[p.QueryID] {
		if d != p.PositiveID {
			all = append(all, d)
		}
	}
	return all
}

// shared counts the queries, other than the pair's, to which both the positive and the document are relevant.
func (j *judged) shared(p negatives.Pair, document string) (n int) {
	for _, q := range j.queries[document] {
		if q != p.QueryID && slices.Contains(j.queries[p.PositiveID], q) {
			n++
		}
	}
	return n
}

// elsewhere are the queries, other than this one, to which a document is relevant: the first hundred in the order of the judgements.
func (j *judged) elsewhere(query, document string) []string {
	of := j.queries[document]
	of = of[:min(len(of), mostQueries)]
	return slices.DeleteFunc(slices.Clone(of), func(q string) bool { return q == query })
}

// readTexts adds the texts of all positives of the queries. Those that the data set lacks are passed over: mining may have skipped them.
func (j *judged) readTexts(data *dataset.Dataset, texts *negatives.Texts) error {
	missing := map[string]bool{}
	for query := range texts.Queries {
		for _, d := range j.positives[query] {
			if _, ok := texts.Documents[d]; !ok {
				missing[d] = true
			}
		}
	}
	more, err := data.Documents.Texts.OfIDs(missing)
	for id, text := range more {
		texts.Documents[id] = text
	}
	return err
}

// nextTo says how two documents stand next to each other: in one page ("page"), by their ids ("id"), or not ("").
//
// A corpus that cuts pages into documents says in metadata.source from which page and place each comes, as in guide/page.md#3; documents of
// one page whose places differ by one are next to each other. Where there is no source, ids such as page#3, page-3 or page_3 say the same.
func nextTo(a, b dataset.Text) string {
	how := "page"
	x, y := a.Source.Place, b.Source.Place
	if x == "" || y == "" {
		how, x, y = "id", a.ID, b.ID
	}
	page, at, ok := placeOf(x)
	other, place, okToo := placeOf(y)
	if ok && okToo && page == other && (at-place == 1 || place-at == 1) {
		return how
	}
	return ""
}

// placeOf splits page#3 into page# and 3.
func placeOf(name string) (page string, at int, ok bool) {
	page = strings.TrimRight(name, "0123456789")
	at, err := strconv.Atoi(name[len(page):])
	return page, at, err == nil && len(page) > 1 && strings.ContainsAny(page[len(page)-1:], "#-_:/.")
}
