// Package lambda mines sharded jobs on AWS Lambda.
//
// Input: the events that AWS sends a function: S3's notifications of uploads, directly or in messages of SQS, and the
// schedule's sweep. Output: parts and results in the bucket of the results, and, for SQS, the names of the messages
// that must come again. Package host/job does what an event asks for. lambda/bootstrap is the program that AWS runs,
// and lambda/deploy deploys it.
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

// Handler handles one invocation at a time, as Lambda makes them. From one to the next it keeps the worker of the job
// that it last mined for, with the job's projection, pairs and plugin instances.
type Handler struct {
	config    Config
	stores    map[string]objstore.Store // by URL
	worker    *job.Worker               // nil where there is none yet, or the last one failed
	workerJob string                    // bucket and name of the worker's job
	calls     int
	shardTook time.Duration // how long this invocation's last shard took; 0 before the first
}

// New returns a handler of that configuration.
func New(c Config) *Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.open == nil {
		c.open = objstore.Open
	}
	return &Handler{config: c, stores: map[string]objstore.Store{}}
}

// event has the fields of every event that an invocation may be about.
type event struct {
	Event   string            `json:"Event"`   // of S3's test event: s3:TestEvent
	Quarry  string            `json:"quarry"`  // of the schedule: "sweep"
	Bucket  string            `json:"bucket"`  // of the schedule: the bucket to sweep
	Records []json.RawMessage `json:"Records"` // of S3 and of SQS
}

// source is the field of a record that says which service sent it.
type source struct {
	EventSource string `json:"eventSource"`
}

// Invoke handles an event: messages of SQS, a notification of S3, or {"quarry":"sweep","bucket":"name"}. The answer to
// messages names those that must come again; other answers are empty. An error means that Lambda must send the event
// again.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	h.calls++
	h.shardTook = 0
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

// batch handles messages of SQS, and returns those that must come again. A message that is no event is logged, and does
// not come again.
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

// notification handles S3's notification. It tries all records, also after one that failed.
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

// jobAt returns where a job is, whose input is in that bucket.
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

// workerOf returns the worker of a job: the one of the last invocation, where it is that job's, or a new one.
func (h *Handler) workerOf(ctx context.Context, bucket, name string) (*job.Worker, error) {
	key := bucket + "/" + name
	if h.worker != nil && h.workerJob == key {
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
	h.workerJob = key
	return h.worker, err
}

// Close frees what is kept from one invocation to the next. The next invocation begins without it.
func (h *Handler) Close(ctx context.Context) error {
	if h.worker == nil {
		return nil
	}
	w := h.worker
	h.worker = nil
	return w.Close(ctx)
}
