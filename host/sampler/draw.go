package sampler

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// stream is the random numbers of one pair, by one sampler: what one pair draws does not depend on what others do.
func stream(seed uint64, sampler string, pair int) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(sampler))
	return rand.New(rand.NewPCG(seed, h.Sum64()+uint64(pair)))
}

// draw draws k of the numbers from 0 to n-1, uniformly and without replacement, and all of them where n is less than k. It returns them
// ascending. The algorithm is Floyd's (Bentley and Floyd, "A Sample of Brilliance", 1987).
func draw(r *rand.Rand, n, k int) []int {
	drawn := make([]int, 0, min(n, k))
	taken := map[int]bool{}
	for i := max(0, n-k); i < n; i++ {
		next := r.IntN(i + 1)
		if taken[next] {
			next = i
		}
		taken[next] = true
		drawn = append(drawn, next)
	}
	slices.Sort(drawn)
	return drawn
}

// drawDocuments draws k of n documents, uniformly and without replacement, but none of those excluded, which ascend.
func drawDocuments(r *rand.Rand, n, k int, excluded []int64) []int64 {
	drawn := draw(r, n-len(excluded), k)
	documents := make([]int64, len(drawn))
	passed := 0 // excluded documents before the one that is looked for
	for i, number := range drawn {
		for passed < len(excluded) && excluded[passed] <= int64(number+passed) {
			passed++
		}
		documents[i] = int64(number + passed)
	}
	return documents
}

// excluded lists what no sampler takes for a query, ascending: what mining never takes, and documents that are zero vectors.
func (s *sampling) excluded(query int, also ...int64) []int64 {
	all := slices.Concat(s.plan.Excluded(query), s.zero, also)
	slices.Sort(all)
	return slices.Compact(all)
}

// random draws negatives from all documents that are not judged relevant to the query: the negatives named Random by Karpukhin et al., "Dense
// Passage Retrieval for Open-Domain Question Answering" (2020). Each such document is as likely as any other.
func (s *sampling) random() [][]int64 {
	chosen := make([][]int64, len(s.plan.PairRows()))
	for i, pair := range s.plan.PairRows() {
		chosen[i] = drawDocuments(stream(s.o.Seed, random, i), s.plan.Documents(), s.mine.Top, s.excluded(pair.Query))
	}
	return chosen
}

// fromAll is how many negatives of a pair star draws from all documents.
func (s *sampling) fromAll() int { return int(math.Round(*s.o.RandomShare * float64(s.mine.Top))) }

// star draws static hard negatives: from the starPool documents that are nearest to the query by vectors that were made before training, with
// random ones mixed in. It is STAR of Zhan et al., "Optimizing Dense Retrieval Model Training with Hard Negatives" (2021). There the random ones
// are those of the batch, and steady the training; here they are drawn from all documents, a share of a pair's negatives. nearest is the pool.
// Where it has too few documents, random ones do not fill the place.
func (s *sampling) star(nearest *mine.Part) [][]int64 {
	chosen := make([][]int64, len(nearest.Found))
	for i, pair := range s.plan.PairRows() {
		r := stream(s.o.Seed, star, i)
		for _, at := range draw(r, len(nearest.Found[i]), s.mine.Top-s.fromAll()) {
			chosen[i] = append(chosen[i], nearest.Found[i][at].Position)
		}
		chosen[i] = append(chosen[i], drawDocuments(r, s.plan.Documents(), s.fromAll(), s.excluded(pair.Query, chosen[i]...))...)
	}
	return chosen
}

// deal deals pairs into batches of a size, by a seed, and returns the batch of each, from 0. No batch has two pairs of one positive: the
// positive of one would be taken for a negative of the other. A pair goes to the first batch that has room and does not have its positive.
func deal(pairs []mining.PairRows, size int, seed uint64) []int {
	batches := make([]int, len(pairs))
	var in []map[int]bool // the positives in each batch
	open := 0             // the first batch that has room
	for _, i := range stream(seed, inBatch, 0).Perm(len(pairs)) {
		b := open
		for b < len(in) && (len(in[b]) == size || in[b][pairs[i].Positive]) {
			b++
		}
		if b == len(in) {
			in = append(in, map[int]bool{})
		}
		in[b][pairs[i].Positive] = true
		batches[i] = b
		for open < len(in) && len(in[open]) == size {
			open++
		}
	}
	return batches
}

// others gives each pair the other positives of its batch, but those that are judged relevant to its query: In-batch of Karpukhin et al. (2020).
func (s *sampling) others(batches []int) [][]int64 {
	pairs := s.plan.PairRows()
	in := map[int][]int64{} // the positives of each batch
	for i, b := range batches {
		in[b] = append(in[b], int64(pairs[i].Positive))
	}
	chosen := make([][]int64, len(pairs))
	for i, b := range batches {
		excluded := s.plan.Excluded(pairs[i].Query)
		for _, positive := range in[b] {
			if _, relevant := slices.BinarySearch(excluded, positive); !relevant {
				chosen[i] = append(chosen[i], positive)
			}
		}
	}
	return chosen
}
