package compare

import (
	"reflect"
	"testing"

	"github.com/quarry-hn/quarry/host/mining"
)

// TestTwins: copies of positives are no negatives unless they are kept. They stay in the test of hidden positives, where one may be hidden.
func TestTwins(t *testing.T) {
	t.Parallel()
	kept := compareSmall(t, newSmall(), Options{Rules: []string{"topk", "random"}, Draws: 2})
	without := compareSmall(t, newSmall(), Options{Rules: []string{"topk", "random"}, Draws: 2, Twins: mining.TwinsExclude})
	for i, of := range without.Rules {
		before := kept.Rules[i]
		if *of.NearCopies.EqualTexts != 0 || *before.NearCopies.EqualTexts == 0 {
			t.Errorf("%s: %d negatives equal their positive, and %d where twins are kept", of.Rule, *of.NearCopies.EqualTexts, *before.NearCopies.EqualTexts)
		}
		if !reflect.DeepEqual(of.HiddenPositives, before.HiddenPositives) {
			t.Errorf("%s: %+v; expected %+v", of.Rule, of.HiddenPositives, before.HiddenPositives)
		}
	}
}
