package stack

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
	"unicode/utf8"
)

// MaxMessage is the most bytes of a message, and of the messages of a batch together, in SQS: 1 MiB.
const MaxMessage = 1 << 20

var (
	// ErrMessageTooLarge says that a body is over MaxMessage bytes.
	ErrMessageTooLarge = errors.New("the message is over the limit of SQS")
	// ErrMessageContents says that a body is empty or has a character that SQS does not take.
	ErrMessageContents = errors.New("the message is empty or has a character that SQS does not take")
)

// QueueConfig says how a Queue behaves. The zero value is a queue with the defaults of SQS that delivers each message
// once.
type QueueConfig struct {
	// Name of the queue. Default: "queue".
	Name string
	// Clock is the time that the queue goes by. A dead-letter queue needs the same. Default: nil, the system's time.
	Clock *Clock
	// Visibility is how long a received message is hidden. Default: 30 seconds.
	Visibility time.Duration
	// Delay is how long a sent message is hidden at first. Default: 0.
	Delay time.Duration
	// MaxReceives is how often a message is received before it goes to DeadLetters (maxReceiveCount). Default: 0, no
	// limit.
	MaxReceives int
	DeadLetters *Queue
	// Seed of the order, of the duplicates and of the short batches.
	Seed uint64
	// Duplicates is the share of messages, 0 to 1, of which the queue has two or three copies. Each copy is received by
	// itself, also while another is in flight or after another was deleted, as at-least-once delivery allows. Default: 0.
	Duplicates float64
	// ShortBatches makes Receive return a random number of messages, from one to as many as were asked for. Default: as
	// many as there are.
	ShortBatches bool
}

// Counters of a Queue. Sent is the sum of Deleted, Dead and Left.
type Counters struct {
	// Sent, Deleted, Dead and Left are of messages, each counted once whatever its copies.
	Sent, Deleted, Dead, Left int
	// Delivered counts the copies that were received, Returned those that became visible again after Visibility.
	Delivered, Returned int
}

// Queue is a standard SQS queue. Its methods may be called concurrently.
//
// Messages are received in random order. Where messages have copies, each copy has its own receive count, so duplicates
// do not bring a message nearer to the dead-letter queue; whether they do in SQS is not documented. A batch never has
// two copies of one message. Once one copy is deleted, the others are received at most once more.
type Queue struct {
	config QueueConfig

	mu       sync.Mutex
	random   *rand.Rand
	copies   []*copied
	messages map[string]*message
	counters Counters
}

type state int

const (
	left state = iota
	deleted
	dead
)

type message struct {
	id            string
	body          string
	sent          time.Time
	firstReceived time.Time
	source        string // in a dead-letter queue: the ARN of the queue that the message came from
	state         state
}

type copied struct {
	*message
	visible  time.Time
	inFlight bool
	receives int
	receipt  string // the latest
}

// Message is a received message.
type Message struct {
	ID, Receipt, Body   string
	Sent, FirstReceived time.Time
	Receives            int // with this one
	// Source is the ARN of the queue whose dead letter this is.
	Source string
}

