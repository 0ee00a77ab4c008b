// Package mine selects hard negatives: documents near a query that its rule lets through.
//
// In go (query, positive) pairs and blocks of documents, as projected vectors. Out comes a Part: for each pair its best
// negatives among the documents seen, which merges with the parts of other documents. The plugin's session calls it.
//
// Documents are screened in float32, with a proven bound on the error, and what the bound cannot rule out is scored in the
// canonical arithmetic of docs/ABI.md, which alone decides. Eq. 5 and Eq. 6 are those of Meghwani et al. (2025).
package mine
