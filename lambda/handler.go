// Package lambda mines sharded jobs on AWS Lambda.
//
// Input: the events that AWS sends a function: S3's notifications of uploads, directly or by way of SNS, EventBridge and
// SQS, and the schedule's sweep. Output: parts and results in the bucket of the results, and, for SQS, the names of the messages
// that must come again. Package host/job does what an event asks for. lambda/bootstrap is the program that AWS runs,
// and lambda/deploy deploys it.
package lambda

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
)

// reserve is how long before its deadline an invocation stops mining. In this time it puts a part, lists the parts, and
// answers.
const reserve = 5 * time.Second

// DefaultSweepAge is how long ago a shard was uploaded before a sweep takes its message for lost.
const DefaultSweepAge = time.Hour

// Config is the configuration of a function. Only Inputs and Results must be set.
type Config struct {
	Inputs      string         // bucket of the inputs, as s3://name: events of another are refused
	Results     string         // bucket of the results, as s3://name
	Queue       Queue          // gets a message for each shard that waited; nil to mine these shards in the same invocation
	SweepAge    time.Duration  // a sweep sees to shards that were uploaded so long ago; 0 means DefaultSweepAge
	Concurrency int            // most invocations at once in this process, which share Run's memory and threads; 0 means 1
	MaxShard    int64          // size of the largest shard that is mined, in bytes; 0 means any
	MemoryMiB   int            // memory of the function, which its time is paid for by
	Dir         string         // folder of the shards while they are mined; empty means the system's folder for temporary files
	Run         mining.Compute // how shards are mined; all invocations share its Engine
	Log         *slog.Logger   // nil for no log

	open func(ctx context.Context, url string) (objstore.Store, error) // objstore.Open, but for tests
}

// Queue is the queue that invokes this function.
type Queue interface {
	// Send sends messages. An error means that some of them may not have been sent.
	Send(ctx context.Context, bodies []string) error
}

// Handler handles invocations, several at once where Config says so. From one to the next it keeps the workers of the
// jobs that it mines for, with the job's projection, pairs and plugin instances.
type Handler struct {
	config  Config
	inputs  string // the name of the bucket of the inputs
	workers *workers
	calls   atomic.Int64

	mu     sync.Mutex
	stores map[string]objstore.Store // by URL
	ended  map[string]endedJob       // by name
}

// New returns a handler of that configuration.
func New(c Config) *Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.open == nil {
		c.open = objstore.Open
	}
	c.SweepAge, c.Concurrency = cmp.Or(c.SweepAge, DefaultSweepAge), max(c.Concurrency, 1)
	c.Run = share(c.Run, c.Concurrency)
	h := &Handler{config: c, inputs: strings.TrimPrefix(c.Inputs, "s3://"), stores: map[string]objstore.Store{}, ended: map[string]endedJob{}}
	h.workers = newWorkers(c.Concurrency, h.newWorker)
	return h
}

// invocation is one call of the handler.
type invocation struct {
	*Handler
	log       *slog.Logger
	shardTook time.Duration // how long its last shard took; 0 before the first
}

// direct has the fields by which the events differ that are the function's own, and not in a message.
type direct struct {
	Quarry  string            `json:"quarry"`  // of the schedule: "sweep"
	Bucket  string            `json:"bucket"`  // of the schedule: the bucket to sweep
	Records []json.RawMessage `json:"Records"` // of SQS, and others
}

// Invoke handles an event: messages of SQS, S3's notification of uploads, as it is or passed on by SNS or EventBridge, or
// {"quarry":"sweep"}. The answer to messages names those that must come again; other answers are empty. An error means
// that Lambda must send the event again.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	i := &invocation{Handler: h, log: h.config.Log.With("cold_start", h.calls.Add(1) == 1)}
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		i.log = i.log.With("request_id", lc.AwsRequestID)
	}
	var e direct
	if json.Unmarshal(payload, &e) != nil {
		return nil, i.event(ctx, payload) // which says what is wrong with it
	}
	if e.Quarry == "sweep" {
		return nil, i.sweep(ctx, e.Bucket)
	}
	var first struct {
		EventSource string `json:"eventSource"`
	}
	if len(e.Records) > 0 && json.Unmarshal(e.Records[0], &first) == nil && first.EventSource == "aws:sqs" {
		var batch events.SQSEvent
		if err := json.Unmarshal(payload, &batch); err != nil {
			return nil, fmt.Errorf("the event of SQS: %w", err)
		}
		return json.Marshal(i.batch(ctx, batch))
	}
	return nil, i.event(ctx, payload)
}

// batch handles messages of SQS, and returns those that must come again.
func (i *invocation) batch(ctx context.Context, batch events.SQSEvent) events.SQSEventResponse {
	again := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	log := i.log
	for _, m := range batch.Records {
		i.log = log.With("message", m.MessageId, "receives", m.Attributes["ApproximateReceiveCount"])
		if err := i.event(ctx, []byte(m.Body)); err != nil {
			again.BatchItemFailures = append(again.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
		}
	}
	return again
}

// event handles an event of uploads. It tries all of them, also after one that failed.
func (i *invocation) event(ctx context.Context, body []byte) error {
	uploads, err := parseUploads(body)
	if err != nil {
		err = i.notUnderstood(err)
	} else if len(uploads) == 0 {
		i.log.Info("ignored: nothing was uploaded")
	}
	errs := []error{err}
	for _, u := range uploads {
		errs = append(errs, i.object(ctx, u))
	}
	return errors.Join(errs...)
}

// notUnderstood logs an event that is not understood. Of what is in the event, which may be private, it has a key at most.
func (i *invocation) notUnderstood(err error) error {
	i.log.Error("not understood", "problem", err.Error())
	return err
}

// store opens a bucket, once.
func (h *Handler) store(ctx context.Context, url string) (objstore.Store, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.stores[url]
	if !ok {
		var err error
		if s, err = h.config.open(ctx, url); err != nil {
			return nil, err
		}
		h.stores[url] = s
	}
	return s, nil
}

// place is where the job of that name is.
func (h *Handler) place(ctx context.Context, name string) (*job.Place, error) {
	in, err := h.store(ctx, h.config.Inputs)
	if err != nil {
		return nil, err
	}
	out, err := h.store(ctx, h.config.Results)
	if err != nil {
		return nil, err
	}
	return job.Within(in, out, name), nil
}

// newWorker returns a new worker of a job.
func (h *Handler) newWorker(ctx context.Context, name string) (*job.Worker, error) {
	at, err := h.place(ctx, name)
	if err != nil {
		return nil, err
	}
	return job.NewWorker(at.In, at.Out, job.Options{
		Compute: h.config.Run, Dir: h.config.Dir, MaxShard: h.config.MaxShard, Reserve: reserve, PaidMemoryMiB: h.config.MemoryMiB,
	})
}

// Close frees what is kept from one invocation to the next. The next invocation begins without it.
func (h *Handler) Close(ctx context.Context) error { return h.workers.close(ctx) }
