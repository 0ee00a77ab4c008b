package option

import "sync/atomic"

// Progress is told how far a stage of the work is. It may be called by several goroutines at once, and must not block. A nil Progress is told nothing.
type Progress func(stage string, done, total int64)

// Report tells how far a stage is.
func (p Progress) Report(stage string, done, total int64) {
	if p != nil {
		p(stage, done, total)
	}
}

// Count begins a stage of total rows and returns a function that adds rows that are done. Several goroutines may call it.
func (p Progress) Count(stage string, total int) func(rows int) {
	var done atomic.Int64
	p.Report(stage, 0, int64(total))
	return func(rows int) { p.Report(stage, done.Add(int64(rows)), int64(total)) }
}
