// Package mine selects hard negatives: documents near a query that its rule lets through.
//
// Input: (query, positive) pairs and blocks of documents, as projected vectors. Output: a Part: for each pair its best
// negatives among the documents seen. The parts of different documents merge into one. The plugin's session calls this
// package.
//
// Documents are screened in 16 bits and in float32, with a proven bound on the error. Those that the bound cannot rule
// out are scored in the canonical arithmetic of docs/ABI.md. Only these scores decide. Eq. 5 and Eq. 6 are those of
// Meghwani et al. (2025).
package mine
