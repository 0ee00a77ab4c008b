// Package host is quarry's Go API: what the command line does, a Go program can do.
//
// Input: a data set of texts, judgements and vectors (package dataset), and options. Output: a projection, projected vectors, or hard
// negatives:
//
//	data, _ := beir.Open("mydata")
//	projection, _ := host.Fit(ctx, data, host.FitOptions{})
//	result, _ := host.Mine(ctx, data, projection, host.MineOptions{})
//
// The method is that of Meghwani et al., "Hard Negative Mining for Domain-Specific Retrieval in Enterprise Systems" (2025). It runs in the
// plugin, through an engine (package engine); what is mined does not depend on which. The work is done in the packages below this one.
package host

import (
	"context"
	"io"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/export"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// Options and results. Each has its documentation where it is declared.
type (
	FitOptions       = projection.FitOptions
	Weight           = projection.Weight
	Projection       = projection.Projection
	MineOptions      = mining.Options
	TransformOptions = mining.TransformOptions
	Transformed      = mining.Transformed
	Compute          = mining.Compute
	Result           = negatives.Result
	Pair             = negatives.Pair
	Negative         = negatives.Negative
	Tallies          = negatives.Tallies
	Manifest         = negatives.Manifest
	Budget           = option.Budget
	Progress         = option.Progress
)

// Errors that calls return, wrapped. Problems of an input file are *dataset.Error.
var (
	ErrOption = option.ErrOption
	ErrMemory = option.ErrMemory
	ErrExists = option.ErrExists
	ErrWrite  = option.ErrWrite
)

// Fit fits a projection on a data set's vectors (Eq. 1 to 3).
func Fit(ctx context.Context, data *dataset.Dataset, o FitOptions) (*Projection, error) {
	return projection.Fit(ctx, data, o)
}

// LoadProjection reads a projection file that Projection.Save, or quarry fit, wrote.
func LoadProjection(path string) (*Projection, error) { return projection.Load(path) }

// Mine mines a data set's pairs against all its documents (Eq. 5 and 6, or another rule). The result is in memory; package run mines to
// files, in parts that a later run can go on from.
func Mine(ctx context.Context, data *dataset.Dataset, p *Projection, o MineOptions) (*Result, error) {
	return mining.Mine(ctx, data, p, o)
}

// Transform projects all documents and queries of a data set to docs.npy and queries.npy in the folder out.
func Transform(ctx context.Context, data *dataset.Dataset, p *Projection, out string, o TransformOptions) (*Transformed, error) {
	return mining.Transform(ctx, data, p, out, o)
}

// Export writes a (query, positive, negative) triplet with texts for each negative, one JSON object a line, and returns how many. separator
// joins a document's title and text. Package export has the other formats.
func Export(data *dataset.Dataset, pairs []Pair, separator string, w io.Writer) (int, error) {
	written, err := export.Write(data, pairs, export.Options{Separator: separator}, w)
	if written == nil {
		return 0, err
	}
	return written.Lines, err
}
