package compare

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/quarry-hn/quarry/host/dataset"
)

// maxDraws is how often the test of hidden positives is made at most.
const maxDraws = 1000

// resamples is how many samples of queries an interval is made of.
const resamples = 2000

// HiddenPositives is how often a rule takes a relevant document for a negative. Of each query with two judged positives
// or more a third is hidden, as if nobody had judged it. The rule is mined for the positives that stay. A hidden positive
// is taken where it is a negative of one of its query's pairs.
type HiddenPositives struct {
	TakenShare float64 `json:"taken_share"` // share of the hidden positives that are among the negatives of a pair, on average over the draws
	FirstShare float64 `json:"first_share"` // share that are the first negative of a pair
	Draws      int     `json:"draws"`

	TakenSD       *float64   `json:"taken_sd"` // standard deviation over the draws; nil for a single one
	FirstSD       *float64   `json:"first_sd"`
	TakenInterval [2]float64 `json:"taken_interval"` // 95 %, by bootstrap over queries
	FirstInterval [2]float64 `json:"first_interval"`
	TakenOfDraws  []float64  `json:"taken_of_draws"`
	FirstOfDraws  []float64  `json:"first_of_draws"`

	// OfNegatives is the share of the negatives of these queries' pairs, of all draws, that are hidden positives. It
	// tells a rule that takes few negatives from one that takes few relevant ones. Nil where there are no negatives.
	OfNegatives *float64 `json:"share_of_negatives"`
}

// hiddenTest is the test of hidden positives: what each draw hides.
type hiddenTest struct {
	data     *dataset.Dataset           // with the judgements of queries with two positives or more alone
	pairs    []choice                   // those queries' pairs, in the order of the judgements; without negatives
	queries  []string                   // in the order of their first pair
	relevant map[string]map[string]bool // by query: all documents judged relevant, in any split
	hidden   int                        // positives that each draw hides
	draws    []*draw
	seed     uint64
}

// draw is one choice of positives to hide.
type draw struct {
	hidden map[string]map[string]bool // by query
	data   *dataset.Dataset           // without the judgements of what is hidden
}

func (d *draw) hides(query, document string) bool { return d.hidden[query][document] }

// newHiddenTest draws the positives to hide. pairs are those that are mined.
func newHiddenTest(data *dataset.Dataset, pairs []choice, o Options) *hiddenTest {
	t := &hiddenTest{seed: o.Seed, relevant: map[string]map[string]bool{}}
	positives := map[string][]string{} // by query
	for _, p := range pairs {
		positives[p.query] = append(positives[p.query], p.positive)
	}
	tested := map[[2]string]bool{} // pairs
	for _, p := range pairs {
		of := positives[p.query]
		if len(of) < 2 {
			continue
		}
		if p.positive == of[0] {
			t.queries = append(t.queries, p.query)
			t.hidden += thirdOf(len(of))
		}
		t.pairs = append(t.pairs, p)
		tested[[2]string{p.query, p.positive}] = true
	}
	for _, j := range dataset.Relevant(slices.Concat(data.Qrels, data.Judged)) {
		if len(positives[j.Query]) < 2 {
			continue
		}
		if t.relevant[j.Query] == nil {
			t.relevant[j.Query] = map[string]bool{}
		}
		t.relevant[j.Query][j.Document] = true
	}
	t.data = data.WithJudgements(o.Split, func(j dataset.Judgement) bool { return tested[[2]string{j.Query, j.Document}] })
	for number := range o.Draws {
		d := &draw{hidden: Hide(positives, t.queries, o.Seed, number)}
		d.data = t.data.WithJudgements(o.Split, func(j dataset.Judgement) bool { return !d.hides(j.Query, j.Document) })
		t.draws = append(t.draws, d)
	}
	return t
}

// Hide draws a third of the positives of each query, which has two or more: one draw of the test of hidden positives, by its number from 0. It
// returns the hidden documents of each query. The order of queries, and that of the positives of each, belongs to the draw.
func Hide(positives map[string][]string, queries []string, seed uint64, number int) map[string]map[string]bool {
	hidden := make(map[string]map[string]bool, len(queries))
	random := rand.New(rand.NewPCG(seed, uint64(number)))
	for _, query := range queries {
		hidden[query] = map[string]bool{}
		of := positives[query]
		for _, i := range random.Perm(len(of))[:thirdOf(len(of))] {
			hidden[query][of[i]] = true
		}
	}
	return hidden
}

// thirdOf is a third of n positives, to the nearest number: one at least and, where n is 2 or more, never all.
func thirdOf(n int) int { return max(1, (n+1)/3) }

