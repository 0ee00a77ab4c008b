package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// PollerConfig says what a Poller moves where.
type PollerConfig struct {
	Queue *Queue
	// Invoke is a Function's. Several calls run at once, up to Concurrency.
	Invoke func(ctx context.Context, event []byte) ([]byte, error)
	// BatchSize is the most messages of an event. Default: 10, which is also the most.
	BatchSize int
	// Concurrency is the most invocations at once (MaximumConcurrency; Lambda takes 2 and more). Default: 2.
	Concurrency int
	// WholeBatches is an event source mapping without ReportBatchItemFailures: the function's response is ignored.
	WholeBatches bool
	// SkipWaits moves the queue's Clock on to when the next message becomes visible, each time that no message is visible
	// and no invocation runs. So nothing waits for a visibility time-out, and none ends while an invocation runs unless
	// the test moves the clock.
	SkipWaits bool
	// Failed gets each failed invocation and each unusable response with its batch. Calls may overlap. Default: none.
	Failed func(batch []Message, err error)
}

// Poller is Lambda's event source mapping for one queue: it receives batches, invokes the function with them, and
// deletes the messages that succeeded. It leaves those that failed to the queue, where they become visible again after
// the queue's Visibility.
//
// Three things differ from Lambda: it does not slow down after failures, it waits for no batching window, and it sends
// a batch whose event is over MaxPayload as it is, to fail.
type Poller struct {
	config  PollerConfig
	stop    chan struct{}
	once    sync.Once
	workers sync.WaitGroup

	mu      sync.Mutex // is held to receive, too
	running int        // invocations
}

// idlePoll is how long a worker that found no message waits, and how often Drain looks.
const idlePoll = 5 * time.Millisecond

// StartPoller starts moving. Stop ends it.
func StartPoller(config PollerConfig) (*Poller, error) {
	if config.Queue == nil || config.Invoke == nil {
		return nil, errors.New("stack: poller: Queue and Invoke are needed")
	}
	if config.BatchSize < 0 || config.BatchSize > 10 || config.Concurrency < 0 {
		return nil, fmt.Errorf("stack: poller: BatchSize %d is not 1 to 10, or Concurrency %d is negative", config.BatchSize, config.Concurrency)
	}
	if config.BatchSize == 0 {
		config.BatchSize = 10
	}
	if config.Concurrency == 0 {
		config.Concurrency = 2
	}
	if config.SkipWaits && config.Queue.config.Clock == nil {
		return nil, errors.New("stack: poller: SkipWaits needs a queue with a Clock")
	}
	p := &Poller{config: config, stop: make(chan struct{})}
	for range config.Concurrency {
		p.workers.Go(p.poll)
	}
	return p, nil
}

// Stop receives no more batches and waits for the invocations under way.
func (p *Poller) Stop() {
	p.once.Do(func() { close(p.stop) })
	p.workers.Wait()
}

// Drain waits until the queue is empty and no invocation runs: no message is visible, delayed or in flight. If ctx ends
// first, the error says what is left. A message that never succeeds keeps Drain waiting, unless the queue has
// DeadLetters.
func (p *Poller) Drain(ctx context.Context) error {
	for {
		if p.drained() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stack: drain %s: %w: %+v", p.config.Queue.Name(), ctx.Err(), p.config.Queue.Counters())
		case <-time.After(idlePoll):
		}
	}
}

func (p *Poller) drained() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running == 0 && p.config.Queue.empty()
}

// poll receives and delivers until Stop. Each worker runs it.
func (p *Poller) poll() {
	for {
		select {
		case <-p.stop:
			return
		default:
		}
		if batch := p.receive(); len(batch) > 0 {
			p.deliver(batch)
			p.mu.Lock()
			p.running--
			p.mu.Unlock()
			continue
		}
		select {
		case <-p.stop:
		case <-time.After(idlePoll):
		}
	}
}

// receive returns a batch and counts its invocation as running, or returns nothing.
func (p *Poller) receive() []Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	batch := p.config.Queue.Receive(p.config.BatchSize)
	switch {
	case len(batch) > 0:
		p.running++
	case p.running == 0 && p.config.SkipWaits:
		p.config.Queue.skip()
	}
	return batch
}

