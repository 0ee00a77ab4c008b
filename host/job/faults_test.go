package job_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
)

// schedules is how many are run on each store: QUARRY_SCHEDULES, or 200, or with -short a few, the first of these.
func schedules(t testing.TB, short int) int {
	text := os.Getenv("QUARRY_SCHEDULES")
	if text == "" && testing.Short() {
		return short
	}
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("QUARRY_SCHEDULES: %v", err)
	}
	return n
}

// inputs is a job that Init made once. Schedules and trials copy its objects.
type inputs struct {
	*sample
	from     objstore.Store
	manifest *job.Manifest
	shards   []string
}

func newInputs(t testing.TB, o mining.Options, shards int) *inputs {
	t.Helper()
	at := place()
	s := newSample(t, smallFolder(t, nil), o)
	m := s.init(t, at, shards)
	i := &inputs{sample: s, from: at.In, manifest: m}
	for _, shard := range m.Shards {
		i.shards = append(i.shards, shard.Name)
	}
	return i
}

// grouped returns options under which the pairs are in two groups or more, and at most so many: those with the least
// memory.
func grouped(t testing.TB, o mining.Options, most int) mining.Options {
	t.Helper()
	s := newSample(t, smallFolder(t, nil), o)
	groups := func(memory int64) int {
		o := s.options
		o.Memory, o.Threads = option.ProcessBudget(memory), 1
		plan, err := mining.NewPlan(t.Context(), s.folder, s.projection, o)
		if err != nil {
			return 1 << 20
		}
		defer func() { _ = plan.Close(t.Context()) }()
		n := 0
		for range plan.Groups() {
			n++
		}
		return n
	}
	low, high := int64(16<<20), int64(1<<30)
	for high-low > 256 {
		if middle := (low + high) / 2; groups(middle) <= most {
			high = middle
		} else {
			low = middle
		}
	}
	o.Memory, o.Threads = option.ProcessBudget(high), 1
	if n := groups(high); n < 2 {
		t.Fatalf("%d groups of pairs", n)
	}
	return o
}

// variants are the jobs of schedules.
func variants(t testing.TB) []*inputs {
	return []*inputs{
		newInputs(t, mining.Options{}, 5),
		newInputs(t, grouped(t, mining.Options{Rule: "margin", Counts: true, Top: 3}, 3), 4),
		newInputs(t, mining.Options{Positives: mining.PositivesAll, Rule: "capped"}, 8),
	}
}

// newSchedule draws a schedule on those stores.
func (i *inputs) newSchedule(t testing.TB, seed uint64, bare *job.Place, dir string) *schedule {
	s := &schedule{t: t, seed: seed, from: i.from, shards: i.shards, dir: dir}
	random := s.random(0)
	s.workers, s.rate, s.anyInputs = 1+random.IntN(4), random.Float64()*0.2, random.IntN(4) == 0
	s.writing = random.IntN(3) == 0
	s.ledger = newLedger(random.IntN(120))
	s.clean = bare
	s.place = func(p *process) (in, out objstore.Store) {
		return &faulty{bare.In, p}, &faulty{&counted{bare.Out, s.ledger}, p}
	}
	return s
}

// total adds up what schedules met.
type total struct {
	mu                                 sync.Mutex
	schedules, events, processes, lost int
	met                                map[kind]int
}

func (a *total) add(s *schedule) {
	if k := s.ledger.planned; k != "" {
		s.errorf("nothing met the planned fault, %s", k)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.schedules++
	a.events += s.queue.pushed
	a.processes += s.processes
	if s.ledger.lost {
		a.lost++
	}
	if a.met == nil {
		a.met = map[kind]int{}
	}
	for k, n := range s.ledger.met {
		a.met[k] += n
	}
}

// addAll adds what other schedules met.
func (a *total) addAll(b *total) {
	if a.met == nil {
		a.met = map[kind]int{}
	}
	for k, n := range b.met {
		a.met[k] += n
	}
}

// log says what all schedules met.
func (a *total) log(t testing.TB) {
	t.Helper()
	sum, kinds := 0, []string{}
	for _, k := range slices.Sorted(maps.Keys(a.met)) {
		sum += a.met[k]
		kinds = append(kinds, fmt.Sprintf("%s %d", k, a.met[k]))
	}
	t.Logf("%d schedules, %d events, %d workers, %d commits whose answer was lost, %d faults: %s",
		a.schedules, a.events, a.processes, a.lost, sum, strings.Join(kinds, "; "))
}

// atATime is how many schedules run at once. On disks and servers they wait most of the time, so it is more than there
// are cores.
const atATime = 16

// each runs n tests, several at once. After one has failed it starts no more.
func each(t *testing.T, n int, run func(t *testing.T, number int)) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(atATime)
	for number := range n {
		group.Go(func() error {
			if !t.Failed() {
				t.Run(strconv.Itoa(number), func(t *testing.T) { run(t, number) })
			}
			return nil
		})
	}
	_ = group.Wait() // no test returns an error
}

// variant is the job of a schedule. Each planned fault comes to each variant in turn.
func variant(all []*inputs, drawn []kind, number int) *inputs {
	return all[(number+number/len(drawn))%len(all)]
}

