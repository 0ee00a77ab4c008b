package lambda_test

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/account"
)

// kill is a request to S3 at which the process that makes it is killed.
type kill struct {
	method string // of HTTP, or LIST where objects are listed
	key    string // the object's key, or the prefix that is listed, begins with the job's prefix and this
	nth    int    // which of these requests it is, from 1; a later one, where another kill takes that one
	done   bool   // true: S3 does what is asked for, and the answer is lost; false: the request never reaches S3
}

// target returns the method of a request to S3, LIST where objects are listed, and the key or the prefix that it is
// about.
func target(r *http.Request) (method, key string) {
	if query := r.URL.Query(); query.Has("list-type") {
		return "LIST", query.Get("prefix")
	}
	_, key, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return r.Method, key
}

// killer stands between the function and S3, and kills the processes that make certain requests.
type killer struct {
	t      *testing.T
	prefix string // of the job's keys

	mu     sync.Mutex
	kill   func(environment int)
	left   []*pending
	killed map[int]bool // environments
}

// pending is a kill that is yet to come.
type pending struct {
	kill
	seen int // how many of its requests there were
}

func newKiller(t *testing.T, jobName string, kills []kill) *killer {
	k := &killer{t: t, prefix: job.Folder + jobName + "/", killed: map[int]bool{}}
	for _, one := range kills {
		k.left = append(k.left, &pending{kill: one})
	}
	return k
}

// arm gives the killer the function that kills an environment's process. It is called before the first request.
func (k *killer) arm(kill func(environment int)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kill = kill
}

// before puts the killer before S3.
func (k *killer) before(s3 http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		environment, err := account.Environment(r)
		if err != nil {
			k.t.Error(err)
		}
		kill, hit := k.match(environment, r)
		if hit == nil {
			s3.ServeHTTP(w, r)
			return
		}
		if hit.done {
			answer := httptest.NewRecorder()
			if s3.ServeHTTP(answer, r); answer.Code >= http.StatusInternalServerError {
				k.t.Errorf("%s %s: S3 answers %d", r.Method, r.URL, answer.Code)
			}
		}
		kill(environment)
		panic(http.ErrAbortHandler) // net/http's way to break off a connection; it does not go further
	})
}

// match returns the kill that a request brings about, if it does, and strikes it off.
func (k *killer) match(environment int, r *http.Request) (func(int), *kill) {
	method, key := target(r)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.killed[environment] {
		return nil, nil // its other requests, at the same time
	}
	hit := -1
	for i, p := range k.left {
		if p.method == method && strings.HasPrefix(key, k.prefix+p.key) {
			if p.seen++; p.seen >= p.nth && hit < 0 {
				hit = i
			}
		}
	}
	if hit < 0 {
		return nil, nil
	}
	p := k.left[hit]
	k.left = slices.Delete(k.left, hit, hit+1)
	k.killed[environment] = true
	return k.kill, &p.kill
}

// check fails where a kill did not come about.
func (k *killer) check() {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.left {
		k.t.Errorf("no process was killed at %+v; there were %d requests for it", p.kill, p.seen)
	}
}

// killsOf returns two kills for each kind of request that a job's workers make: one before S3 does what is asked for,
// and one after. A seed chooses at which of these requests. Each comes about, for whatever a process that is killed did
// not do is done by another.
func killsOf(seed uint64, shards int) (kills []kill) {
	random := rand.New(rand.NewPCG(seed, 1))
	for _, kind := range []struct {
		method, key string
		least       int // of these requests there are at least so many
	}{
		{"HEAD", "cancelled.json", shards},
		{"PUT", "manifest.json", 1}, // which the first worker copies to the results
		{"GET", "projection.safetensors", 1},
		{"GET", "pairs/", 1},
		{"GET", "shards/", shards},
		{"PUT", "parts/", shards},
		{"LIST", "parts/", shards / 2}, // by who mined a shard; where another was faster the job may be finished
		{"GET", "parts/", shards},      // of the merge
		{"PUT", "negatives.jsonl", 1},
		{"PUT", "negatives.manifest.json", 1},
	} {
		for _, done := range []bool{false, true} {
			// From the first half, so that there is a later one where another kill takes it.
			kills = append(kills, kill{kind.method, kind.key, 1 + random.IntN(max(1, kind.least/2)), done})
		}
	}
	return kills
}
