package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/host/run"
)

// jobMemory is what a worker may take unless it is said: less than the function of lambda/deploy has by default.
const jobMemory = "1GiB"

// jobInit is a command line of job init.
type jobInit struct {
	place            jobFlags
	mine             mineFlags
	fit              fitFlags
	compute          computeFlags
	bucket, name     string
	projection, data string
	shards           int
	force            bool
}

func (a *app) jobInitCommand() *cobra.Command {
	var f jobInit
	cmd := &cobra.Command{
		Use: "init DIR", Short: "Cut a folder into shards and upload them", Args: cobra.ExactArgs(1),
		Long: `Make a job of a folder: fit a projection, or take that of --projection; select and project the pairs; upload both, the manifest,
and then the shards. Where it was cut short, the same command goes on; shards that are mined are not uploaded again.

A shard is what a worker mines at a time. A minute's worth is a good size: small enough for a function's time limit, large
enough that starting does not count; many small ones take longer in all. The folder's texts are not uploaded, only vectors and ids.`,
		Example: `  quarry job init mydata --shards 40 --bucket s3://my-quarry --job nightly
  quarry job init mydata --shards 8 --bucket ./bucket --job nightly --rule capped --top 10
  quarry job init mydata --shards 40 --bucket s3://my-quarry --job nightly --projection projection.safetensors`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.data = args[0]
			return f.do(a, cmd)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.shards, "shards", 0, "shards to cut the documents into")
	flags.StringVar(&f.bucket, "bucket", "", "bucket to upload to: s3://name, s3://name/prefix, or a folder")
	flags.StringVar(&f.name, "job", "", "the job's name")
	f.place.add(flags)
	flags.StringVar(&f.projection, "projection", "", "projection file to use (default: fit one)")
	f.mine.add(flags)
	f.fit.add(flags)
	f.compute.add(flags)
	f.compute.memory = jobMemory
	memory := flags.Lookup("memory")
	memory.DefValue, memory.Usage = jobMemory, "memory that a worker may take, as 512MiB or 4GiB, and this command too: pairs go together in groups that fit; the result is the same"
	flags.BoolVar(&f.force, "force", false, "replace a job of that name, and what came of it")
	mustGive(cmd, "shards", "bucket", "job")
	return cmd
}

func (f *jobInit) do(a *app, cmd *cobra.Command) error {
	ctx, flags := cmd.Context(), cmd.Flags()
	o := job.InitOptions{Shards: f.shards, Force: f.force}
	var err error
	if o.Mine, err = f.mine.options(flags); err != nil {
		return err
	}
	fit, err := f.fit.options(flags)
	if err != nil {
		return err
	}
	if err := f.fit.without(flags, f.projection); err != nil {
		return err
	}
	if f.shards < 1 {
		return usageError{fmt.Errorf("--shards is %d; it is 1 or more", f.shards)}
	}
	e, err := f.compute.open(cmd)
	if err != nil {
		return err
	}
	defer closeEngine(ctx, e)
	meter := a.newMeter()
	if o.Mine.Compute, err = f.compute.options(e, meter); err != nil {
		return err
	}
	fit.Threads, fit.Zero, fit.Progress, fit.Memory = f.compute.threads, f.mine.zero, meter.progress(), o.Mine.Memory
	if err := errors.Join(o.Mine.Validate(), fit.Validate()); err != nil {
		return err
	}
	at, err := job.At(ctx, f.bucket, f.place.results, f.name)
	if err != nil {
		return placeError(err)
	}
	folder, err := dataset.Open(f.data)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := mining.CheckPairs(folder, o.Mine); err != nil { // Init does too, but after what may be a long fit
		return err
	}
	p, err := f.projectionOf(ctx, at, folder, fit)
	if err != nil {
		return err
	}
	var uploaded, bytes atomic.Int64
	o.Uploaded = func(shard job.File) {
		uploaded.Add(1)
		bytes.Add(shard.Size)
	}
	m, err := job.Init(ctx, at, folder, p, o)
	if err != nil {
		return keeps(uploadError(err), "what is uploaded stays; the same command goes on")
	}
	meter.stop()
	s := f.summary(at, m, int(uploaded.Load()), bytes.Load())
	return a.summary(s, s.write)
}

