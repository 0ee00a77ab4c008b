package mine

// seeds raise the bounds of queries before anything is scored. Where the approximate scores of m documents of a block are
// surely wanted by every pair of a query, the m-th best of them, less the screening error, is a score that the query's m-th
// best negative will have at least: these documents are scored before the block is done. There are no seeds where all is
// counted.
type seeds struct {
	top    int     // m; 0 where there are no seeds
	scores []int32 // of each query of a run: up to m scores, descending
	n      []int   // of each query: how many there are
	raised []bool  // of each query: its m-th best is another since the last step
}

func newSeeds(o Options) seeds {
	if o.Counts || o.Top > mostDocuments {
		return seeds{}
	}
	room := max(firstShape.queries*min(o.Top, firstShape.documents), laterShape.queries*min(o.Top, laterShape.documents))
	return seeds{top: o.Top, scores: make([]int32, room), n: make([]int, mostQueries), raised: make([]bool, mostQueries)}
}

// restart forgets the scores of the run before.
func (s *seeds) restart() { clear(s.n) }

// of returns the scores of a query of the run.
func (s *seeds) of(query int) []int32 { return s.scores[query*s.top : query*s.top+s.n[query]] }

// add takes a score of a query of the run that is among the m best so far.
func (s *seeds) add(query int, score int32) {
	if s.n[query] < s.top {
		s.n[query]++
	}
	scores := s.of(query)
	i := len(scores) - 1
	for ; i > 0 && scores[i-1] < score; i-- {
		scores[i] = scores[i-1]
	}
	scores[i] = score
	s.raised[query] = len(scores) == s.top
}

// seed raises bounds by what a step of a run left. first is the position of the block's first document.
func (s *Scanner) seed(first int64, left []survivor) {
	if s.seeds.top == 0 || s.seeds.top > s.screen.shape.documents {
		return
	}
	run := s.screen.run
	for _, l := range left {
		score := s.screen.scores[l.document()*run.n+l.query()]
		if scores := s.seeds.of(l.query()); len(scores) == s.seeds.top && score <= scores[len(scores)-1] {
			continue
		}
		if query := run.first + l.query(); !s.excluded(query, first+int64(l.document())) && s.surelyWanted(query, l.document(), float64(score)/unitSquare) {
			s.seeds.add(l.query(), score)
		}
	}
	for i, raised := range s.seeds.raised {
		if raised {
			least := float64(s.seeds.of(i)[s.seeds.top-1])
			s.screen.low[run.first+i] = max(s.screen.low[run.first+i], roundDown(least-float64(2*s.screen.slack*unitSquare)))
			s.seeds.raised[i] = false
		}
	}
}

// surelyWanted reports whether every pair of a query would take a document of the block as a negative, whose approximate
// score is given.
func (s *Scanner) surelyWanted(query, document int, score float64) bool {
	if s.options.Rule.Eq6 && s.eq6.surely(&s.screen, query, document) <= 0 {
		return false
	}
	for _, pair := range s.queryPairs[query] {
		if !s.surelyInWindow(pair, score) {
			return false
		}
	}
	return true
}

// surelyInWindow reports whether all scores within the slack of an approximate one are in a pair's window.
func (s *Scanner) surelyInWindow(pair int32, score float64) bool {
	return score-s.screen.slack > s.floor[pair] && score+s.screen.slack <= s.cap[pair]
}
