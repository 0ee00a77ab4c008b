// Package eval measures rankings: MRR, nDCG, recall, precision and average precision of TREC run files against judgements, and whether two
// runs differ.
//
// Input: a Run (LoadRun), Judgements (LoadQrels) and Metrics (ParseMetrics). Output: a Result with each query's value and the means, and
// Compare's paired randomisation test of two Results. The metrics are those of trec_eval, and ties are broken as it breaks them. The eval
// command calls it, and so does what compares trained models.
package eval
