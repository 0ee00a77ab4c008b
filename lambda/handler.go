// Package lambda is sharded jobs on AWS Lambda: events of S3 in, directly or through SQS, and mined shards out.
//
// In go the events that AWS sends a function; out come parts and results in the results' bucket, and for SQS the messages that must come again.
// What a shard's turn is, package host/job says. lambda/bootstrap is the program that AWS runs, lambda/deploy what it needs around it.
package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
)

// reserve is how long before its deadline an invocation stops mining: time to put a part, to list the parts, or to answer.
const reserve = 5 * time.Second

// Config is what a function is told. Results alone must be set.
type Config struct {
	Results   string         // bucket of the results, s3://name
	Queue     Queue          // where shards that waited for their manifest are sent; nil to mine them at once
	MaxShard  int64          // bytes of the largest shard that is taken; 0 means any
	MemoryMiB int            // that the function has
	Dir       string         // for shards while they are mined; empty means the system's folder for temporary files
	Run       mining.Compute // its Engine is kept for all invocations
	Log       *slog.Logger   // nil for none

	open func(ctx context.Context, url string) (objstore.Store, error)
}

// Queue takes messages for this function.
type Queue interface {
	Send(ctx context.Context, bodies []string) error
}

// Handler handles invocations, one at a time, as Lambda makes them. It keeps the job it last mined for: its projection, pairs and plugin instances.
type Handler struct {
	config Config
	stores map[string]objstore.Store // by URL
	warm   string                    // bucket and job of worker
	worker *job.Worker
	calls  int
	last   time.Duration // that this invocation's last shard took
}

// New returns a handler.
func New(c Config) *Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.open == nil {
		c.open = objstore.Open
	}
	return &Handler{config: c, stores: map[string]objstore.Store{}}
}

// event is what an invocation may be about.
type event struct {
	Event   string            `json:"Event"`  // s3:TestEvent
	Quarry  string            `json:"quarry"` // "sweep"
	Bucket  string            `json:"bucket"`
	Records []json.RawMessage `json:"Records"`
}

// source tells records apart.
type source struct {
	EventSource string `json:"eventSource"`
}

// Invoke handles an event: of SQS, whose answer names the messages that must come again; of S3; or {"quarry":"sweep","bucket":"name"}.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	h.calls++
	h.last = 0
	log := h.config.Log.With("cold_start", h.calls == 1)
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		log = log.With("request_id", lc.AwsRequestID)
	}
	var e event
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, fmt.Errorf("the event is no JSON object: %w", err)
	}
	var first source
	if len(e.Records) > 0 {
		if err := json.Unmarshal(e.Records[0], &first); err != nil {
			return nil, fmt.Errorf("the event's first record: %w", err)
		}
	}
	switch {
	case e.Quarry == "sweep":
		return nil, h.sweep(ctx, log, e.Bucket)
	case first.EventSource == "aws:sqs":
		var batch events.SQSEvent
		if err := json.Unmarshal(payload, &batch); err != nil {
			return nil, fmt.Errorf("the event of SQS: %w", err)
		}
		return json.Marshal(h.batch(ctx, log, batch))
	}
	return nil, h.notification(ctx, log, e)
}

// batch handles messages, and names those that must come again.
func (h *Handler) batch(ctx context.Context, log *slog.Logger, batch events.SQSEvent) events.SQSEventResponse {
	again := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for _, m := range batch.Records {
		log := log.With("message", m.MessageId, "receives", m.Attributes["ApproximateReceiveCount"])
		var e event
		err := json.Unmarshal([]byte(m.Body), &e)
		if err != nil {
			log.Warn("ignored: the message is no event", "problem", err.Error())
			continue
		}
		if err := h.notification(ctx, log, e); err != nil {
			again.BatchItemFailures = append(again.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
		}
	}
	return again
}

// notification handles an event of S3's, whose records are all tried.
func (h *Handler) notification(ctx context.Context, log *slog.Logger, e event) error {
	if e.Event == "s3:TestEvent" {
		log.Info("ignored: S3's test event")
		return nil
	}
	if len(e.Records) == 0 {
		log.Warn("ignored: not an event of S3's")
	}
	var errs []error
	for _, b := range e.Records {
		var r record
		if err := json.Unmarshal(b, &r); err != nil {
			log.Warn("ignored: not a record of S3's", "problem", err.Error())
			continue
		}
		errs = append(errs, h.object(ctx, log, r))
	}
	return errors.Join(errs...)
}

// jobAt opens the stores of a job of a bucket.
func (h *Handler) jobAt(ctx context.Context, bucket, name string) (*job.Place, error) {
	var stores [2]objstore.Store
	for i, url := range []string{"s3://" + bucket, h.config.Results} {
		s, ok := h.stores[url]
		if !ok {
			var err error
			if s, err = h.config.open(ctx, url); err != nil {
				return nil, err
			}
			h.stores[url] = s
		}
		stores[i] = s
	}
	return job.Within(stores[0], stores[1], name), nil
}

// workerOf returns the worker of a job, the one that is warm where it is that job's.
func (h *Handler) workerOf(ctx context.Context, bucket, name string) (*job.Worker, error) {
	key := bucket + "/" + name
	if h.worker != nil && h.warm == key {
		return h.worker, nil
	}
	if err := h.Close(ctx); err != nil {
		return nil, err
	}
	at, err := h.jobAt(ctx, bucket, name)
	if err != nil {
		return nil, err
	}
	h.worker, err = job.NewWorker(at.In, at.Out, job.Options{
		Compute: h.config.Run, Dir: h.config.Dir, MaxShard: h.config.MaxShard, Reserve: reserve, PaidMemoryMiB: h.config.MemoryMiB,
	})
	h.warm = key
	return h.worker, err
}

// Close gives up what is kept from one invocation to the next.
func (h *Handler) Close(ctx context.Context) error {
	if h.worker == nil {
		return nil
	}
	w := h.worker
	h.worker = nil
	return w.Close(ctx)
}
