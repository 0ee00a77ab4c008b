package compare

import (
	"context"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/sampler"
)

// given is negatives that were mined already as a source.
type given struct {
	Given
	projection *projection.Projection
	options    mining.Options
}

var _ Source = (*given)(nil)

func (g *given) Name() string { return g.Given.Name }

// Negatives gives the first Top negatives of each pair, with their distances by the projection.
func (g *given) Negatives(ctx context.Context, data *dataset.Dataset) (*negatives.Result, error) {
	return sampler.Given(ctx, data, g.projection, g.options, g.Path, g.Pairs)
}

// unmeasured says why there is no test of hidden positives.
func (g *given) unmeasured() string {
	return "the negatives were mined already, by a miner that knew all positives: they cannot be mined again with some of them hidden"
}
