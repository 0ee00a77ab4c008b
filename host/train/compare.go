package train

import (
	"bytes"
	"context"
	"io"
	"path/filepath"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/sampler"
)

// Compare trains the model with the negatives of each rule, under each seed, and returns the table. It trains what Folder does not have
// yet; a run that is finished stays there when the context ends. Options.Prepare returns a nil table.
//
// Errors: option.ErrOption for options, *dataset.Error for inputs, and those of mining.
func Compare(ctx context.Context, data *dataset.Dataset, o Options) (*Table, error) {
	if err := o.ready(ctx); err != nil {
		return nil, err
	}
	var sources []Source
	for _, r := range o.Rules {
		pairs, err := o.mine(ctx, data, o.Projection, r, 0)
		if err != nil {
			return nil, err
		}
		sources = append(sources, Source{Name: r.Name, Pairs: pairs, InBatch: r.InBatch, Dynamic: r.Dynamic})
	}
	return o.compare(ctx, data, append(sources, o.More...), true)
}

// ready checks the options, has all rules share what they look for, and finds Python where it is needed, before there is work to lose.
func (o *Options) ready(ctx context.Context) (err error) {
	o.Mine.Search = &mining.TwinSearch{}
	if err := o.validate(); err != nil || o.Prepare {
		return err
	}
	o.Python, err = FindPython(ctx, o.Python)
	return err
}

// compare trains with sources. controls says whether all controls are there, or no training alone.
func (o *Options) compare(ctx context.Context, data *dataset.Dataset, sources []Source, controls bool) (*Table, error) {
	c, err := o.read(ctx, data)
	if err != nil {
		return nil, err
	}
	if controls {
		drawn, err := o.mine(ctx, data, o.Projection, sampler.Rule{Name: Random}, 0)
		if err != nil {
			return nil, err
		}
		sources = append([]Source{{Name: Positives, positives: true}, {Name: InBatch, InBatch: true}, {Name: Random, Pairs: drawn}}, sources...)
	}
	sources = append([]Source{{Name: None}}, sources...)
	runs, warmUp, err := o.plan(c, sources)
	if err != nil {
		return nil, err
	}
	if err := o.do(ctx, c, runs, warmUp); err != nil || o.Prepare {
		return nil, err
	}
	t := o.tabulate(filepath.Base(data.Name), c, sources, runs)
	return t, writeJSON(o.Folder, "table.json", t)
}

// do writes the jobs, runs those without a result, and reads all results.
func (o *Options) do(ctx context.Context, c *corpus, runs []*run, warmUp *job) error {
	pending, err := o.prepare(c, runs, warmUp)
	if err != nil || o.Prepare {
		return err
	}
	if len(pending) > 0 {
		done := o.Progress.Count("train", len(pending))
		if err := runJobs(ctx, o.Python, o.Folder, o.Workers, pending, func() { done(1) }); err != nil {
			return err
		}
	}
	for _, r := range runs {
		if r.result, err = r.job.finished(o.Folder); err != nil {
			return err
		}
		if r.result == nil {
			return dataset.FileError(filepath.Join(o.Folder, r.job.Result), "look into train.log", "the trainer ended without this result")
		}
	}
	return nil
}

// prepare writes what jobs read and the jobs themselves, and returns those without a result.
func (o *Options) prepare(c *corpus, runs []*run, warmUp *job) (pending []*job, err error) {
	for _, sub := range []string{"jobs", "runs", "models", "python"} {
		if err := atomicfile.MakeFolders(filepath.Join(o.Folder, sub)); err != nil {
			return nil, err
		}
	}
	if err := writeSources(o.Folder); err != nil {
		return nil, err
	}
	if err := c.write(o.Folder, warmUp != nil); err != nil {
		return nil, err
	}
	var order bytes.Buffer
	for _, j := range jobsOf(runs, warmUp) {
		finished, err := j.finished(o.Folder)
		if err != nil {
			return nil, err
		}
		if finished != nil {
			continue
		}
		pending = append(pending, j)
		order.WriteString(j.file() + "\n")
		if err := writeJSON(o.Folder, j.file(), j); err != nil {
			return nil, err
		}
	}
	return pending, atomicfile.Write(filepath.Join(o.Folder, "jobs", "order"), true, func(w io.Writer) error { _, err := order.WriteTo(w); return err })
}

// jobsOf are the jobs of runs, each once: sources that give the same pairs the same negatives share a job.
func jobsOf(runs []*run, warmUp *job) (jobs []*job) {
	seen := map[string]bool{}
	if warmUp != nil {
		jobs = append(jobs, warmUp)
	}
	for _, r := range runs {
		if !seen[r.job.ID] {
			seen[r.job.ID] = true
			jobs = append(jobs, r.job)
		}
	}
	return jobs
}
