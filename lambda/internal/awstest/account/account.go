// Package account is what the deployment's template makes, on one machine: a bucket for jobs and one for results, on a real S3 server; a queue that
// is told of uploads; and the built function, which may do what the template's role allows and no more. Tests and the demo call it.
package account

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/s3server"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/iam"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/stack"
)

// Options say how the account is.
type Options struct {
	Dir          string  // for all that is written
	Programs     string  // folder of local/bootstrap and template.json: the bin that make makes
	Function     string  // its program; empty means local/bootstrap of Programs
	Cache        bool    // the compiled plugin lies beside the function's program
	Duplicates   float64 // share of the messages that come twice or three times
	Concurrency  int
	Timeout      time.Duration
	KillAfter    func(invocation int) (time.Duration, bool)
	Fault        func(request int) stack.Fault // of the queue's endpoint
	Log          func(line string)             // gets the function's
	Setenv       func(name, value string)      // gives this process the S3 server; an empty value is none
	VisibleAfter time.Duration                 // the queue's visibility time-out
	Env          []string                      // of the function, beside what the template gives it
}

// Account is a running one.
type Account struct {
	Template *iam.Template
	Caller   *iam.Caller // the function, as the role sees it
	Queue    *stack.Queue
	Function *stack.Function
	Poller   *stack.Poller

	in, out objstore.Store
	close   []func()
}

// New starts an account. Where a program that make builds is missing, the error is fs.ErrNotExist or s3server.ErrNoProgram.
func New(ctx context.Context, o Options) (_ *Account, err error) {
	a := &Account{}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	bootstrap := o.Function
	if bootstrap == "" {
		bootstrap = filepath.Join(o.Programs, "local", "bootstrap")
	}
	if _, err := os.Stat(bootstrap); err != nil {
		return nil, err
	}
	if a.Template, err = iam.LoadTemplate(filepath.Join(o.Programs, "template.json")); err != nil {
		return nil, err
	}
	server, err := a.startS3(ctx, o)
	if err != nil {
		return nil, err
	}
	dead, err := stack.NewQueue(stack.QueueConfig{Name: "dead"})
	if err != nil {
		return nil, err
	}
	a.Queue, err = stack.NewQueue(stack.QueueConfig{
		Name: "quarry", Visibility: o.VisibleAfter, MaxReceives: 40, DeadLetters: dead, Seed: 7, Duplicates: o.Duplicates, ShortBatches: true,
	})
	if err != nil {
		return nil, err
	}
	return a, a.startFunction(o, server, bootstrap)
}

// startS3 starts the server and makes the buckets.
func (a *Account) startS3(ctx context.Context, o Options) (*s3server.Server, error) {
	server, err := s3server.Start(ctx, filepath.Join(o.Dir, "s3"))
	if err != nil {
		return nil, err
	}
	a.close = append(a.close, server.Stop)
	server.Setenv(o.Setenv)
	for bucket, to := range map[string]*objstore.Store{a.Template.InputBucket: &a.in, a.Template.ResultsBucket: &a.out} {
		if err := server.CreateBucket(ctx, bucket); err != nil {
			return nil, err
		}
		if *to, err = objstore.Open(ctx, "s3://"+bucket); err != nil {
			return nil, err
		}
	}
	return server, nil
}

// startFunction starts what stands between the function and S3, the queue's endpoint, and what moves messages.
func (a *Account) startFunction(o Options, server *s3server.Server, bootstrap string) error {
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		return err
	}
	a.Caller = iam.NewCaller(a.Template.Role)
	gate := httptest.NewServer(iam.S3Gate(a.Caller, target))
	a.close = append(a.close, gate.Close)
	endpoint, err := stack.ServeSQS(o.Fault, a.Queue)
	if err != nil {
		return err
	}
	a.close = append(a.close, func() { _ = endpoint.Close() })
	root := o.Dir
	if o.Cache {
		if root, err = filepath.Abs(filepath.Dir(bootstrap)); err != nil {
			return err
		}
	}
	a.Function, err = stack.NewFunction(stack.FunctionConfig{
		Path: bootstrap, MemoryMB: 1769, Timeout: o.Timeout, Concurrency: o.Concurrency, KillAfter: o.KillAfter,
		Log: func(_ int, line string) { o.Log(line) },
		Env: append(append(server.Environment(), o.Env...), "AWS_SESSION_TOKEN=", "AWS_ENDPOINT_URL_S3="+gate.URL, "AWS_ENDPOINT_URL_SQS="+endpoint.URL(), "LAMBDA_TASK_ROOT="+root,
			"QUARRY_RESULTS=s3://"+a.Template.ResultsBucket, "QUARRY_QUEUE_URL="+endpoint.QueueURL(a.Queue), "QUARRY_MAX_SHARD_MIB=512"),
	})
	if err != nil {
		return err
	}
	a.close = append(a.close, func() { _ = a.Function.Close() })
	a.Poller, err = stack.StartPoller(stack.PollerConfig{Queue: a.Queue, Invoke: a.Function.Invoke, BatchSize: 3, Concurrency: o.Concurrency})
	if err == nil {
		a.close = append(a.close, a.Poller.Stop)
	}
	return err
}

// Close stops everything, what was started last first.
func (a *Account) Close() {
	for len(a.close) > 0 {
		last := len(a.close) - 1
		a.close[last]()
		a.close = a.close[:last]
	}
}

// Place is a job; the queue is told of what is uploaded to it, as S3 does.
func (a *Account) Place(name string) *job.Place {
	in := &notifying{a.in, a.Template.InputBucket, &stack.Notifier{Queue: a.Queue, Prefix: job.Folder}}
	return job.Within(in, a.out, name)
}

// Drain waits until no message is left. It fails where one was lost or given up.
func (a *Account) Drain(ctx context.Context) error {
	err := a.Poller.Drain(ctx)
	if err == nil {
		err = a.Queue.Check()
	}
	if dead := a.Queue.Counters().Dead; dead > 0 {
		err = errors.Join(err, fmt.Errorf("%d messages were given up", dead))
	}
	if err != nil {
		err = fmt.Errorf("%w; the queue's counters are %+v", err, a.Queue.Counters())
	}
	return err
}

// notifying is a bucket that tells a queue of uploads.
type notifying struct {
	objstore.Store
	bucket   string
	notifier *stack.Notifier
}

func (n *notifying) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	return n.told(key, n.Store.Put(ctx, key, body))
}

func (n *notifying) PutNew(ctx context.Context, key string, body io.ReadSeeker) error {
	return n.told(key, n.Store.PutNew(ctx, key, body))
}

func (n *notifying) told(key string, err error) error {
	if err == nil {
		_, err = n.notifier.Uploaded(n.bucket, key, 1, "0")
	}
	return err
}
