package session

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// begin replaces the pairs. Those before are dropped as soon as nothing can fail any more: a session never holds two
// scanners, and one that mines groups of pairs one after another needs the memory of the largest alone.
func (s *Session) begin(in []byte) ([]byte, error) {
	r, err := s.parse(in)
	if err != nil {
		return nil, err
	}
	b, err := message.DecodeBegin(r, s.loaded())
	if err != nil {
		return nil, err
	}
	shape := ShapeOfPairs(b)
	if err := s.budget.check(shape.check(s.projection())); err != nil {
		return nil, err
	}
	without := s.budget
	without.pairs = 0
	if err := without.check(shape.build(s.projection())); err != nil {
		return nil, err
	}
	pairs, err := s.checkPairs(b)
	if err != nil {
		return nil, err
	}
	const much = 1 << 20
	s.scanner = nil
	if s.budget.pairs > much {
		runtime.GC() // in the module the collector hardly gets to work by itself
	}
	s.scanner, s.width = newScanner(b, pairs), b.Queries.Width
	s.budget.pairs = shape.Held()
	return fmt.Appendf(nil, `{"pairs":%d}`, len(b.PairQuery)), nil
}

// selectOnce is begin, push and finish in one, with a scanner of its own beside the one that begin made. The documents,
// and what does not belong, are checked before there is anything to compute.
func (s *Session) selectOnce(in []byte) ([]byte, error) {
	r, err := s.parse(in)
	if err != nil {
		return nil, err
	}
	m, err := message.DecodeSelect(r, s.loaded())
	if err != nil {
		return nil, err
	}
	shape := ShapeOfPairs(&m.Begin)
	if err := s.budget.check(shape.build(s.projection())); err != nil {
		return nil, err
	}
	pairs, err := s.checkPairs(&m.Begin)
	if err != nil {
		return nil, err
	}
	scanner := newScanner(&m.Begin, pairs)
	kept := s.budget.pairs
	s.budget.pairs += shape.Held()
	defer func() { s.budget.pairs = kept }()
	if _, err := s.pushTo(scanner, m.Queries.Width, &m.Push); err != nil {
		return nil, err
	}
	return scanner.Finish().Marshal()
}

// checkPairs projects what is raw, and checks all that a scanner needs. Projected vectors stay in the message.
func (s *Session) checkPairs(b *message.Begin) (*mine.Checked, error) {
	pairs := mine.Pairs{Width: b.Queries.Width, Indices: b.Indices}
	var err error
	if pairs.Queries, err = s.project(abi.TensorQueries, &b.Queries, pca.ZeroError); err != nil {
		return nil, err
	}
	if b.Queries.Raw != nil {
		pairs.Queries = slices.Clone(pairs.Queries) // project reuses its memory
	}
	if pairs.Positives, err = s.project(abi.TensorPositives, &b.Positives, pca.ZeroError); err != nil {
		return nil, err
	}
	if b.Positives.Raw != nil {
		pairs.Positives = slices.Clone(pairs.Positives)
	}
	return mine.Check(pairs, b.Options, s.kernel)
}

// newScanner makes a scanner that keeps nothing of the message.
func newScanner(b *message.Begin, c *mine.Checked) *mine.Scanner {
	if b.Queries.Raw == nil {
		c.Queries = slices.Clone(c.Queries)
	}
	if b.Positives.Raw == nil {
		c.Positives = slices.Clone(c.Positives)
	}
	return c.Scanner()
}
