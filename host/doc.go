// Package host is quarry's Go API: what the command line does, a Go program can do.
//
// In go a folder of texts, judgements and vectors (package dataset), and options. Out come a projection, projected
// vectors, or hard negatives:
//
//	folder, _ := beir.Open("mydata")
//	projection, _ := host.Fit(ctx, folder, host.FitOptions{})
//	result, _ := host.Mine(ctx, folder, projection, host.MineOptions{})
//
// The method is that of Meghwani et al., "Hard Negative Mining for Domain-Specific Retrieval in Enterprise Systems" (2025).
// It runs in the plugin, through an engine (package engine); what is mined does not depend on which.
package host
