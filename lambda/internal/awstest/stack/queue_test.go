package stack

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func queue(t *testing.T, c QueueConfig) *Queue {
	t.Helper()
	q, err := NewQueue(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Check(); err != nil {
			t.Error(err)
		}
	})
	return q
}

func send(t *testing.T, q *Queue, n int) {
	t.Helper()
	for i := range n {
		if _, err := q.Send(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// receiveOne receives, where one message is visible.
func receiveOne(t *testing.T, q *Queue) Message {
	t.Helper()
	batch := q.Receive(10)
	if len(batch) != 1 {
		t.Fatalf("%d messages were received, expected 1: %+v", len(batch), batch)
	}
	return batch[0]
}

// inBubble runs a test in which time is not real: it moves on when every goroutine waits. Exactly the last instant
// before the end of a time-out, and the end itself, can be tested.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, test)
}

func TestQueueConfig(t *testing.T) {
	t.Parallel()
	_, err := NewQueue(QueueConfig{Delay: -1, Duplicates: 1.5, MaxReceives: 3})
	for _, want := range []string{"negative", "Duplicates of 1.5", "both or none"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	q := queue(t, QueueConfig{})
	for _, c := range []struct {
		body string
		want error
	}{
		{"", ErrMessageContents},
		{"\x00", ErrMessageContents},
		{"\xff", ErrMessageContents},
		{"a\uffff", ErrMessageContents},
		{"tab\tline\r\nü😀", nil},
		{strings.Repeat("x", MaxMessage), nil},
		{strings.Repeat("x", MaxMessage+1), ErrMessageTooLarge},
	} {
		if _, err := q.Send(c.body); !errors.Is(err, c.want) || (err != nil) != (c.want != nil) {
			t.Errorf("%.20q: %v, not %v", c.body, err, c.want)
		}
	}
}

func TestVisibility(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q := queue(t, QueueConfig{})
		send(t, q, 1)
		first := receiveOne(t, q)
		time.Sleep(30*time.Second - 1)
		if got := q.Receive(10); got != nil {
			t.Fatalf("received while hidden: %v", got)
		}
		time.Sleep(time.Nanosecond)
		second := receiveOne(t, q)
		if second.ID != first.ID || second.Receives != 2 || second.Receipt == first.Receipt || !second.FirstReceived.Equal(first.FirstReceived) {
			t.Errorf("%+v, then %+v", first, second)
		}
		if q.Delete(first.Receipt) || q.Delete("") || !q.Delete(second.Receipt) || q.Delete(second.Receipt) {
			t.Error("only the latest receipt deletes, and once")
		}
		if got, want := q.Counters(), (Counters{Sent: 1, Deleted: 1, Delivered: 2, Returned: 1}); got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
	})
}

func TestDelay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q := queue(t, QueueConfig{Delay: time.Hour})
		send(t, q, 1)
		if _, err := q.SendAfter("soon", time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute - 1)
		if got := q.Receive(10); got != nil {
			t.Errorf("too early: %v", got)
		}
		time.Sleep(time.Nanosecond)
		if got := receiveOne(t, q); got.Body != "soon" {
			t.Errorf("%v", got)
		}
		if q.empty() || len(q.Left()) != 2 {
			t.Error("a delayed message and one in flight are left")
		}
	})
}

// TestClock moves a queue's clock on, to the end of a visibility time-out and, with skip, to whatever comes next.
func TestClock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		clock := &Clock{}
		q := queue(t, QueueConfig{Clock: clock, Visibility: time.Hour})
		q.skip() // nothing to skip to
		send(t, q, 1)
		q.skip() // a message is visible
		if !clock.Now().Equal(time.Now()) {
			t.Error("skip moved the clock for nothing")
		}
		first := receiveOne(t, q)
		clock.Advance(time.Hour - 1)
		if got := q.Receive(10); got != nil {
			t.Errorf("received while hidden: %v", got)
		}
		if _, err := q.SendAfter("later", time.Minute); err != nil {
			t.Fatal(err)
		}
		q.skip()
		if again := receiveOne(t, q); again.ID != first.ID {
			t.Errorf("%+v, then %+v", first, again)
		}
		q.skip()
		if got := receiveOne(t, q); got.Body != "later" || !clock.Now().Equal(time.Now().Add(time.Hour-1+time.Minute)) {
			t.Errorf("%+v at %v", got, clock.Now())
		}
	})
}

