package iam

import (
	"maps"
	"slices"
	"sync"
)

// Caller is somebody who has a policy. It records what was used of the policy and what was denied, so that a test can
// tell whether the policy is too wide. Its methods may be called by several goroutines at once.
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

// NewCaller returns a caller with this policy, who has used nothing yet.
func NewCaller(policy *Policy) *Caller {
	return &Caller{policy: policy, used: map[Grant]int{}, denied: map[Request]int{}}
}

// Allowed is Policy.Allowed, and records the answer. A test asks it directly where no gate does, as for sending to a
// queue.
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

// Used returns how often each grant was used.
func (c *Caller) Used() map[Grant]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.used)
}

// Denied returns how often each request was denied.
func (c *Caller) Denied() map[Request]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.denied)
}

// Unused lists what the policy allows and was never used, in the order of its text.
func (c *Caller) Unused() []Grant {
	used := c.Used()
	return slices.DeleteFunc(c.policy.Grants(), func(g Grant) bool { return used[g] > 0 })
}
