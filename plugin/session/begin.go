package session

import (
	"fmt"
	"slices"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
)

func (s *Session) begin(in []byte) ([]byte, error) {
	r, err := s.parse(in)
	if err != nil {
		return nil, err
	}
	b, err := message.DecodeBegin(r, s.loaded())
	if err != nil {
		return nil, err
	}
	scanner, err := s.newScanner(b)
	if err != nil {
		return nil, err
	}
	s.scanner, s.width = scanner, b.Queries.Width
	s.budget.pairs = pairsBytes(b)
	return fmt.Appendf(nil, `{"pairs":%d}`, len(b.PairQuery)), nil
}

// selectOnce is begin, push and finish in one, with a scanner of its own. The documents, and what does not belong, are checked before there is
// anything to compute.
func (s *Session) selectOnce(in []byte) ([]byte, error) {
	r, err := s.parse(in)
	if err != nil {
		return nil, err
	}
	m, err := message.DecodeSelect(r, s.loaded())
	if err != nil {
		return nil, err
	}
	scanner, err := s.newScanner(&m.Begin)
	if err != nil {
		return nil, err
	}
	kept := s.budget.pairs
	s.budget.pairs += pairsBytes(&m.Begin)
	defer func() { s.budget.pairs = kept }()
	if _, err := s.pushTo(scanner, m.Queries.Width, &m.Push); err != nil {
		return nil, err
	}
	return scanner.Finish().Marshal()
}

// pairsBytes is what a scanner of those pairs holds: projected queries and positives, unit queries twice, their tails, indices, results; these a second time,
// for finish has them in memory and in the part.
func pairsBytes(b *message.Begin) int64 {
	k := int64(b.Queries.Width)
	n := int64(len(b.PairQuery))
	return 4*k*int64(2*b.Queries.Rows+b.Positives.Rows) + 4*int64(kernel.PackedLen(b.Queries.Rows, kernel.Words(int(k)))) +
		8*int64(len(b.Exclude)+len(b.Together)) + 96*int64(b.Queries.Rows) + 16*int64(b.Positives.Rows) +
		n*(128+2*24*int64(b.Options.Top))
}

// newScanner projects what is raw and copies what is not, within the budget.
func (s *Session) newScanner(b *message.Begin) (*mine.Scanner, error) {
	if err := s.budget.check(pairsBytes(b) + max(s.fuseBytes(&b.Queries), s.fuseBytes(&b.Positives)) + 4*int64(b.Queries.Rows*b.Queries.Width)); err != nil {
		return nil, err
	}
	pairs := mine.Pairs{Width: b.Queries.Width, Indices: b.Indices}
	y, err := s.project(abi.TensorQueries, &b.Queries, pca.ZeroError)
	if err != nil {
		return nil, err
	}
	pairs.Queries = slices.Clone(y)
	if y, err = s.project(abi.TensorPositives, &b.Positives, pca.ZeroError); err != nil {
		return nil, err
	}
	pairs.Positives = slices.Clone(y)
	return mine.NewScanner(pairs, b.Options, s.kernel)
}
