// Package account runs on one machine what lambda/deploy/template.yaml deploys. Tests and the demo call it.
//
// Input: the folder of built programs; output: a running account, in which jobs can be made. It has a bucket for
// jobs and one for results, on a real S3 server (versitygw); a queue that is told of uploads; and the built function,
// which may do in S3 what the template's role allows and no more.
//
// It leaves out the schedule, the alarms, the log group, the encryption and the policies of buckets and queues, and all
// settings of the template but the memory and the queue's visibility time-out. Messages that failed do not keep a job waiting for it:
// time in the queue is skipped where nothing else happens.
package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/s3server"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/iam"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/stack"
)

// Options say what an account has.
type Options struct {
	Dir         string  // where everything is written
	Programs    string  // the folder bin that make makes: it has local/bootstrap and template.json
	Function    string  // the function's program; empty means local/bootstrap of Programs
	Cache       bool    // whether the function finds the compiled plugin beside its program
	Duplicates  float64 // share of the messages that come twice or three times
	Concurrency int     // most processes at once
	PerProcess  int     // most invocations at once in a process; 0 means 1, as the template has it
	MemoryMiB   int     // of the function; 0 means the template's default
	MaxReceives int     // after so many a message goes to the dead-letter queue; 0 means more than any test has
	Timeout     time.Duration
	Grace       time.Duration                   // how long after its deadline an invocation is ended; Lambda gives none
	S3          func(http.Handler) http.Handler // stands between the function and S3; nil for nothing
	Fault       func(request int) stack.Fault   // of the queue's endpoint
	Route       func(key string) stack.Route    // the way by which the queue is told of an upload; nil for S3's own notification
	Log         func(line string)               // gets the lines that the function logs
	Setenv      func(name, value string)        // tells this process of the S3 server; an empty value unsets the variable
	Env         []string                        // variables of the function; they win over those that the template gives it
}

// Account is a running account.
type Account struct {
	Template *iam.Template
	Caller   *iam.Caller // the function, as the role sees it
	Denial   *iam.Denial // between the function and S3: policies other than the role, which tests break
	Queue    *stack.Queue
	Dead     *stack.Queue // dead letters
	Function *stack.Function
	Poller   *stack.Poller

	in, out objstore.Store
	route   func(key string) stack.Route
	races   atomic.Int64 // that processes of a function built with -race have reported
	close   []func()
}

const (
	// maxReceives is more than the template's five: tests kill more processes than that, and no message may be given up
	// for it.
	maxReceives = 100
	// initTimeout is more than Lambda's ten seconds, which are not what tests are about.
	initTimeout = 5 * time.Minute
	// visibilities is how many time-outs of the function the queue hides a message for, as in the template.
	visibilities = 6
)

