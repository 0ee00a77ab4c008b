package sampler

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/parallel"
	"github.com/quarry-hn/quarry/host/option"
)

// tokens is how a manifest names what tokenize does.
const tokens = "lower case, runs of two or more letters, digits and underscores"

// tokenize makes terms of a text: its runs of two or more letters, digits and underscores, in lower case. Nothing is left out and nothing is
// stemmed, so it is the same for every language that puts spaces between words; frequent words weigh little in BM25 anyway.
func tokenize(text string) []string {
	terms := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != '_' })
	return slices.DeleteFunc(terms, func(term string) bool { return len(term) < 2 || len([]rune(term)) < 2 })
}

// Index is an inverted index of documents, for BM25. It can be used by several goroutines at once.
type Index struct {
	postings map[string][]posting // of each term, by document, ascending
	lengths  []float64            // of each document, in terms
	mean     float64              // of the lengths
}

// posting says how often a term is in a document.
type posting struct{ document, count int32 }

// add adds the next document.
func (x *Index) add(terms []string) {
	document := int32(len(x.lengths))
	x.lengths = append(x.lengths, float64(len(terms)))
	for _, term := range terms {
		of := x.postings[term]
		if n := len(of); n > 0 && of[n-1].document == document {
			of[n-1].count++
			continue
		}
		x.postings[term] = append(of, posting{document, 1})
	}
}

// finish computes what scores need of all documents.
func (x *Index) finish() {
	total := 0.0
	for _, length := range x.lengths {
		total += length
	}
	x.mean = total / float64(len(x.lengths))
}

// scored is a document with its BM25 score.
type scored struct {
	document int64
	score    float64
}

// search returns the k documents with the best scores above 0, but none of those excluded, which ascend. The order is the score, descending,
// then the position. scores has room for each document, and holds zeros before and after.
//
// The score is BM25 of Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), in the form of Lucene: the sum over the query's
// terms, each as often as it is there, of idf * tf / (tf + k1 * (1 - b + b * length / mean length)), where idf is
// ln(1 + (N - n + 0.5) / (n + 0.5)) of a term in n of N documents.
func (x *Index) search(terms []string, k int, k1, b float64, excluded []int64, scores []float64) []scored {
	var seen []int64
	for _, term := range terms {
		of := x.postings[term]
		n := float64(len(of))
		idf := math.Log(1 + (float64(len(x.lengths))-n+0.5)/(n+0.5))
		for _, p := range of {
			tf := float64(p.count)
			if scores[p.document] == 0 {
				seen = append(seen, int64(p.document))
			}
			scores[p.document] += idf * tf / (tf + k1*(1-b+b*x.lengths[p.document]/x.mean))
		}
	}
	var best []scored // the k best so far, and those that were not sorted among them yet
	worst := 0.0      // of k that are sorted; a document below it is none of the best
	for _, document := range seen {
		score := scores[document]
		scores[document] = 0
		if score < worst {
			continue
		}
		if _, is := slices.BinarySearch(excluded, document); is {
			continue
		}
		if best = append(best, scored{document, score}); len(best) >= 2*k+64 {
			best = bestOf(best, k)
			worst = best[k-1].score
		}
	}
	return bestOf(best, k)
}

// bestOf sorts documents, the best first, and keeps the first k.
func bestOf(all []scored, k int) []scored {
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.document, b.document))
	})
	return all[:min(k, len(all))]
}

// bm25 takes the documents that BM25 ranks first for the query's text, in the pairs of Karpukhin et al. (2020) named BM25. A document's text is
// its title and its text. One that shares no term with the query is not taken.
func (s *sampling) bm25(ctx context.Context) ([][]int64, error) {
	x := s.o.Index
	if x == nil {
		var err error
		if x, err = NewIndex(ctx, s.data, s.mine.Progress); err != nil {
			return nil, err
		}
	} else if n := s.plan.Documents(); len(x.lengths) != n {
		return nil, fmt.Errorf("%w: the index is of %d documents, and there are %d", option.ErrOption, len(x.lengths), n)
	}
	pairs := s.plan.PairRows()
	rows := map[int]bool{}
	for _, pair := range pairs {
		rows[pair.Query] = true
	}
	ids, err := s.data.Queries.OfRows(rows)
	if err != nil {
		return nil, err
	}
	texts, err := textsOf(s.data.Queries, ids)
	if err != nil {
		return nil, err
	}
	chosen := make([][]int64, len(pairs))
	threads := option.Threads(s.mine.Threads)
	scores := make([][]float64, threads)
	done := s.mine.Progress.Count("search by BM25", len(pairs))
	return chosen, parallel.Each(ctx, threads, len(pairs), func(lane, i int) error {
		if scores[lane] == nil {
			scores[lane] = make([]float64, len(x.lengths))
		}
		query := pairs[i].Query
		for _, found := range x.search(tokenize(texts[ids[query]]), s.mine.Top, *s.o.K1, *s.o.B, s.excluded(query), scores[lane]) {
			chosen[i] = append(chosen[i], found.document)
		}
		done(1)
		return nil
	})
}

// CheckTexts fails where a rule needs texts and the data set has none. Call it before a fit, which may be long.
func CheckTexts(data *dataset.Dataset, rule Rule) error {
	if !rule.NeedsTexts() {
		return nil
	}
	_, documents := data.Documents.Texts.OfIDs(nil)
	_, queries := data.Queries.Texts.OfIDs(nil)
	return cmp.Or(documents, queries)
}

// indexRows is how many documents' texts are held at a time while they are indexed.
const indexRows = 1 << 16

// NewIndex indexes the titles and texts of all documents.
func NewIndex(ctx context.Context, data *dataset.Dataset, progress option.Progress) (*Index, error) {
	x := &Index{postings: map[string][]posting{}}
	n := data.Documents.Len()
	done := progress.Count("index", n)
	for first := 0; first < n; first += indexRows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rows := map[int]bool{}
		for row := first; row < min(first+indexRows, n); row++ {
			rows[row] = true
		}
		ids, err := data.Documents.OfRows(rows)
		if err != nil {
			return nil, err
		}
		texts, err := textsOf(data.Documents, ids)
		if err != nil {
			return nil, err
		}
		for row := first; row < first+len(rows); row++ {
			x.add(tokenize(texts[ids[row]]))
		}
		done(len(rows))
	}
	x.finish()
	return x, nil
}

// textsOf are the texts of one side with their titles, by id.
func textsOf(side dataset.Side, ids map[int]string) (map[string]string, error) {
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	texts, err := side.Texts.OfIDs(wanted)
	of := make(map[string]string, len(texts))
	for id, text := range texts {
		of[id] = text.Title + "\n" + text.Text
	}
	return of, err
}
