// Package parallel runs numbered pieces of work on a fixed number of goroutines.
//
// Input: a function of a piece's number; output: the first piece's error, if any failed. Packages that use all cores
// call it.
package parallel

import (
	"context"
	"sync"
	"sync/atomic"
)

// Each calls work for each piece from 0 to n-1, on up to workers goroutines; worker, from 0, is the goroutine that runs
// the piece. Once the context ends or a piece fails, Each starts no more pieces, waits for those that run, and returns
// the error of the lowest piece that failed, or the context's.
func Each(ctx context.Context, workers, n int, work func(worker, piece int) error) error {
	workers = max(1, min(workers, n))
	var next atomic.Int64
	var failed atomic.Bool
	var mutex sync.Mutex
	lowest, firstErr := n, error(nil)
	run := func(worker int) {
		for ctx.Err() == nil && !failed.Load() {
			piece := int(next.Add(1)) - 1
			if piece >= n {
				return
			}
			if err := work(worker, piece); err != nil {
				failed.Store(true)
				mutex.Lock()
				if piece < lowest {
					lowest, firstErr = piece, err
				}
				mutex.Unlock()
			}
		}
	}
	if workers == 1 {
		run(0)
	} else {
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() { run(w) })
		}
		group.Wait()
	}
	if firstErr != nil {
		return firstErr
	}
	return ctx.Err()
}