// projectionOf is the projection that was given, one of the same fit that an init left there, or a new one.
func (f *jobInit) projectionOf(ctx context.Context, at *job.Place, folder *dataset.Folder, o projection.FitOptions) (_ *projection.Projection, err error) {
	if f.projection != "" {
		return projection.Load(f.projection)
	}
	if !f.force {
		if o.Fitted, err = at.Fitted(ctx); err != nil {
			return nil, uploadError(err)
		}
	}
	return projection.Fit(ctx, folder, o)
}

// uploadError is the error of a bucket that takes nothing.
func uploadError(err error) error {
	if errors.Is(err, objstore.ErrNoBucket) || errors.Is(err, objstore.ErrDenied) {
		return fmt.Errorf("%w: %w\n  hint: both buckets have to be there; init puts to the first, and gets from both and lists them", run.ErrWrite, err)
	}
	return err
}

// jobInitSummary is what init says it did.
type jobInitSummary struct {
	Job        string                 `json:"job"`
	URL        string                 `json:"url"`
	Results    string                 `json:"results"`
	Documents  int64                  `json:"documents"`
	Pairs      int                    `json:"pairs"`
	Groups     int                    `json:"groups"` // of pairs
	Shards     int                    `json:"shards"`
	Largest    int64                  `json:"largest_shard_bytes"`
	Uploaded   int                    `json:"shards_uploaded"` // others are mined
	Bytes      int64                  `json:"bytes_uploaded"`  // of shards, pairs and projection
	Components int                    `json:"components"`
	Rule       negatives.ManifestRule `json:"rule"`
	Split      string                 `json:"split"`
	Projection string                 `json:"projection_sha256"`

	place string // of the job, as the commands take it
}

// summary is of a job of whose shards so many, of so many bytes, were uploaded now.
func (f *jobInit) summary(at *job.Place, m *job.Manifest, uploaded int, bytes int64) *jobInitSummary {
	s := &jobInitSummary{Job: at.Name, URL: at.In.URL(), Results: at.Out.URL(), Documents: m.Documents(), Pairs: m.Result.Tallies.Pairs, Groups: len(m.Groups),
		Shards: len(m.Shards), Components: m.Result.Projection.Components, Rule: m.Result.Rule, Split: m.Result.Split, Projection: m.Projection.SHA256,
		Uploaded: uploaded, Bytes: m.Projection.Size + bytes}
	for _, shard := range m.Shards {
		s.Largest = max(s.Largest, shard.Size)
	}
	for _, pairs := range m.Groups {
		s.Bytes += pairs.Size
	}
	s.place = word(s.URL) + f.place.again()
	return s
}

func (s *jobInitSummary) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "job\t%s, in %s\n", s.Job, s.URL)
	fmt.Fprintf(t, "documents\t%d in %d %s, the largest of %s\n", s.Documents, s.Shards, plural(s.Shards, "shard"), size(s.Largest))
	fmt.Fprintf(t, "pairs\t%d of split %s in %d %s, rule %s, %d components\n", s.Pairs, s.Split, s.Groups, plural(s.Groups, "group"), s.Rule.Name, s.Components)
	mined, will, run := "", "will be ", fmt.Sprintf("quarry job run %s     # mine it here, unless the Lambda function does\n      ", s.place)
	if n := s.Shards - s.Uploaded; n > 0 {
		mined = fmt.Sprintf("; %d %s mined already", n, plural(n, "shard"))
	}
	if s.Uploaded == 0 {
		will, run = "", ""
	}
	fmt.Fprintf(t, "uploaded\t%s%s\n", size(s.Bytes), mined)
	fmt.Fprintf(t, "results\t%sin %s\n", will, s.Results)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nnext: %squarry job status %s\n", run, s.place)
	return err
}

func size(n int64) string { return humanize.IBytes(uint64(n)) }

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