func (p *Poller) deliver(batch []Message) {
	response, err := p.config.Invoke(context.Background(), SQSEvent(p.config.Queue, batch))
	var failed map[string]bool
	if err == nil && !p.config.WholeBatches {
		failed, err = batchItemFailures(response, batch)
	}
	if err != nil {
		if p.config.Failed != nil {
			p.config.Failed(batch, err)
		}
		return
	}
	for _, m := range batch {
		if !failed[m.ID] {
			p.config.Queue.Delete(m.Receipt)
		}
	}
}

// batchItemFailures returns the ids of the messages that failed, read from a response as Lambda documents for SQS:
// null, {} and an empty or null list are success; an invalid JSON response, and an itemIdentifier that is missing,
// null, empty or of no message in the batch, fail the batch. AWS does not say what JSON that is no object means; here
// it fails the batch too.
func batchItemFailures(response []byte, batch []Message) (map[string]bool, error) {
	response = bytes.TrimSpace(response)
	if len(response) == 0 {
		return nil, nil
	}
	var fields map[string]json.RawMessage // encoding/json would take a struct's fields in any case of letters
	if err := json.Unmarshal(response, &fields); err != nil {
		return nil, fmt.Errorf("stack: response: %w", err)
	}
	list, ok := fields["batchItemFailures"]
	if !ok {
		return nil, nil
	}
	var items []map[string]json.RawMessage
	if err := json.Unmarshal(list, &items); err != nil {
		return nil, fmt.Errorf("stack: response: batchItemFailures: %w", err)
	}
	ids := map[string]bool{}
	for _, m := range batch {
		ids[m.ID] = true
	}
	failed := map[string]bool{}
	for i, item := range items {
		var id string
		if err := json.Unmarshal(item["itemIdentifier"], &id); err != nil {
			return nil, fmt.Errorf("stack: response: batchItemFailures[%d].itemIdentifier: %w", i, err)
		}
		if !ids[id] {
			return nil, fmt.Errorf("stack: response: batchItemFailures[%d].itemIdentifier %q is of no message in the batch", i, id)
		}
		failed[id] = true
	}
	return failed, nil
}

// sqsRecord is a record of an SQS event, with the fields in the order and of the shape Lambda sends.
type sqsRecord struct {
	MessageID         string            `json:"messageId"`
	ReceiptHandle     string            `json:"receiptHandle"`
	Body              string            `json:"body"`
	Attributes        map[string]string `json:"attributes"`
	MessageAttributes struct{}          `json:"messageAttributes"`
	MD5OfBody         string            `json:"md5OfBody"`
	EventSource       string            `json:"eventSource"`
	EventSourceARN    string            `json:"eventSourceARN"`
	AWSRegion         string            `json:"awsRegion"`
}

// SQSEvent is the event that Lambda makes of a batch from a queue.
func SQSEvent(queue *Queue, batch []Message) []byte {
	records := make([]sqsRecord, len(batch))
	for i, m := range batch {
		records[i] = sqsRecord{
			MessageID:     m.ID,
			ReceiptHandle: m.Receipt,
			Body:          m.Body,
			Attributes: map[string]string{
				"ApproximateReceiveCount":          strconv.Itoa(m.Receives),
				"SentTimestamp":                    strconv.FormatInt(m.Sent.UnixMilli(), 10),
				"SenderId":                         "AIDAEXAMPLE",
				"ApproximateFirstReceiveTimestamp": strconv.FormatInt(m.FirstReceived.UnixMilli(), 10),
			},
			MD5OfBody:      md5Hex(m.Body),
			EventSource:    "aws:sqs",
			EventSourceARN: queue.ARN(),
			AWSRegion:      Region,
		}
		if m.Source != "" {
			records[i].Attributes["DeadLetterQueueSourceArn"] = m.Source
		}
	}
	return mustJSON(map[string]any{"Records": records})
}

// mustJSON encodes values whose encoding cannot fail: strings, numbers, and maps, lists and structs of them.
func mustJSON(v any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
