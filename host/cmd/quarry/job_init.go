package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/fit"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// jobMemory is the default of --memory: less than the function of lambda/deploy has by default.
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
	var c jobInit
	cmd := &cobra.Command{
		Use: "init DIR", Short: "Cut a folder into shards and upload them", Args: cobra.ExactArgs(1),
		Long: `Make a job of a folder. The command fits a projection, or takes that of --projection, then selects and projects the pairs. It uploads
the projection, the pairs, the manifest, and then the shards: vectors and ids, no texts. Where it was cut short, the same command goes on,
also in the fit, which it keeps in the user's cache; shards that are mined are not uploaded again.

A shard is what a worker mines at a time. A good size is what takes a minute: short enough for the function's time limit, long enough
that starting the function does not count. Many small shards take longer in all.`,
		Example: `  quarry job init mydata --shards 40 --bucket s3://my-quarry --job nightly
  quarry job init mydata --shards 8 --bucket ./bucket --job nightly --rule capped --top 10
  quarry job init mydata --shards 40 --bucket s3://my-quarry --job nightly --projection projection.safetensors`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.data = args[0]
			return c.do(a, cmd)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&c.shards, "shards", 0, "shards to cut the documents into")
	flags.StringVar(&c.bucket, "bucket", "", "bucket to upload to: s3://name, s3://name/prefix, or a folder")
	flags.StringVar(&c.name, "job", "", "the job's name")
	c.place.add(flags)
	flags.StringVar(&c.projection, "projection", "", "projection file to use (default: fit one)")
	c.mine.add(flags)
	c.fit.add(flags)
	c.compute.add(flags)
	c.compute.memory = jobMemory
	memory := flags.Lookup("memory")
	memory.DefValue, memory.Usage = jobMemory, "memory that a worker may take, and this command too, as 512MiB or 4GiB: pairs are mined in groups that fit; the result is the same"
	flags.BoolVar(&c.force, "force", false, "replace a job of that name, and what came of it")
	mustGive(cmd, "shards", "bucket", "job")
	return cmd
}

func (c *jobInit) do(a *app, cmd *cobra.Command) error {
	ctx := cmd.Context()
	o, fit, err := c.options(cmd.Flags())
	if err != nil {
		return err
	}
	meter := a.newMeter()
	if o.Mine.Compute, err = c.compute.options(cmd, meter); err != nil {
		return err
	}
	fitAsMined(&fit, &o.Mine)
	if err := errors.Join(o.Mine.Validate(), fit.Validate()); err != nil {
		return err
	}
	at, err := job.At(ctx, c.bucket, c.place.results, c.name)
	if err != nil {
		return placeError(err)
	}
	e, data, err := c.compute.openWith(ctx, meter, o.Mine.Memory, c.data)
	if err != nil {
		return err
	}
	defer closeEngine(ctx, e)
	defer data.Close()
	o.Mine.Engine = e
	if c.projection == "" {
		if err := mining.CheckBeforeFit(data, fit, o.Mine); err != nil { // Init does too, but after what may be a long fit
			return err
		}
	}
	p, err := c.projectionOf(ctx, at, data, fit)
	if err != nil {
		return err
	}
	s, err := c.upload(ctx, at, data, p, o)
	if err != nil {
		return err
	}
	if kept := keptFit(at); kept != nil {
		_ = os.Remove(kept.File) // the job has the projection now
	}
	meter.stop()
	return a.summary(s, s.write)
}

// options are what the flags say of mining and of fitting, without how to compute.
func (c *jobInit) options(flags *pflag.FlagSet) (o job.InitOptions, fit projection.FitOptions, err error) {
	o.Shards, o.Force = c.shards, c.force
	if o.Mine, err = c.mine.options(flags); err != nil {
		return o, fit, err
	}
	if fit, err = c.fit.options(flags); err != nil {
		return o, fit, err
	}
	if err := c.fit.checkNotFitted(flags, c.projection); err != nil {
		return o, fit, err
	}
	if c.shards < 1 {
		return o, fit, usageError{fmt.Errorf("--shards is %d; it is 1 or more", c.shards)}
	}
	return o, fit, nil
}

// projectionOf is the projection that was given, one of the same fit that an earlier init left there, or a new one.
func (c *jobInit) projectionOf(ctx context.Context, at *job.Place, data *dataset.Dataset, o projection.FitOptions) (_ *projection.Projection, err error) {
	if c.projection != "" {
		return projection.Load(c.projection)
	}
	if !c.force {
		if o.Fitted, err = at.Fitted(ctx); err != nil {
			return nil, uploadError(err)
		}
	}
	o.Keep = keptFit(at)
	return projection.Fit(ctx, data, o)
}