// NewQueue checks the configuration.
func NewQueue(config QueueConfig) (*Queue, error) {
	var problems []error
	if config.Visibility < 0 || config.Delay < 0 || config.MaxReceives < 0 {
		problems = append(problems, errors.New("a negative Visibility, Delay or MaxReceives"))
	}
	if config.Duplicates < 0 || config.Duplicates > 1 {
		problems = append(problems, fmt.Errorf("a share of Duplicates of %v: give 0 to 1", config.Duplicates))
	}
	if (config.MaxReceives > 0) != (config.DeadLetters != nil) {
		problems = append(problems, errors.New("of MaxReceives and DeadLetters, give both or none"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("stack: queue: %w", err)
	}
	if config.Name == "" {
		config.Name = "queue"
	}
	if config.Visibility == 0 {
		config.Visibility = 30 * time.Second
	}
	return &Queue{config: config, random: rand.New(rand.NewPCG(config.Seed, 0)), messages: map[string]*message{}}, nil
}

// Name is the one of the configuration.
func (q *Queue) Name() string { return q.config.Name }

// ARN is the name by which policies and events know the queue.
func (q *Queue) ARN() string { return "arn:aws:sqs:" + Region + ":" + account + ":" + q.config.Name }

// Send puts a message in the queue and returns its id.
func (q *Queue) Send(body string) (id string, err error) { return q.SendAfter(body, q.config.Delay) }

// SendAfter is Send with a delay that wins over the queue's.
func (q *Queue) SendAfter(body string, delay time.Duration) (id string, err error) {
	if err := checkBody(body); err != nil {
		return "", fmt.Errorf("stack: send to %s: %w", q.config.Name, err)
	}
	m := &message{id: uuid(), body: body, sent: q.config.Clock.Now()}
	q.put(m, m.sent.Add(delay))
	return m.id, nil
}

// checkBody takes what SQS takes: from one byte to MaxMessage of them, with the characters of XML 1.0 only.
func checkBody(body string) error {
	if len(body) > MaxMessage {
		return fmt.Errorf("%w: %d bytes of %d", ErrMessageTooLarge, len(body), MaxMessage)
	}
	if body == "" || !utf8.ValidString(body) {
		return ErrMessageContents
	}
	for i, r := range body {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return fmt.Errorf("%w: %U at byte %d", ErrMessageContents, r, i)
		}
	}
	return nil
}

func (q *Queue) put(m *message, visible time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	copies := 1
	if q.random.Float64() < q.config.Duplicates {
		copies = 2 + q.random.IntN(2)
	}
	for range copies {
		q.copies = append(q.copies, &copied{message: m, visible: visible})
	}
	q.messages[m.id] = m
	q.counters.Sent++
	q.counters.Left++
}

// Receive hides up to limit visible messages (SQS and this: at most 10) for Visibility and returns them.
func (q *Queue) Receive(limit int) []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.config.Clock.Now()
	q.refresh(now)
	limit = min(limit, 10)
	if q.config.ShortBatches && limit > 1 {
		limit = 1 + q.random.IntN(limit)
	}
	var batch []Message
	taken := map[string]bool{}
	for _, i := range q.random.Perm(len(q.copies)) {
		if len(batch) >= limit {
			break
		}
		c := q.copies[i]
		if c.inFlight || c.visible.After(now) || taken[c.id] {
			continue
		}
		taken[c.id] = true
		c.inFlight, c.visible, c.receipt = true, now.Add(q.config.Visibility), randomHex(32)
		c.receives++
		if c.firstReceived.IsZero() {
			c.firstReceived = now
		}
		q.counters.Delivered++
		batch = append(batch, Message{
			ID: c.id, Receipt: c.receipt, Body: c.body,
			Sent: c.sent, FirstReceived: c.firstReceived, Receives: c.receives, Source: c.source,
		})
	}
	return batch
}

// refresh makes copies visible whose time is over, and moves messages that were received too often to the dead-letter
// queue. SQS moves such a message when it would be received once more; only Receive and the counters could tell the
// difference.
func (q *Queue) refresh(now time.Time) {
	var gone []*message
	for _, c := range q.copies {
		if c.inFlight && !c.visible.After(now) {
			c.inFlight = false
			q.counters.Returned++
			if c.state == left && q.config.MaxReceives > 0 && c.receives >= q.config.MaxReceives {
				c.state = dead
				q.counters.Dead++
				q.counters.Left--
				gone = append(gone, c.message)
			}
		}
	}
	q.drop(func(c *copied) bool {
		return c.state == dead && !c.inFlight || c.state == deleted && !c.inFlight && c.receives > 0
	})
	for _, m := range gone {
		q.config.DeadLetters.put(&message{id: m.id, body: m.body, sent: m.sent, source: q.ARN()}, now)
	}
}

