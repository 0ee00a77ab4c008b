// Command demo shows a sharded job on one machine: the embedded example in shards, an S3 server, a queue, and the
// function that AWS Lambda would run. `make demo-lambda` runs it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/account"
)

const (
	name   = "nightly"
	shards = 12
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// screen prints lines with the time since the start.
type screen struct {
	mutex sync.Mutex
	to    io.Writer
	began time.Time
}

func (s *screen) line(format string, args ...any) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	fmt.Fprintf(s.to, "%5.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// log shows a line of the function's log that is about a shard or the result.
func (s *screen) log(line string) {
	var l struct {
		Action                      job.Action
		Shard, Problem              string
		Parts, Of, Pairs, Negatives int
		Documents, Milliseconds     int
		Cold                        bool `json:"cold_start"`
		Committed                   bool
		Msg                         string
	}
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		s.line("%s", line)
		return
	}
	switch {
	case l.Action == job.Mined:
		cold := ""
		if l.Cold {
			cold = ", by a new process"
		}
		s.line("%s mined: %d pairs, %d documents, %d negatives, %d ms%s; %d of %d parts are there", l.Shard, l.Pairs, l.Documents, l.Negatives, l.Milliseconds, cold, l.Parts, l.Of)
	case l.Action == job.AlreadyMined:
		s.line("%s came again: its part is there", l.Shard)
	case l.Action == job.Refused || l.Action == "" && l.Problem != "":
		s.line("%s %s: %s", l.Shard, l.Msg, l.Problem)
	}
	if l.Committed {
		s.line("all parts are there: merged, and the result is written")
	}
}

func run(ctx context.Context, to io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "quarry-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &screen{to: to, began: time.Now()}
	a, err := account.New(ctx, account.Options{
		Dir: dir, Programs: "bin", Cache: true, Duplicates: 0.3, Concurrency: 2, Timeout: time.Minute,
		Log: s.log, Setenv: func(name, value string) { _ = os.Setenv(name, value) },
	})
	if err != nil {
		return err
	}
	defer a.Close()
	s.line("an S3 server with buckets %s and %s, a queue, and the function; some messages come twice", a.Template.InputBucket, a.Template.ResultsBucket)

	folder, err := demo.Open()
	if err != nil {
		return err
	}
	defer folder.Close()
	p, err := projection.Fit(ctx, folder, projection.FitOptions{})
	if err != nil {
		return err
	}
	o := mining.Options{Compute: mining.Compute{Memory: option.ProcessBudget(1 << 30)}}
	at := a.Place(name)
	m, err := job.Init(ctx, at, folder, p, job.InitOptions{Mine: o, Shards: shards})
	if err != nil {
		return err
	}
	s.line("job %q is uploaded: projection, %d pairs, manifest, and %d documents in %d shards", name, m.Result.Tallies.Pairs, m.Documents(), len(m.Shards))
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := a.Drain(ctx); err != nil {
		return err
	}
	return compare(ctx, s, at, folder, p, o)
}

// compare shows the result, and fails where it is not the one that mining in this process gives.
func compare(ctx context.Context, s *screen, at *job.Place, folder *dataset.Dataset, p *projection.Projection, o mining.Options) error {
	var fetched, own bytes.Buffer
	result, err := job.Fetch(ctx, at, &fetched)
	if err != nil {
		return err
	}
	r, err := mining.Mine(ctx, folder, p, o)
	if err == nil {
		err = r.WriteNegatives(&own)
	}
	if err != nil {
		return err
	}
	status, err := job.ReadStatus(ctx, at)
	if err != nil {
		return err
	}
	t := result.Tallies
	s.line("%d of %d pairs have negatives, %d in all; on Lambda this would have cost about $%.5f", t.WithNegatives, t.Pairs, t.Negatives, status.Dollars)
	if !bytes.Equal(fetched.Bytes(), own.Bytes()) {
		return errors.New("the result differs from that of one machine")
	}
	s.line("negatives.jsonl is, to the byte, what quarry mine gives: sha256 %.16s...", result.Negatives)
	return nil
}
