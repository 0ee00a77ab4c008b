// Package job is the protocol of sharded jobs. A job is a manifest, groups of pairs and shards of documents in one
// bucket. Workers mine each shard for each group and put the parts into another bucket. The worker that finds all parts
// there merges them and commits the negatives.
//
// The negatives are written exactly once, and have the bytes that mining on one machine gives. That holds however often
// a shard's turn comes, in whatever order, and wherever a worker dies.
//
// Input: two objstore.Stores: one for the inputs of a job, one for its results. Init fills the first. Worker mines the
// shards that it is told of. The command line's quarry job and package lambda call it. docs/JOBS.md has the layout and
// the protocol.
package job