func (q *Queue) drop(which func(*copied) bool) {
	kept := q.copies[:0]
	for _, c := range q.copies {
		if !which(c) {
			kept = append(kept, c)
		}
	}
	clear(q.copies[len(kept):])
	q.copies = kept
}

// Delete removes the copy that a receipt was given for. It returns false where there is none: the copy was deleted, or
// it was received again since, which makes the receipt an old one. (SQS often still honours an old receipt, but does
// not promise to.)
func (q *Queue) Delete(receipt string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	found := false
	q.drop(func(c *copied) bool {
		if receipt == "" || c.receipt != receipt {
			return false
		}
		found = true
		if c.state == left {
			c.state = deleted
			q.counters.Deleted++
			q.counters.Left--
		}
		return true
	})
	return found
}

// Redrive moves the visible messages to another queue, as SQS's message move task does: there they are new messages
// with new ids. In this queue they count as deleted. It returns how many were moved.
func (q *Queue) Redrive(to *Queue) int {
	moved := 0
	for batch := q.Receive(10); len(batch) > 0; batch = q.Receive(10) {
		for _, m := range batch {
			if q.Delete(m.Receipt) {
				now := to.config.Clock.Now()
				to.put(&message{id: uuid(), body: m.Body, sent: now}, now)
				moved++
			}
		}
	}
	return moved
}

// Left returns the messages that are neither deleted nor dead, oldest first, without receiving them.
func (q *Queue) Left() []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refresh(q.config.Clock.Now())
	var all []Message
	seen := map[string]bool{}
	for _, c := range q.copies {
		if c.state == left && !seen[c.id] {
			seen[c.id] = true
			all = append(all, Message{ID: c.id, Body: c.body, Sent: c.sent, Receives: c.receives, Source: c.source})
		}
	}
	return all
}

// skip moves the queue's clock on to when the next hidden copy becomes visible. It does nothing where a copy is
// visible, where none is there, or where the queue has no clock.
func (q *Queue) skip() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.config.Clock.Now()
	q.refresh(now)
	if q.config.Clock == nil || len(q.copies) == 0 {
		return
	}
	next := slices.MinFunc(q.copies, func(a, b *copied) int { return a.visible.Compare(b.visible) }).visible
	if next.After(now) {
		q.config.Clock.Advance(next.Sub(now))
	}
}

// empty is true if no copy is visible, delayed or in flight, not even one of a deleted message.
func (q *Queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refresh(q.config.Clock.Now())
	return len(q.copies) == 0
}

// Counters are the counts up to now.
func (q *Queue) Counters() Counters {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refresh(q.config.Clock.Now())
	return q.counters
}

// Check says which message is lost, if one is. Each message that was sent must be deleted, or be dead and have arrived
// in the dead-letter queue, or still have a copy here. Check looks at the messages one by one, and the counters must
// agree with them.
func (q *Queue) Check() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refresh(q.config.Clock.Now())
	there := map[string]bool{}
	for _, c := range q.copies {
		there[c.id] = true
	}
	found := Counters{Sent: len(q.messages), Delivered: q.counters.Delivered, Returned: q.counters.Returned}
	for id, m := range q.messages {
		switch m.state {
		case deleted:
			found.Deleted++
		case dead:
			found.Dead++
			if !q.config.DeadLetters.knows(id) {
				return fmt.Errorf("stack: queue %s: message %s is dead, but %s never had it", q.config.Name, id, q.config.DeadLetters.Name())
			}
		default:
			found.Left++
			if !there[id] {
				return fmt.Errorf("stack: queue %s: message %s is lost: neither deleted nor dead nor here", q.config.Name, id)
			}
		}
	}
	if found != q.counters {
		return fmt.Errorf("stack: queue %s: the counters say %+v, the messages %+v", q.config.Name, q.counters, found)
	}
	return nil
}

func (q *Queue) knows(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.messages[id] != nil
}

func md5Hex(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}
