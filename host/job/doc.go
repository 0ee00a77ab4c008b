// Package job is the protocol of sharded jobs: a manifest and shards of documents in a bucket, a part for each shard, and the negatives in another
// bucket, written exactly once and with the bytes that mining on one machine gives, however often work is delivered, in whatever order, and
// wherever a worker dies.
//
// In go two objstore.Stores, one for what a job is of and one for what comes of it; Init fills the first. Worker mines shards as they are
// named to it, and whichever worker finds all parts there merges and commits them. The command line's quarry job and package lambda call it.
// docs/JOBS.md has the layout and the protocol.
package job
