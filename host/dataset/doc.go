// Package dataset is what quarry mines: ids, texts, relevance judgements and vectors of documents and queries, whatever
// format they lie in.
//
// Input: sources: IDs, Texts and Vectors of both sides, and Qrels. A format is a package that makes them of files:
// package beir of a folder in BEIR layout, package npy a Matrix of a .npy file. Output: a Dataset, whose sources are
// checked against one another; its texts and vectors are read as they are asked for. Package host calls it, and a
// program may put a Dataset together of sources of its own, with New.
//
// Package datasettest is the suite that every format passes.
package dataset
