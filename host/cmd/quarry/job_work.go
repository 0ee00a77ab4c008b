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
)

// jobWork is a worker of this process, and what it did.
type jobWork struct {
	at     *job.Place
	worker *job.Worker
	meter  *meter
	did    jobWorkSummary

	rows    map[string]int // of each shard
	mined   int64          // documents, by whichever worker, as far as is known
	current int            // documents of the shard in turn
}

// jobWorkSummary is what run and sweep say they did, and how the job stands.
type jobWorkSummary struct {
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

// withWorkers calls do with what makes workers; they share an engine.
func (a *app) withWorkers(cmd *cobra.Command, compute *computeFlags, do func(open func(*job.Place) (*jobWork, error)) error) error {
	e, err := compute.open(cmd)
	if err != nil {
		return err
	}
	defer closeEngine(cmd.Context(), e)
	meter := a.newMeter()
	options, err := compute.options(e, meter)
	if err != nil {
		return err
	}
	show := options.Progress
	return do(func(at *job.Place) (_ *jobWork, err error) {
		w := &jobWork{at: at, meter: meter, did: jobWorkSummary{Job: at.Name, Results: at.Out.URL(), Refused: []job.Refusal{}}}
		own := options
		own.Progress = func(_ string, done, total int64) {
			show("mine", w.mined+int64(w.current)*done/max(total, 1), w.worker.Manifest().Documents())
		}
		w.worker, err = job.NewWorker(at.In, at.Out, job.Options{Compute: own})
		return w, err
	})
}

func (w *jobWork) close(ctx context.Context) error { return w.worker.Close(context.WithoutCancel(ctx)) }

// look looks at the job as a whole, and commits the result where nothing else is left to do. Of what was refused before it says nothing again.
func (w *jobWork) look(ctx context.Context) error {
	o, err := w.worker.Sweep(ctx)
	if err != nil {
		return err
	}
	refused := func(name string) bool {
		return slices.ContainsFunc(w.did.Refused, func(r job.Refusal) bool { return r.Name == name })
	}
	w.did.State, w.did.Problem = o.Action, o.Problem
	w.did.ToMine, w.did.Absent = slices.DeleteFunc(append([]string{}, o.Uploaded...), refused), append([]string{}, o.Absent...)
	w.did.Committed = w.did.Committed || o.Committed
	if o.Action == job.Refused { // the manifest, which never was the job's
		return inputError(w.at.In.URL()+"/"+o.Refused, o.Hint, "%s", o.Problem)
	}
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
func (w *jobWork) mine(ctx context.Context, names []string) (progress bool, err error) {
	for _, name := range names {
		w.current = w.rows[name]
		began := time.Now()
		o, err := w.worker.Shard(ctx, name)
		if err != nil {
			return progress, err
		}
		w.did.Committed = w.did.Committed || o.Committed
		switch o.Action {
		case job.Mined:
			w.did.Shards++
			w.did.Documents += int64(o.Rows)
			w.did.Seconds += time.Since(began).Seconds()
		case job.AlreadyMined:
		case job.Refused:
			if o.Refused != name { // every shard needs it
				return progress, inputError(w.at.In.URL()+"/"+o.Refused, o.Hint, "%s", o.Problem)
			}
			w.did.Refused = append(w.did.Refused, job.Refusal{Name: name, Problem: o.Problem, Hint: o.Hint})
			continue
		case job.Waits:
			w.did.Problem = o.Problem
			return progress, nil
		default: // it ended
			return true, nil
		}
		w.mined += int64(w.current)
		progress = true
	}
	return progress, nil
}

// interruption is err, with what is kept where it is an interruption.
func (w *jobWork) interruption(err error) error {
	return keeps(err, "shards that are mined stay so; the same command goes on")
}

// lacks is the error of a job that cannot go on: something is not uploaded, or is refused.
func (w *jobWork) lacks() error {
	const names = 10
	d := &w.did
	var errs []error
	if n := len(d.Absent); n > 0 {
		errs = append(errs, inputError(w.at.In.URL(), "upload them, which quarry job init does where it was cut short, or wait for them with --wait 10m",
			"%d of %d shards are not uploaded: %s", n, len(w.worker.Manifest().Shards), few(d.Absent, names)))
	} else if d.Problem != "" {
		errs = append(errs, inputError(w.at.In.URL(), "upload it, which quarry job init does where it was cut short, or wait for it with --wait 10m", "%s", d.Problem))
	}
	for i, r := range d.Refused {
		if i == names {
			errs = append(errs, fmt.Errorf("and %d more are refused; quarry job status --json lists them", len(d.Refused)-names))
			break
		}
		errs = append(errs, inputError(w.at.In.URL()+"/"+r.Name, r.Hint, "%s", r.Problem))
	}
	return errors.Join(errs...)
}

func (d *jobWorkSummary) write(w io.Writer) {
	if d.Shards > 0 || d.State != job.Finished {
		fmt.Fprintf(w, "mined\t%d %s here, %d documents, %.1f s\n", d.Shards, plural(d.Shards, "shard"), d.Documents, d.Seconds)
	}
	switch d.State {
	case job.Finished:
		by := "was there"
		if d.Committed {
			by = "written"
		}
		fmt.Fprintf(w, "result\t%s, in %s\n", by, d.Results)
	default:
		fmt.Fprintf(w, "state\t%s\n", cmp.Or(waits(d.State, d.Problem), string(d.State)))
	}
	if n := len(d.ToMine); n > 0 {
		fmt.Fprintf(w, "to mine\t%d uploaded: %s\n", n, few(d.ToMine, 3))
	}
	if n := len(d.Absent); n > 0 {
		fmt.Fprintf(w, "missing\t%d not uploaded: %s\n", n, few(d.Absent, 3))
	}
	refusals(w, d.Refused, 3)
}

// waits says what a job waits for, where it does.
func waits(state job.Action, problem string) string {
	if state == job.Waits {
		return "waits: " + problem
	}
	return ""
}