// keptFit is where an init keeps its fit until the job has the projection: a file for each job in the user's cache, so
// that the same command goes on from there where it was cut short. It is nil where there can be no such file.
func keptFit(at *job.Place) *fit.Keep {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	folder := filepath.Join(cache, "quarry", "fits")
	if os.MkdirAll(folder, 0o700) != nil {
		return nil
	}
	url := at.In.URL()
	if !strings.HasPrefix(url, "s3://") {
		if url, err = filepath.Abs(url); err != nil {
			return nil
		}
	}
	name := sha256.Sum256([]byte(url))
	return &fit.Keep{File: filepath.Join(folder, hex.EncodeToString(name[:8])+".safetensors"), Resume: true}
}

// upload makes the job, and counts the shards that it uploads.
func (c *jobInit) upload(ctx context.Context, at *job.Place, data *dataset.Dataset, p *projection.Projection, o job.InitOptions) (*jobInitSummary, error) {
	var shards, bytes atomic.Int64
	o.Uploaded = func(shard job.File) {
		shards.Add(1)
		bytes.Add(shard.Size)
	}
	m, err := job.Init(ctx, at, data, p, o)
	if err != nil {
		return nil, whenInterrupted(uploadError(err), "what is uploaded stays; the same command goes on")
	}
	return newJobInitSummary(at, m, c.place.args(at), int(shards.Load()), bytes.Load()), nil
}

// uploadError is the error of a bucket that takes nothing.
func uploadError(err error) error {
	if errors.Is(err, objstore.ErrNoBucket) || errors.Is(err, objstore.ErrDenied) {
		return fmt.Errorf("%w: %w\n  hint: both buckets have to be there; init puts to the first, and gets from both and lists them", option.ErrWrite, err)
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
	Uploaded   int                    `json:"shards_uploaded"` // now; the others are mined already
	Bytes      int64                  `json:"bytes_uploaded"`  // of shards, pairs and projection
	Components int                    `json:"components"`
	Rule       negatives.ManifestRule `json:"rule"`
	Split      string                 `json:"split"`
	Projection string                 `json:"projection_sha256"`

	args string // by which other commands find the job
}

// newJobInitSummary is the summary of an init that uploaded so many shards, of so many bytes. args are the arguments by
// which other commands find the job.
func newJobInitSummary(at *job.Place, m *job.Manifest, args string, uploaded int, bytes int64) *jobInitSummary {
	s := &jobInitSummary{Job: at.Name, URL: at.In.URL(), Results: at.Out.URL(), Documents: m.Documents(), Pairs: m.Result.Tallies.Pairs, Groups: len(m.Groups),
		Shards: len(m.Shards), Components: m.Result.Projection.Components, Rule: m.Result.Rule, Split: m.Result.Split, Projection: m.Projection.SHA256,
		Uploaded: uploaded, Bytes: m.Projection.Size + bytes, args: args}
	for _, shard := range m.Shards {
		s.Largest = max(s.Largest, shard.Size)
	}
	for _, pairs := range m.Groups {
		s.Bytes += pairs.Size
	}
	return s
}

func (s *jobInitSummary) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "job\t%s, in %s\n", s.Job, s.URL)
	fmt.Fprintf(t, "documents\t%d in %d %s, the largest of %s\n", s.Documents, s.Shards, plural(s.Shards, "shard"), size(s.Largest))
	fmt.Fprintf(t, "pairs\t%d of split %s in %d %s, rule %s, %d components\n", s.Pairs, s.Split, s.Groups, plural(s.Groups, "group"), s.Rule.Name, s.Components)
	mined := ""
	if n := s.Shards - s.Uploaded; n > 0 {
		mined = fmt.Sprintf("; %d %s mined already", n, plural(n, "shard"))
	}
	fmt.Fprintf(t, "uploaded\t%s%s\n", size(s.Bytes), mined)
	willBe, runIt := "will be ", fmt.Sprintf("quarry job run %s     # mine it here, unless the Lambda function does\n      ", s.args)
	if s.Uploaded == 0 { // every shard is mined
		willBe, runIt = "", ""
	}
	fmt.Fprintf(t, "results\t%sin %s\n", willBe, s.Results)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nnext: %squarry job status %s\n", runIt, s.args)
	return err
}

func size(n int64) string { return humanize.IBytes(uint64(n)) }

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