// excludes reports whether a document may not be a negative of a query in a draw: it is judged relevant and not hidden,
// or has the query's own id.
func (t *hiddenTest) excludes(d *draw, query, document string) bool {
	return document == query || t.relevant[query][document] && !d.hides(query, document)
}

// mostExcluded is how many documents a query excludes at most in a draw.
func (t *hiddenTest) mostExcluded() (most int) {
	for _, of := range t.relevant {
		most = max(most, len(of)+1) // and the one of the query's own id
	}
	return most
}

// measure counts the hidden positives that a source takes.
func (t *hiddenTest) measure(ctx context.Context, s Source) (*HiddenPositives, error) {
	draws, err := t.choose(ctx, s)
	if err != nil {
		return nil, err
	}
	h := &HiddenPositives{Draws: len(t.draws)}
	taken, first := make([]float64, len(t.queries)), make([]float64, len(t.queries)) // hidden positives of each query, over all draws
	number := map[string]int{}
	hidden := make([]float64, len(t.queries)) // of each query, over all draws
	for i, query := range t.queries {
		number[query] = i
		hidden[i] = float64(len(t.draws) * len(t.draws[0].hidden[query]))
	}
	all, relevant := 0, 0 // negatives of all draws, and those of them that are hidden positives
	for i, d := range t.draws {
		inTop, atFirst := d.taken(draws[i])
		for _, c := range draws[i] {
			all += len(c.negatives)
			for _, id := range c.negatives {
				if d.hides(c.query, id) {
					relevant++
				}
			}
		}
		h.TakenOfDraws = append(h.TakenOfDraws, float64(len(inTop))/float64(t.hidden))
		h.FirstOfDraws = append(h.FirstOfDraws, float64(len(atFirst))/float64(t.hidden))
		for pair := range inTop {
			taken[number[pair[0]]]++
		}
		for pair := range atFirst {
			first[number[pair[0]]]++
		}
	}
	h.OfNegatives = share(relevant, all)
	h.TakenShare, h.TakenSD = meanAndSD(h.TakenOfDraws)
	h.FirstShare, h.FirstSD = meanAndSD(h.FirstOfDraws)
	h.TakenInterval, h.FirstInterval = bootstrap(taken, hidden, t.seed), bootstrap(first, hidden, t.seed)
	return h, nil
}

// choose gives what a source chooses in each draw.
func (t *hiddenTest) choose(ctx context.Context, s Source) (draws [][]choice, err error) {
	if all, ok := s.(drawer); ok {
		return all.ofDraws(ctx, t)
	}
	for _, d := range t.draws {
		result, err := s.Negatives(ctx, d.data)
		if err != nil {
			return nil, err
		}
		draws = append(draws, choices(result.Pairs))
	}
	return draws, nil
}

// taken lists the hidden positives, each a query and a document, that are negatives of a pair, and the first negative
// of one.
func (d *draw) taken(chosen []choice) (inTop, first map[[2]string]bool) {
	inTop, first = map[[2]string]bool{}, map[[2]string]bool{}
	for _, c := range chosen {
		for rank, id := range c.negatives {
			if !d.hides(c.query, id) {
				continue
			}
			inTop[[2]string{c.query, id}] = true
			if rank == 0 {
				first[[2]string{c.query, id}] = true
			}
		}
	}
	return inTop, first
}

// meanAndSD gives the mean, and the standard deviation where there are two values or more.
func meanAndSD(values []float64) (mean float64, sd *float64) {
	if len(values) < 2 {
		return values[0], nil
	}
	mean, of := stat.MeanStdDev(values, nil)
	return mean, &of
}

// bootstrap is a 95 % interval of the sum of counts over the sum of sizes, where the clusters that counts and sizes are
// of are drawn with replacement: the percentile interval of Efron (1979). A query is a cluster, since its positives, and
// what the draws hide of them, go together.
func bootstrap(counts, sizes []float64, seed uint64) [2]float64 {
	random := rand.New(rand.NewPCG(seed, math.MaxUint64)) // no draw has that stream
	ratios := make([]float64, resamples)
	for i := range ratios {
		count, size := 0.0, 0.0
		for range counts {
			c := random.IntN(len(counts))
			count, size = count+counts[c], size+sizes[c]
		}
		ratios[i] = count / size
	}
	slices.Sort(ratios)
	return [2]float64{stat.Quantile(0.025, stat.Empirical, ratios, nil), stat.Quantile(0.975, stat.Empirical, ratios, nil)}
}
