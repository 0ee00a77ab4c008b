package stack

import (
	"sync"
	"time"
)

// Clock is a time that a test can move on: the system's, and as far ahead of it as Advance has moved it. Queues that
// share a clock agree on the time. A nil *Clock is the system's time. Its methods may be called concurrently.
type Clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

// Now is the time by this clock.
func (c *Clock) Now() time.Time {
	if c == nil {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// Advance moves the clock on.
func (c *Clock) Advance(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += by
}
