package compare

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/run"
)

// nearCopy is the bound on s(PD,D) above which a negative counts as a near-copy of the positive.
const nearCopy = 0.98

// mostChosen is how many of the documents that are chosen most often a report names.
const mostChosen = 5

// measure says what a source gave, as far as its result alone tells it.
func measure(name string, result *negatives.Result) *RuleReport {
	t := result.Tallies
	r := &RuleReport{Rule: name, Negatives: t.Negatives, Tallies: t, NegativesID: result.Manifest.Negatives, NearCopies: NearCopies{Above: nearCopy}}
	var gaps, sPDD []float64
	for _, p := range result.Pairs {
		for _, n := range p.Negatives {
			s := 1 - n.DPDD
			gaps, sPDD = append(gaps, p.DQPD-n.DQD), append(sPDD, s)
			if s > nearCopy {
				r.NearCopies.Count++
			}
		}
	}
	r.Yield = float64(t.WithNegatives) / float64(max(1, t.Pairs))
	r.NegativesPerPair = float64(t.Negatives) / float64(max(1, t.Pairs))
	r.Gap, r.SPDD = run.NewQuantiles(gaps), run.NewQuantiles(sPDD)
	r.NearCopies.Share = share(r.NearCopies.Count, t.Negatives)
	r.ChosenOften = chosenOften(result.Pairs, t.Documents)
	return r
}

// share is n of all, or nil where there are none.
func share(n, all int) *float64 {
	if all == 0 {
		return nil
	}
	s := float64(n) / float64(all)
	return &s
}

// overlap is the share of a pair's negatives in a that b has too, on average over the pairs that have any in a. It is
// nil where none has.
func overlap(a, b [][]int32) *float64 {
	sum, with := 0.0, 0
	for i, of := range a {
		if len(of) == 0 {
			continue
		}
		common := 0
		for _, n := range of {
			if slices.Contains(b[i], n) {
				common++
			}
		}
		sum, with = sum+float64(common)/float64(len(of)), with+1
	}
	if with == 0 {
		return nil
	}
	sum /= float64(with)
	return &sum
}

// chosenOften counts how often each document is chosen. documents is how many the corpus has.
func chosenOften(pairs []negatives.Pair, documents int64) ChosenOften {
	times := map[string]int{}               // by document: pairs
	queries := map[string]map[string]bool{} // by document
	all := 0
	for _, p := range pairs {
		for _, n := range p.Negatives {
			if queries[n.ID] == nil {
				queries[n.ID] = map[string]bool{}
			}
			queries[n.ID][p.QueryID] = true
			times[n.ID]++
			all++
		}
	}
	c := ChosenOften{Documents: len(times), TopPercent: int(max(1, documents/100)), Most: []Frequent{}}
	counts := slices.Sorted(maps.Values(times))
	slices.Reverse(counts)
	top := 0
	for _, n := range counts[:min(c.TopPercent, len(counts))] {
		top += n
	}
	c.TopPercentHas = share(top, all)
	for id, of := range queries {
		c.Most = append(c.Most, Frequent{id, len(of)})
	}
	slices.SortFunc(c.Most, func(a, b Frequent) int { return cmp.Or(b.Queries-a.Queries, cmp.Compare(a.ID, b.ID)) })
	c.Most = slices.Clone(c.Most[:min(mostChosen, len(c.Most))])
	return c
}

// kept is what a comparison keeps of the sources' results: documents by number, so that many results fit into memory.
type kept struct {
	pairs     []choice    // without negatives
	positives []int32     // of each pair
	negatives [][][]int32 // of each source, of each pair
	ids       []string    // by number
	numbers   map[string]int32
}

func newKept() *kept { return &kept{numbers: map[string]int32{}} }

// add adds a source's result. Its pairs have to be those of the source before.
func (k *kept) add(pairs []negatives.Pair) error {
	first := len(k.negatives) == 0
	if !first && len(pairs) != len(k.pairs) {
		return fmt.Errorf("it has %d pairs; the source before has %d", len(pairs), len(k.pairs))
	}
	of := make([][]int32, len(pairs))
	for i, p := range pairs {
		if first {
			k.pairs = append(k.pairs, choice{query: p.QueryID, positive: p.PositiveID})
			k.positives = append(k.positives, k.number(p.PositiveID))
		}
		if own := k.pairs[i]; own.query != p.QueryID || own.positive != p.PositiveID {
			return fmt.Errorf("pair %d is of query %s and document %s; that of the source before is of %s and %s", i,
				excerpt.Quote(p.QueryID), excerpt.Quote(p.PositiveID), excerpt.Quote(own.query), excerpt.Quote(own.positive))
		}
		of[i] = make([]int32, len(p.Negatives))
		for j, n := range p.Negatives {
			of[i][j] = k.number(n.ID)
		}
	}
	k.negatives = append(k.negatives, of)
	return nil
}

func (k *kept) number(id string) int32 {
	n, ok := k.numbers[id]
	if !ok {
		n = int32(len(k.ids))
		k.numbers[id] = n
		k.ids = append(k.ids, id)
	}
	return n
}

// countEqualTexts counts the negatives of each source that have the text of the positive. It does nothing where the data
// set has ids alone.
func (k *kept) countEqualTexts(ctx context.Context, data *dataset.Dataset, reports []*RuleReport) error {
	if !data.HasTexts() {
		return nil
	}
	sums, err := k.fingerprints(ctx, data)
	if err != nil {
		return err
	}
	for source, report := range reports {
		equal := 0
		for pair, of := range k.negatives[source] {
			for _, n := range of {
				if sums[n] == sums[k.positives[pair]] {
					equal++
				}
			}
		}
		report.NearCopies.EqualTexts, report.NearCopies.EqualShare = &equal, share(equal, report.Negatives)
	}
	return nil
}

// textsAtOnce is how many documents' texts are held at a time. It is a variable so that tests can lower it.
var textsAtOnce = 1 << 15

// fingerprints gives the SHA-256 of each document's title and text, in which spaces count as one.
func (k *kept) fingerprints(ctx context.Context, data *dataset.Dataset) ([][sha256.Size]byte, error) {
	sums := make([][sha256.Size]byte, len(k.ids))
	for ids := range slices.Chunk(k.ids, textsAtOnce) {
		wanted := map[string]bool{}
		for _, id := range ids {
			wanted[id] = true
		}
		texts, err := data.Documents.Texts.OfIDs(wanted)
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return nil, err
		}
		for id, text := range texts {
			one := func(text string) string { return strings.Join(strings.Fields(text), " ") }
			sums[k.numbers[id]] = sha256.Sum256([]byte(one(text.Title) + "\n" + one(text.Text)))
		}
	}
	return sums, nil
}
