package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
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
	// WholeBatches is an event source mapping without ReportBatchItemFailures: what a function returns is not looked at.
	WholeBatches bool
	// Failed gets each failed invocation and each unusable response with its batch. Calls may overlap. Default: none.
	Failed func(batch []Message, err error)
}

// Poller is Lambda's event source mapping for one queue: it takes batches, invokes the function with them, and deletes what
// succeeded. What failed is left alone, so it comes back after the queue's Visibility.
//
// Unlike Lambda it does not slow down after failures, waits for no batching window, and sends a batch whose event is over
// MaxPayload as it is, to fail.
type Poller struct {
	config  PollerConfig
	stop    chan struct{}
	once    sync.Once
	workers sync.WaitGroup
	busy    atomic.Int64 // workers that receive or deliver
	batches atomic.Int64 // received so far
}

// idlePoll is how long a worker waits when it found nothing.
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
	p := &Poller{config: config, stop: make(chan struct{})}
	for range config.Concurrency {
		p.workers.Go(p.work)
	}
	return p, nil
}

// Stop takes no more batches and waits for the invocations under way.
func (p *Poller) Stop() {
	p.once.Do(func() { close(p.stop) })
	p.workers.Wait()
}

// Drain waits until the queue is empty and no invocation runs: nothing is visible, delayed or in flight. It says what is left if ctx
// ends first. A message that never succeeds keeps it waiting, unless the queue has DeadLetters.
func (p *Poller) Drain(ctx context.Context) error {
	for {
		// If no worker was busy at both ends and no batch was taken between, no invocation ran that could send once more.
		batches := p.batches.Load()
		if p.busy.Load() == 0 && p.config.Queue.empty() && p.busy.Load() == 0 && p.batches.Load() == batches {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stack: drain %s: %w: %+v", p.config.Queue.Name(), ctx.Err(), p.config.Queue.Counters())
		case <-time.After(idlePoll):
		}
	}
}

func (p *Poller) work() {
	for {
		select {
		case <-p.stop:
			return
		default:
		}
		p.busy.Add(1)
		batch := p.config.Queue.Receive(p.config.BatchSize)
		if len(batch) > 0 {
			p.batches.Add(1)
			p.deliver(batch)
		}
		p.busy.Add(-1)
		if len(batch) == 0 {
			select {
			case <-p.stop:
			case <-time.After(idlePoll):
			}
		}
	}
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

// batchItemFailures reads a response as Lambda documents for SQS: null, {} and an empty or null list are success; an invalid JSON
// response, and an itemIdentifier that is missing, null, empty or of no message in the batch, fail the batch. Of JSON that is no
// object AWS says nothing; here it fails the batch too.
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

// mustJSON is for values that cannot fail: strings, numbers and what is made of them.
func mustJSON(v any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