// New starts an account. Where a program that make builds is missing, the error is fs.ErrNotExist or
// s3server.ErrNoProgram.
func New(ctx context.Context, o Options) (_ *Account, err error) {
	a := &Account{route: o.Route}
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
	clock := &stack.Clock{}
	a.Dead, err = stack.NewQueue(stack.QueueConfig{Name: "dead", Clock: clock})
	if err != nil {
		return nil, err
	}
	a.Queue, err = stack.NewQueue(stack.QueueConfig{
		Name: "quarry", Visibility: visibilities * (o.Timeout + o.Grace), MaxReceives: cmp.Or(o.MaxReceives, maxReceives), DeadLetters: a.Dead, Seed: 7,
		Duplicates: o.Duplicates, ShortBatches: true, Clock: clock,
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
	a.Denial = iam.NewDenial(iam.S3Gate(a.Caller, target))
	var s3 http.Handler = a.Denial
	if o.S3 != nil {
		s3 = o.S3(s3)
	}
	gate := httptest.NewServer(s3)
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
		Path: bootstrap, MemoryMB: cmp.Or(o.MemoryMiB, a.Template.MemoryMiB), Timeout: o.Timeout, Grace: o.Grace, InitTimeout: initTimeout,
		Concurrency: o.Concurrency, PerProcess: o.PerProcess,
		Log: func(_ int, line string) {
			if strings.HasPrefix(line, "WARNING: DATA RACE") {
				a.races.Add(1)
			}
			o.Log(line)
		},
		EnvOf: func(environment int) []string {
			return []string{fmt.Sprint("AWS_SDK_UA_APP_ID=", applicationID, environment)}
		},
		Env: append(append(server.Environment(), "AWS_SESSION_TOKEN=", "AWS_ENDPOINT_URL_S3="+gate.URL, "AWS_ENDPOINT_URL_SQS="+endpoint.URL(), "LAMBDA_TASK_ROOT="+root,
			"QUARRY_INPUTS=s3://"+a.Template.InputBucket, "QUARRY_RESULTS=s3://"+a.Template.ResultsBucket, "QUARRY_QUEUE_URL="+endpoint.QueueURL(a.Queue),
			"QUARRY_MAX_SHARD_MIB=512"), o.Env...),
	})
	if err != nil {
		return err
	}
	a.close = append(a.close, func() { _ = a.Function.Close() })
	a.Poller, err = stack.StartPoller(stack.PollerConfig{
		Queue: a.Queue, Invoke: a.Function.Invoke, BatchSize: 3, Concurrency: o.Concurrency * max(1, o.PerProcess), SkipWaits: true,
	})
	if err == nil {
		a.close = append(a.close, a.Poller.Stop)
	}
	return err
}

// applicationID and an environment's number are what its AWS SDK calls the application in the header User-Agent.
const applicationID = "environment-"

var application = regexp.MustCompile("app/" + applicationID + "([0-9]+)")

// Environment is the number of the environment whose process made a request to S3, as Function.Kill takes it.
func Environment(r *http.Request) (int, error) {
	found := application.FindStringSubmatch(r.UserAgent())
	if found == nil {
		return 0, fmt.Errorf("the request %s %s is of no process of the function: its User-Agent is %q", r.Method, r.URL, r.UserAgent())
	}
	return strconv.Atoi(found[1])
}

// Close stops everything, in the reverse of the order in which it was started.
func (a *Account) Close() {
	for len(a.close) > 0 {
		last := len(a.close) - 1
		a.close[last]()
		a.close = a.close[:last]
	}
}

// Place is where a job of that name is. The queue is told of each object that is uploaded there, as S3 tells it.
func (a *Account) Place(name string) *job.Place {
	in := &notifying{a.in, a.Template.InputBucket, &stack.Notifier{Queue: a.Queue, Prefix: job.Folder, Route: a.route}}
	return job.Within(in, a.out, name)
}

// Drain waits until no message is left. It fails where a message was lost or given up, and where the function reported a
// data race.
func (a *Account) Drain(ctx context.Context) error {
	err := a.Poller.Drain(ctx)
	if err == nil {
		err = a.Queue.Check()
	}
	if dead := a.Queue.Counters().Dead; dead > 0 {
		err = errors.Join(err, fmt.Errorf("%d messages were given up", dead))
	}
	if n := a.races.Load(); n > 0 {
		err = errors.Join(err, fmt.Errorf("the function reported %d data races; its log has them", n))
	}
	if err != nil {
		err = fmt.Errorf("%w; the queue's counters are %+v", err, a.Queue.Counters())
	}
	return err
}

// notifying is a bucket whose uploads a queue is told of.
type notifying struct {
	objstore.Store
	bucket   string
	notifier *stack.Notifier
}

func (n *notifying) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	return n.notify(key, n.Store.Put(ctx, key, body))
}

func (n *notifying) PutNew(ctx context.Context, key string, body io.ReadSeeker) error {
	return n.notify(key, n.Store.PutNew(ctx, key, body))
}

// notify tells the queue of an upload, where it did not fail.
func (n *notifying) notify(key string, err error) error {
	if err == nil {
		_, err = n.notifier.Uploaded(n.bucket, key, 1, "0")
	}
	return err
}
