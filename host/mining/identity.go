package mining

import (
	"errors"
	"fmt"
	"slices"

	"github.com/quarry-hn/quarry/plugin/mine"
)

// ErrBusy is returned where a goroutine uses a Plan or a Miner that another goroutine is using. Each is for one at a
// time: the instances behind it hold one group of pairs. The call of the other goroutine goes on undisturbed.
var ErrBusy = errors.New("two goroutines use the same plan, miner or worker at once; give each its own")

// CheckPart fails where a part is not what mining those documents with those options gives: where its projection, rule,
// options, pairs or range are others, or where it names a document outside the range.
func CheckPart(part *mine.Part, want mine.Options, documents mine.Range) error {
	got := part.Options
	switch {
	case got.PairsID != want.PairsID || !slices.Equal(part.Ranges, []mine.Range{documents}):
		return fmt.Errorf("it is of documents %v and pairs %q; expected %v and %q", part.Ranges, got.PairsID, documents, want.PairsID)
	case got.Projection != want.Projection:
		return fmt.Errorf("it is of projection %q; expected %q", got.Projection, want.Projection)
	case !sameRule(got.Rule, want.Rule) || got.Top != want.Top || got.Counts != want.Counts || got.SkipZero != want.SkipZero:
		return errors.New("it is of another rule, or of other options")
	}
	for _, found := range part.Found {
		for _, n := range found {
			if n.Position < documents.First || n.Position >= documents.End {
				return fmt.Errorf("it names document %d, which is not among documents %v", n.Position, documents)
			}
		}
	}
	return nil
}

// sameRule reports whether two rules decide alike. A rule that was read from a part has no parameters.
func sameRule(a, b mine.Rule) bool {
	same := func(a, b *mine.Bound) bool { return a == b || a != nil && b != nil && *a == *b }
	return a.Name == b.Name && a.Eq6 == b.Eq6 && same(a.Floor, b.Floor) && same(a.Cap, b.Cap)
}
