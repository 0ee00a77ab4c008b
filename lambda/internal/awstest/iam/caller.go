package iam

import (
	"maps"
	"slices"
	"sync"
)

// Caller is who has a policy. It records what it used of it and what was denied to it, so that a test can tell a policy that is too wide from
// one that is not. Its methods may be called by several goroutines at once.
type Caller struct {
	policy *Policy

	mu     sync.Mutex
	used   map[Grant]int
	denied map[Request]int
}

// Request is an action on a resource.
type Request struct {
	Action, Resource string
}

// NewCaller gives a caller with this policy, that has used nothing.
func NewCaller(policy *Policy) *Caller {
	return &Caller{policy: policy, used: map[Grant]int{}, denied: map[Request]int{}}
}

// Allowed is the policy's, and is recorded. Where a test has no gate, as for sending to a queue, it asks here.
func (c *Caller) Allowed(action, resource string, context map[string]string) bool {
	grant, ok := c.policy.find(action, resource, context)
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		c.used[grant]++
	} else {
		c.denied[Request{action, resource}]++
	}
	return ok
}

// Used counts what was used.
func (c *Caller) Used() map[Grant]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.used)
}

// Denied counts what was asked for and not allowed.
func (c *Caller) Denied() map[Request]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.denied)
}

// Unused lists what the policy allows and was never used, in its order.
func (c *Caller) Unused() []Grant {
	used := c.Used()
	return slices.DeleteFunc(c.policy.Grants(), func(g Grant) bool { return used[g] > 0 })
}