// bubbles runs schedules under a clock that goes on where all wait, so that pauses take no time. Each meets one fault
// for sure, and others that its seed draws.
func bubbles(t *testing.T, bare func(t testing.TB, number int) *job.Place) {
	drawn := slices.Concat(creates, reads)
	slices.Sort(drawn)
	drawn = slices.Compact(drawn)
	all, sum, dir := variants(t), &total{}, t.TempDir()
	each(t, schedules(t, len(all)*len(drawn)), func(t *testing.T, number int) {
		i, at := variant(all, drawn, number), bare(t, number)
		synctest.Test(t, func(t *testing.T) {
			s := i.newSchedule(t, uint64(number), at, dir)
			s.plan(drawn, number)
			if number%2 == 0 {
				s.latency = 5 * time.Millisecond
			}
			s.run(t.Context())
			s.verify(i.sample)
			sum.add(s)
		})
	})
	sum.log(t)
}

func TestFaultsOnMemory(t *testing.T) {
	bubbles(t, func(testing.TB, int) *job.Place { return place() })
}

func TestFaultsOnFiles(t *testing.T) { bubbles(t, folders) }

// folders is a place in two new folders.
func folders(t testing.TB, number int) *job.Place {
	t.Helper()
	dir := t.TempDir()
	in, err := objstore.OpenFile(dir + "/in")
	if err != nil {
		t.Fatal(err)
	}
	out, err := objstore.OpenFile(dir + "/out")
	if err != nil {
		t.Fatal(err)
	}
	return &job.Place{Name: strconv.Itoa(number), In: in, Out: out}
}

// killRun runs a fixed schedule of one worker, which is killed at an operation; then another goes on. It returns how
// many operations the first worker made; killAt of -1 kills none.
func (s *schedule) killRun(t *testing.T, killAt int, killed kind) (operations int) {
	s.rate, s.writing, s.ledger, s.queue = 0, false, newLedger(0), newQueue(s.random(1))
	ctx := t.Context()
	p, w, within := s.process(ctx)
	p.killAt, p.killed = killAt, killed
	step := func(key string) error {
		_, err := s.handle(within, p, w, key)
		if p.isDead() {
			operations = p.n
			_ = w.Close(ctx)
			p, w, within = s.process(ctx)
		}
		return err
	}
	// The first shard before the manifest, the others after it, each delivered twice; what failed comes back last.
	if err := copyObjects(ctx, s.from, s.clean.In, "p"); err != nil {
		t.Fatal(err)
	}
	var back []string
	for n, key := range append([]string{s.shards[0], job.ManifestKey}, slices.Concat(s.shards, s.shards[:2])...) {
		if err := copyObject(ctx, s.from, s.clean.In, key); err != nil {
			t.Fatal(err)
		}
		if err := step(key); err != nil {
			back = append(back, key)
			if killAt < 0 {
				t.Fatalf("event %d: %v", n, err)
			}
		}
	}
	for _, key := range back {
		if err := step(key); err != nil {
			t.Errorf("killed %s operation %d: %s again: %v", killed, killAt, key, err)
		}
	}
	if killAt < 0 {
		operations = p.n
	}
	s.sweep(ctx)
	p.die()
	_ = w.Close(ctx)
	return operations
}

// sweep has a new worker sweep the job and mine what is missing, after which the job is finished.
func (s *schedule) sweep(ctx context.Context) {
	p, w, within := s.process(ctx)
	defer func() { p.die(); _ = w.Close(ctx) }()
	again, err := s.handle(within, p, w, job.ManifestKey)
	for _, key := range again {
		if err == nil {
			_, err = s.handle(within, p, w, key)
		}
	}
	if err != nil {
		s.errorf("the last sweep: %v", err)
	}
}

// killStride is the step of the sample of kills that -short takes. It has no factor in common with the numbers of ways
// to kill, 2 and 3, so that the sample has kills in all ways.
const killStride = 5

// killEverywhere kills a worker at each of its operations, in each of those ways; with -short at some operation in one
// way. on makes a schedule, and runs it.
func killEverywhere(t *testing.T, kinds []kind, on func(t *testing.T, i *inputs, number int, run func(t *testing.T, s *schedule))) {
	for number, i := range []*inputs{newInputs(t, mining.Options{}, 4), newInputs(t, grouped(t, mining.Options{}, 2), 3)} {
		sum, n := &total{}, 0
		on(t, i, 1000*number, func(t *testing.T, s *schedule) {
			if n = s.killRun(t, -1, ""); n == 0 {
				t.Fatal("no operations")
			}
			s.verify(i.sample)
		})
		stride := 1
		if testing.Short() {
			stride = killStride
		}
		each(t, (n*len(kinds)+stride-1)/stride, func(t *testing.T, k int) {
			k *= stride
			at, killed := k/len(kinds), kinds[k%len(kinds)]
			on(t, i, 1000*number+1+k, func(t *testing.T, s *schedule) {
				s.killRun(t, at, killed)
				if killed != killedReading && s.processes < 3 {
					t.Errorf("nobody was killed %s operation %d", killed, at)
				}
				s.verify(i.sample)
				sum.add(s)
			})
		})
		t.Logf("%d operations", n)
		sum.log(t)
	}
}

// TestKillAtEveryOperation kills a worker before and after each of its operations on the stores, and in the middle of
// what it reads.
func TestKillAtEveryOperation(t *testing.T) {
	for name, bare := range map[string]func(t testing.TB, number int) *job.Place{"memory": func(testing.TB, int) *job.Place { return place() }, "folders": folders} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			killEverywhere(t, []kind{killedBefore, killedAfter, killedReading}, func(t *testing.T, i *inputs, number int, run func(t *testing.T, s *schedule)) {
				at := bare(t, number)
				synctest.Test(t, func(t *testing.T) { run(t, i.newSchedule(t, uint64(number), at, dir)) })
			})
		})
	}
}
