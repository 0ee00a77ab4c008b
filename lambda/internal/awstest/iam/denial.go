package iam

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Denial stands before an S3 server and denies reading some objects, as the policy of a key (KMS) or of a bucket does in
// which somebody has made a mistake. It answers 403 whether an object is there or not. Until Set is called it lets
// everything through. Its methods may be called by several goroutines at once.
type Denial struct {
	next http.Handler

	mu    sync.Mutex
	rules []Rule
	count int
}

// Rule denies reading the objects of a bucket whose keys begin with a prefix.
type Rule struct {
	Bucket, Prefix string
	List           bool // listing the bucket is denied too
}

// NewDenial returns one before a server.
func NewDenial(next http.Handler) *Denial { return &Denial{next: next} }

// Set has these rules take the place of those before. Without rules the denial ends.
func (d *Denial) Set(rules ...Rule) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rules = rules
}

// Count returns how many requests were denied so far.
func (d *Denial) Count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// ServeHTTP answers a request, in path style.
func (d *Denial) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.denies(r) {
		forbid(w, r, "Access Denied")
		return
	}
	d.next.ServeHTTP(w, r)
}

func (d *Denial) denies(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	bucket, key := split(r.URL.Path)
	d.mu.Lock()
	defer d.mu.Unlock()
	denied := slices.ContainsFunc(d.rules, func(rule Rule) bool {
		return rule.Bucket == bucket && (key == "" && rule.List || key != "" && strings.HasPrefix(key, rule.Prefix))
	})
	if denied {
		d.count++
	}
	return denied
}
