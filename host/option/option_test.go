package option

import (
	"errors"
	"strings"
	"sync"
	"testing"
)

// TestProblems collects what is wrong, all of it, and fills in defaults.
func TestProblems(t *testing.T) {
	var p Problems
	empty, right, wrong := "", "b", "c"
	p.OneOf("empty", &empty, "a", "b")
	p.OneOf("right", &right, "a", "b")
	if empty != "a" || right != "b" || p.Err() != nil {
		t.Errorf("%q, %q, %v", empty, right, p.Err())
	}
	p.OneOf("wrong", &wrong, "a", "b")
	p.Check(true, "nothing")
	p.Check(false, "top is %d", 0)
	err := p.Err()
	for _, says := range []string{`wrong is "c"; it is one of a, b`, "top is 0"} {
		if !errors.Is(err, ErrOption) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "nothing") {
			t.Errorf("%v does not say %q", err, says)
		}
	}
}

// TestBudget: what Need gives for some work is a budget that has room for it, and one byte less has not.
func TestBudget(t *testing.T) {
	if b := (Budget{}).OrDefault(); b != ProcessBudget(0) || b.Bytes != DefaultMemory() || b.Reserved != ProcessMemory {
		t.Errorf("the default is %+v", b)
	}
	b := ProcessBudget(1 << 30)
	for _, row := range []struct{ instances, process int64 }{{1, 1}, {300 << 20, 10}, {10, 300 << 20}, {100 << 20, 28 << 20}} {
		fits := func(bytes int64) bool {
			of := Budget{bytes, b.Reserved}
			return row.instances <= of.Instances() && row.process <= bytes/2-of.Reserved
		}
		if need := b.Need(row.instances, row.process); !fits(need) || fits(need-2) {
			t.Errorf("%+v: need is %d", row, need)
		}
	}
	var shares Budget
	for range 4 {
		s := b.Share(4)
		shares.Bytes, shares.Reserved = shares.Bytes+s.Bytes, shares.Reserved+s.Reserved
	}
	if shares != b {
		t.Errorf("four shares are %+v of %+v", shares, b)
	}
	if err := b.TooLittle(2 << 30); !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "1024 MiB were given; this takes at least 2049 MiB") {
		t.Error(err)
	}
}

// TestCount adds up rows of several goroutines; a nil Progress is told nothing.
func TestCount(t *testing.T) {
	Progress(nil).Count("nothing", 3)(2)
	var mutex sync.Mutex
	reports, most := 0, int64(0)
	count := Progress(func(stage string, done, total int64) {
		mutex.Lock()
		defer mutex.Unlock()
		if reports++; stage != "mine" || total != 40 {
			t.Errorf("%s of %d", stage, total)
		}
		most = max(most, done)
	}).Count("mine", 40)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 5 {
				count(2)
			}
		})
	}
	group.Wait()
	if reports != 21 || most != 40 {
		t.Errorf("%d reports, the last of %d rows", reports, most)
	}
}
