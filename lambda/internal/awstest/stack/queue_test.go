package stack

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
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

// receive waits for a batch.
func receive(t *testing.T, q *Queue) []Message {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if batch := q.Receive(10); len(batch) > 0 {
			return batch
		}
	}
	t.Fatal("nothing came")
	return nil
}

func TestQueueConfig(t *testing.T) {
	_, err := NewQueue(QueueConfig{Delay: -1, Duplicates: 1.5, MaxReceives: 3})
	for _, want := range []string{"negative", "Duplicates of 1.5", "both or none"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestBodies(t *testing.T) {
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
	q := queue(t, QueueConfig{Visibility: 300 * time.Millisecond})
	send(t, q, 1)
	first := receive(t, q)[0]
	if got := q.Receive(10); got != nil {
		t.Fatalf("received while hidden: %v", got)
	}
	second := receive(t, q)[0]
	if second.ID != first.ID || second.Receives != 2 || second.Receipt == first.Receipt || !second.FirstReceived.Equal(first.FirstReceived) {
		t.Errorf("%+v, then %+v", first, second)
	}
	if q.Delete(first.Receipt) || q.Delete("") || !q.Delete(second.Receipt) || q.Delete(second.Receipt) {
		t.Error("only the latest receipt deletes, and once")
	}
	if got, want := q.Counters(), (Counters{Sent: 1, Deleted: 1, Delivered: 2, Returned: 1}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
}

func TestDelay(t *testing.T) {
	q := queue(t, QueueConfig{Delay: time.Hour})
	send(t, q, 1)
	if _, err := q.SendAfter("soon", 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if got := q.Receive(10); got != nil {
		t.Errorf("too early: %v", got)
	}
	if got := receive(t, q); len(got) != 1 || got[0].Body != "soon" {
		t.Errorf("%v", got)
	}
	if q.empty() || len(q.Left()) != 2 {
		t.Error("a delayed message and one in flight are left")
	}
}

func TestOrderIsOfTheSeed(t *testing.T) {
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
	letters := queue(t, QueueConfig{Name: "dead"})
	q := queue(t, QueueConfig{Visibility: 5 * time.Millisecond, MaxReceives: 3, DeadLetters: letters})
	send(t, q, 1)
	for n := 1; n <= 3; n++ {
		if m := receive(t, q)[0]; m.Receives != n {
			t.Errorf("receive %d counts %d", n, m.Receives)
		}
	}
	for q.Counters().Dead == 0 {
		time.Sleep(time.Millisecond)
	}
	if left := letters.Left(); len(left) != 1 || left[0].Body != "0" || left[0].Source != q.ARN() || len(q.Left()) != 0 {
		t.Errorf("%+v", left)
	}
	if n := letters.Redrive(q); n != 1 || !letters.empty() || len(q.Left()) != 1 {
		t.Errorf("%d redriven, %+v", n, q.Counters())
	}
	if m := receive(t, q)[0]; m.Receives != 1 || m.Source != "" {
		t.Errorf("%+v", m)
	}
}

func TestDuplicates(t *testing.T) {
	q := queue(t, QueueConfig{Duplicates: 0.5, Seed: 3, Visibility: time.Minute})
	send(t, q, 300)
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
	var count [4]int
	for _, n := range times {
		count[min(n, 3)]++
	}
	if !q.empty() || len(times) != 300 || count[1] < 110 || count[2] < 40 || count[3] < 40 {
		t.Errorf("%d messages; once, twice, three times: %v", len(times), count[1:])
	}
	if c := q.Counters(); c.Deleted != 300 || c.Left != 0 || c.Delivered != count[1]+2*count[2]+3*count[3] {
		t.Errorf("%+v", c)
	}
}

// A copy that comes once its message is deleted does not come again, nor makes a dead letter.
func TestCopyOfADeletedMessage(t *testing.T) {
	letters := queue(t, QueueConfig{Name: "dead"})
	q := queue(t, QueueConfig{Duplicates: 1, MaxReceives: 1, DeadLetters: letters, Visibility: 50 * time.Millisecond})
	send(t, q, 1)
	copies := len(q.copies)
	q.Delete(receive(t, q)[0].Receipt)
	for range copies - 1 {
		receive(t, q)
	}
	for !q.empty() {
		time.Sleep(time.Millisecond)
	}
	if c := q.Counters(); c.Deleted != 1 || c.Dead != 0 || c.Delivered != copies || letters.Counters().Sent != 0 {
		t.Errorf("%+v", c)
	}
}

// The gate is seen to fail.
func TestCheckSeesALoss(t *testing.T) {
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
