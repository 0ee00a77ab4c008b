package sampler

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// DefaultKeep is how many of the nearest documents of each pair KeepScores keeps where nothing is said.
const DefaultKeep = 1000

// KeepScores scans all documents once, and returns the scores of the n nearest to the query of each pair: s(Q,D) and s(PD,D). They are a part by
// rule topk, whose bytes are a file (docs/ABI.md). With them in Options.Scores, Sample applies window rules without a
// scan, but for those pairs whose documents were not kept all.
func KeepScores(ctx context.Context, data *dataset.Dataset, p *projection.Projection, m mining.Options, n int) (*mine.Part, error) {
	if n < 1 || n > abi.MaxTop {
		return nil, fmt.Errorf("%w: %d documents to keep; it goes from 1 to %d", option.ErrOption, n, abi.MaxTop)
	}
	s := &sampling{mine: m, data: data, projection: p}
	return s.mined(ctx, data, topk, n)
}

// LoadScores reads a file of what KeepScores returned.
func LoadScores(path string) (*mine.Part, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, dataset.ReadError(path, err, "make it with quarry mine --keep-scores")
	}
	part, err := mine.ParsePart(file)
	if err == nil && (part.Rule.Name != "topk" || part.Rule.Floor != nil || part.Rule.Cap != nil || part.Rule.Eq6) {
		err = fmt.Errorf("a part by rule %s, and scores are by topk", excerpt.Quote(part.Rule.Name))
	}
	if err != nil {
		return nil, &dataset.Error{Path: path, Row: -1, Problem: "not kept scores: " + excerpt.Error(err).Error(), Hint: "make it with quarry mine --keep-scores", Err: err}
	}
	return part, nil
}

// checkScores fails where the kept scores are not those of the plan's pairs and documents.
func (s *sampling) checkScores() error {
	err := s.plan.CheckAll(s.o.Scores)
	if pairs := len(s.plan.PairRows()); err == nil && len(s.o.Scores.SQPD) != pairs {
		err = fmt.Errorf("they are of %d pairs; expected %d", len(s.o.Scores.SQPD), pairs)
	}
	if err != nil {
		return fmt.Errorf("%w: the kept scores are of another run: %w\n  hint: give the data, the projection and the options that they were kept with, or keep them again",
			option.ErrOption, err)
	}
	return nil
}

// ofScores makes the parts that scans make, out of the kept scores. Pairs that these do not settle are scanned for.
func (s *sampling) ofScores(ctx context.Context) (parts []*mine.Part, err error) {
	if err := s.openPlan(ctx); err != nil {
		return nil, err
	}
	if err := s.checkScores(); err != nil {
		return nil, err
	}
	parts = make([]*mine.Part, len(s.rule.Terms))
	unsettled := make([]*dataset.Dataset, len(parts)) // with the pairs to scan for
	pairs := make([][]int, len(parts))
	for i, t := range s.rule.Terms {
		window, n := s.scanned(t)
		if n == 0 {
			continue
		}
		rule, err := mine.NewRule(window.Name, window.Parameters)
		if err != nil {
			return nil, err
		}
		if parts[i], pairs[i] = applied(s.o.Scores, rule, n); len(pairs[i]) == 0 {
			continue
		}
		if unsettled[i], err = s.only(pairs[i]); err != nil {
			return nil, err
		}
	}
	for i, data := range unsettled {
		if data == nil {
			continue
		}
		if err := s.closePlan(ctx); err != nil { // its memory is the scan's
			return nil, err
		}
		window, n := s.scanned(s.rule.Terms[i])
		found, err := s.mined(ctx, data, window, n)
		if err != nil {
			return nil, err
		}
		for j, pair := range pairs[i] {
			parts[i].Found[pair], parts[i].Window[pair] = found.Found[j], found.Window[j]
		}
	}
	return parts, nil
}

// only is the data set with some of the plan's pairs alone. What is judged relevant otherwise stays so, and is no negative.
func (s *sampling) only(pairs []int) (*dataset.Dataset, error) {
	rows := s.plan.PairRows()
	queries, documents := map[int]bool{}, map[int]bool{}
	for _, pair := range pairs {
		queries[rows[pair].Query], documents[rows[pair].Positive] = true, true
	}
	queryIDs, err := s.data.Queries.OfRows(queries)
	if err != nil {
		return nil, err
	}
	documentIDs, err := s.data.Documents.OfRows(documents)
	if err != nil {
		return nil, err
	}
	wanted := map[[2]string]bool{}
	for _, pair := range pairs {
		wanted[[2]string{queryIDs[rows[pair].Query], documentIDs[rows[pair].Positive]}] = true
	}
	data := s.data.WithJudgements(s.plan.Manifest().Split, func(j dataset.Judgement) bool { return wanted[[2]string{j.Query, j.Document}] })
	data.Judged = slices.Concat(s.data.Judged, s.data.Qrels)
	return data, nil
}

// applied takes the negatives of a window rule out of kept scores: what a scan by the rule would find. It lists the pairs for which the documents
// that were kept do not settle that.
func applied(scores *mine.Part, rule mine.Rule, top int) (part *mine.Part, unsettled []int) {
	n := len(scores.SQPD)
	part = &mine.Part{Ranges: scores.Ranges, Skipped: scores.Skipped, SQPD: scores.SQPD, Window: make([]bool, n), Found: make([][]mine.Negative, n)}
	for i, kept := range scores.Found {
		floor, ceiling := rule.Window(scores.SQPD[i])
		for _, d := range kept {
			if d.SQD <= floor || d.SQD > ceiling {
				continue
			}
			part.Window[i] = true
			if len(part.Found[i]) < top && (!rule.Eq6 || d.SQD > d.SPDD) {
				part.Found[i] = append(part.Found[i], d)
			}
		}
		all := len(kept) < scores.Top // no document is left that was not kept
		below := !all && kept[len(kept)-1].SQD <= floor
		if len(part.Found[i]) < top && !all && !below {
			unsettled = append(unsettled, i)
		}
	}
	return part, unsettled
}