func TestOrderIsOfTheSeed(t *testing.T) {
	t.Parallel()
	order := func(seed uint64) string {
		q := queue(t, QueueConfig{Seed: seed, ShortBatches: true})
		send(t, q, 40)
		var all []string
		for batch := q.Receive(10); batch != nil; batch = q.Receive(10) {
			for _, m := range batch {
				all = append(all, m.Body)
			}
			all = append(all, "|")
		}
		return strings.Join(all, " ")
	}
	a, b, c := order(1), order(1), order(2)
	if a != b || a == c || strings.HasPrefix(a, "0 1 2 3") || strings.Count(a, "|") <= 4 {
		t.Errorf("%s\n%s\n%s", a, b, c)
	}
}

func TestDeadLettersAndRedrive(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		letters := queue(t, QueueConfig{Name: "dead"})
		q := queue(t, QueueConfig{Visibility: time.Minute, MaxReceives: 3, DeadLetters: letters})
		send(t, q, 1)
		for n := 1; n <= 3; n++ {
			if m := receiveOne(t, q); m.Receives != n {
				t.Errorf("receive %d counts %d", n, m.Receives)
			}
			if dead := q.Counters().Dead; dead != 0 {
				t.Errorf("%d dead while the message is hidden", dead)
			}
			time.Sleep(time.Minute)
		}
		if left := letters.Left(); len(left) != 0 {
			t.Errorf("before the queue is asked: %+v", left)
		}
		if q.Counters().Dead != 1 {
			t.Errorf("%+v", q.Counters())
		}
		if left := letters.Left(); len(left) != 1 || left[0].Body != "0" || left[0].Source != q.ARN() || len(q.Left()) != 0 {
			t.Errorf("%+v", left)
		}
		if n := letters.Redrive(q); n != 1 || !letters.empty() || len(q.Left()) != 1 {
			t.Errorf("%d redriven, %+v", n, q.Counters())
		}
		if m := receiveOne(t, q); m.Receives != 1 || m.Source != "" {
			t.Errorf("%+v", m)
		}
	})
}

// TestDuplicates receives and deletes with four goroutines. Each copy comes once, however they share them.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	q := queue(t, QueueConfig{Duplicates: 0.5, Seed: 3, Visibility: time.Hour})
	send(t, q, 300)
	copies := map[string]int{}
	for _, c := range q.copies {
		copies[c.id]++
	}
	all := len(q.copies)
	var mu sync.Mutex
	times := map[string]int{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for batch := q.Receive(10); batch != nil; batch = q.Receive(10) {
				inBatch := map[string]bool{}
				for _, m := range batch {
					if inBatch[m.ID] {
						t.Errorf("%s is twice in a batch", m.ID)
					}
					inBatch[m.ID] = true
					if !q.Delete(m.Receipt) {
						t.Errorf("%s is not deleted", m.ID)
					}
					mu.Lock()
					times[m.ID]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if !q.empty() || !maps.Equal(times, copies) {
		t.Errorf("messages came %v times, and had %v copies", times, copies)
	}
	// The seed gives some messages of each kind.
	if counts := slices.Sorted(maps.Values(copies)); counts[0] != 1 || !slices.Contains(counts, 2) || counts[299] != 3 {
		t.Errorf("copies: %v", counts)
	}
	if c := q.Counters(); c.Deleted != 300 || c.Left != 0 || c.Delivered != all {
		t.Errorf("%+v", c)
	}
}

// TestCopyOfADeletedMessage receives the other copies of a message that was deleted: each comes once, and none makes a
// dead letter.
func TestCopyOfADeletedMessage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		letters := queue(t, QueueConfig{Name: "dead"})
		q := queue(t, QueueConfig{Duplicates: 1, MaxReceives: 1, DeadLetters: letters, Visibility: time.Minute})
		send(t, q, 1)
		copies := len(q.copies)
		q.Delete(receiveOne(t, q).Receipt)
		for range copies - 1 {
			receiveOne(t, q)
		}
		if q.empty() {
			t.Error("nothing is in flight")
		}
		time.Sleep(time.Minute)
		if !q.empty() {
			t.Errorf("%+v", q.copies)
		}
		if c := q.Counters(); c.Deleted != 1 || c.Dead != 0 || c.Delivered != copies || letters.Counters().Sent != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// TestCheckSeesALoss breaks a queue in each way that Check looks for.
func TestCheckSeesALoss(t *testing.T) {
	t.Parallel()
	letters := queue(t, QueueConfig{})
	for name, lose := range map[string]func(*Queue){
		"is lost":      func(q *Queue) { q.copies = nil },
		"never had it": func(q *Queue) { q.copies[0].state = dead },
		"the counters": func(q *Queue) { q.copies[0].state = deleted },
	} {
		q, err := NewQueue(QueueConfig{MaxReceives: 1, DeadLetters: letters})
		if err != nil {
			t.Fatal(err)
		}
		send(t, q, 1)
		if err := q.Check(); err != nil {
			t.Error(err)
		}
		lose(q)
		if err := q.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not say %q", err, name)
		}
	}
}
