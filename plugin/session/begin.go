package session

import (
	"fmt"
	"slices"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
)

func (s *Session) begin(in []byte) ([]byte, error) {
	m, err := s.parse(in)
	if err != nil {
		return nil, err
	}
	b, err := s.readBegin(m)
	if err == nil {
		err = m.end()
	}
	if err != nil {
		return nil, err
	}
	scanner, err := s.newScanner(b)
	if err != nil {
		return nil, err
	}
	s.scanner, s.width = scanner, b.queries.width
	s.budget.pairs = b.bytes()
	return fmt.Appendf(nil, `{"pairs":%d}`, len(b.pairs.PairQuery)), nil
}

// selectOnce is begin, push and finish in one, with a scanner of its own.
func (s *Session) selectOnce(in []byte) ([]byte, error) {
	m, err := s.parse(in)
	if err != nil {
		return nil, err
	}
	b, err := s.readBegin(m)
	if err != nil {
		return nil, err
	}
	// The documents, and what does not belong, are checked before there is anything to compute.
	if _, err := s.vectors(m, "documents"); err != nil {
		return nil, err
	}
	m.int("first", 0, 0, abi.MaxPosition)
	if err := m.end(); err != nil {
		return nil, err
	}
	scanner, err := s.newScanner(b)
	if err != nil {
		return nil, err
	}
	kept := s.budget.pairs
	s.budget.pairs += b.bytes()
	defer func() { s.budget.pairs = kept }()
	if _, _, err := s.pushTo(scanner, b.queries.width, m); err != nil {
		return nil, err
	}
	return scanner.Finish().Marshal()
}

// beginning is a checked begin message, its vectors not yet projected.
type beginning struct {
	queries, positives *vectors
	pairs              mine.Pairs
	options            mine.Options
}

// bytes is what a scanner of those pairs holds: projected queries and positives, unit queries twice, their tails, indices, results; these a second time,
// for finish has them in memory and in the part.
func (b *beginning) bytes() int64 {
	k := int64(b.queries.width)
	n := int64(len(b.pairs.PairQuery))
	return 4*k*int64(2*b.queries.rows+b.positives.rows) + 4*int64(kernel.PackedLen(b.queries.rows, kernel.Words(int(k)))) +
		8*int64(len(b.pairs.Exclude)+len(b.pairs.Together)) + 96*int64(b.queries.rows) + 16*int64(b.positives.rows) +
		n*(128+2*24*int64(b.options.Top))
}

func (s *Session) readBegin(m *message) (*beginning, error) {
	b := &beginning{options: mine.Options{
		Rule:     m.rule(),
		Top:      int(m.int("top", 5, 1, abi.MaxTop)),
		Counts:   m.choice("counts", "false", "true"),
		SkipZero: bool(m.zero()),
		PairsID:  m.option("pairs_id", ""),
	}}
	b.options.Projection = m.option("projection", s.fingerprint)
	if s.transformer != nil && b.options.Projection != s.fingerprint {
		m.fail(abi.Errorf(abi.Mismatch, "option projection is %q; loaded is %q", b.options.Projection, s.fingerprint))
	}
	if len(b.options.PairsID) > abi.MaxPairsID || len(b.options.Projection) > abi.MaxPairsID {
		m.fail(abi.Errorf(abi.Limit, "pairs_id and projection take at most %d bytes", abi.MaxPairsID))
	}
	var err error
	if b.queries, err = s.vectors(m, "queries"); err != nil {
		return nil, err
	}
	if b.positives, err = s.vectors(m, "positives"); err != nil {
		return nil, err
	}
	if b.queries.width != b.positives.width {
		return nil, abi.Errorf(abi.Mismatch, "width is %d; queries have %d", b.positives.width, b.queries.width).At("positives", -1)
	}
	b.pairs = mine.Pairs{
		Width:     b.queries.width,
		PairQuery: m.int64s("pair_query"), PairPositive: m.int64s("pair_positive"),
		ExcludeOffsets: m.int64s("exclude_offsets"), Exclude: m.int64s("exclude"),
		TogetherOffsets: m.int64s("together_offsets"), Together: m.int64s("together"),
	}
	return b, nil
}

// newScanner projects what is raw and copies what is not, within the budget.
func (s *Session) newScanner(b *beginning) (*mine.Scanner, error) {
	if err := s.budget.check(b.bytes() + max(s.fuseBytes(b.queries), s.fuseBytes(b.positives)) + 4*int64(b.queries.rows*b.queries.width)); err != nil {
		return nil, err
	}
	y, err := s.project(b.queries, pca.ZeroError)
	if err != nil {
		return nil, err
	}
	b.pairs.Queries = slices.Clone(y)
	if y, err = s.project(b.positives, pca.ZeroError); err != nil {
		return nil, err
	}
	b.pairs.Positives = slices.Clone(y)
	return mine.NewScanner(b.pairs, b.options, s.kernel)
}
