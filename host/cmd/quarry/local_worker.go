package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
)

// localWorkers makes the workers of this process, one for each job. They share an engine.
type localWorkers struct {
	compute mining.Compute
	meter   *meter
}

// newLocalWorkers opens the engine that the flags name. Close the workers after use.
func (a *app) newLocalWorkers(cmd *cobra.Command, flags *computeFlags) (_ *localWorkers, err error) {
	l := &localWorkers{meter: a.newMeter()}
	if l.compute, err = flags.options(cmd, l.meter); err != nil {
		return nil, err
	}
	if l.compute.Engine, err = flags.open(cmd.Context(), l.meter, l.compute.Memory); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *localWorkers) close(ctx context.Context) error { return closeEngine(ctx, l.compute.Engine) }

// open returns a worker of a job. Close it after use.
func (l *localWorkers) open(at *job.Place) (_ *localWorker, err error) {
	w := &localWorker{at: at, meter: l.meter, summary: workSummary{Job: at.Name, Results: at.Out.URL(), Refused: []job.Refusal{}}}
	own := l.compute
	own.Progress = func(_ string, done, total int64) {
		l.compute.Progress.Report("mine", w.mined+int64(w.current)*done/max(total, 1), w.worker.Manifest().Documents())
	}
	w.worker, err = job.NewWorker(at.In, at.Out, job.Options{Compute: own})
	return w, err
}

// localWorker mines the shards of a job in this process, and keeps what it did.
type localWorker struct {
	at      *job.Place
	worker  *job.Worker
	meter   *meter
	summary workSummary

	rows    map[string]int // documents of each shard, by its name
	mined   int64          // documents of the job that are mined, by whichever worker, as far as is known
	current int            // documents of the shard that is being mined
}

// workSummary is what run and sweep say they did, and how the job stands.
type workSummary struct {
	Job       string        `json:"job"`
	State     job.Action    `json:"state"` // finished, pending, waits or cancelled
	Problem   string        `json:"problem,omitempty"`
	Shards    int           `json:"shards_mined_here"`
	Documents int64         `json:"documents_mined_here"`
	Seconds   float64       `json:"seconds"`
	Committed bool          `json:"result_written_here"`
	ToMine    []string      `json:"uploaded_not_mined"`
	Absent    []string      `json:"not_uploaded"`
	Refused   []job.Refusal `json:"refused"`
	Results   string        `json:"results"`
}

func (w *localWorker) close(ctx context.Context) error {
	return w.worker.Close(context.WithoutCancel(ctx))
}

// refresh asks how the job stands as a whole, and commits the result where all parts are there. A shard that this
// worker refused is no longer one to mine.
func (w *localWorker) refresh(ctx context.Context) error {
	o, err := w.worker.Sweep(ctx)
	if err != nil {
		return err
	}
	if o.Action == job.Refused { // the manifest, which never was the job's
		return inputError(w.at.In.URL()+"/"+o.Refused, o.Hint, "%s", o.Problem)
	}
	refused := func(name string) bool {
		return slices.ContainsFunc(w.summary.Refused, func(r job.Refusal) bool { return r.Name == name })
	}
	s := &w.summary
	s.State, s.Problem = o.Action, o.Problem
	s.ToMine, s.Absent = slices.DeleteFunc(append([]string{}, o.Uploaded...), refused), append([]string{}, o.Absent...)
	s.Committed = s.Committed || o.Committed
	if m := w.worker.Manifest(); m != nil && o.Action == job.Pending {
		w.rows, w.mined = map[string]int{}, m.Documents()
		for _, s := range m.Shards {
			w.rows[s.Name] = s.Rows
		}
		for _, name := range slices.Concat(o.Uploaded, o.Absent) {
			w.mined -= int64(w.rows[name])
		}
	}
	return nil
}

// mine mines shards, and reports whether any of them is done now.
func (w *localWorker) mine(ctx context.Context, names []string) (progress bool, err error) {
	s := &w.summary
	for _, name := range names {
		w.current = w.rows[name]
		began := time.Now()
		o, err := w.worker.Shard(ctx, name)
		if denied := (*job.Denied)(nil); errors.As(err, &denied) && denied.Name == name { // others may be allowed
			s.Refused = append(s.Refused, denied.Refusal)
			continue
		}
		if err != nil {
			return progress, err
		}
		s.Committed = s.Committed || o.Committed
		switch o.Action {
		case job.Mined:
			s.Shards++
			s.Documents += int64(o.Rows)
			s.Seconds += time.Since(began).Seconds()
		case job.AlreadyMined: // another worker mined it
		case job.Refused:
			if o.Refused != name { // every shard needs what is refused
				return progress, inputError(w.at.In.URL()+"/"+o.Refused, o.Hint, "%s", o.Problem)
			}
			s.Refused = append(s.Refused, job.Refusal{Name: name, Problem: o.Problem, Hint: o.Hint})
			continue
		case job.Waits:
			s.Problem = o.Problem
			return progress, nil
		default: // the job is finished or cancelled
			return true, nil
		}
		w.mined += int64(w.current)
		progress = true
	}
	return progress, nil
}

// keepingShards is err with what the user is told where it is an interruption.
func (w *localWorker) keepingShards(err error) error {
	return whenInterrupted(err, "shards that are mined stay so; the same command goes on")
}

// missingError is the error of a job that cannot go on, because something is not uploaded or is refused; nil where nothing is.
func (w *localWorker) missingError() error {
	const most = 10
	s := &w.summary
	var errs []error
	if n := len(s.Absent); n > 0 {
		errs = append(errs, inputError(w.at.In.URL(), "upload them, which quarry job init does where it was cut short, or wait for them with --wait 10m",
			"%d of %d shards are not uploaded: %s", n, len(w.worker.Manifest().Shards), firstNames(s.Absent, most)))
	} else if s.Problem != "" {
		errs = append(errs, inputError(w.at.In.URL(), "upload it, which quarry job init does where it was cut short, or wait for it with --wait 10m", "%s", s.Problem))
	}
	for i, r := range s.Refused {
		if i == most {
			errs = append(errs, fmt.Errorf("and %d more are refused; quarry job status --json lists them", len(s.Refused)-most))
			break
		}
		errs = append(errs, inputError(w.at.In.URL()+"/"+r.Name, r.Hint, "%s", r.Problem))
	}
	return errors.Join(errs...)
}

// write writes the summary as rows of a table.
func (s *workSummary) write(w io.Writer) {
	const names = 3
	if s.Shards > 0 || s.State != job.Finished {
		fmt.Fprintf(w, "mined\t%d %s here, %d documents, %.1f s\n", s.Shards, plural(s.Shards, "shard"), s.Documents, s.Seconds)
	}
	switch s.State {
	case job.Finished:
		result := "was there"
		if s.Committed {
			result = "written"
		}
		fmt.Fprintf(w, "result\t%s, in %s\n", result, s.Results)
	default:
		fmt.Fprintf(w, "state\t%s\n", cmp.Or(waitsFor(s.State, s.Problem), string(s.State)))
	}
	writeShards(w, s.ToMine, s.Absent, s.Refused, names)
}
