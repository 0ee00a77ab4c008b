package host

import "sync/atomic"

// counter adds up rows done by several goroutines.
type counter struct {
	progress Progress
	stage    string
	total    int64
	done     atomic.Int64
}

func (c *counter) add(rows int) { c.progress.report(c.stage, c.done.Add(int64(rows)), c.total) }
