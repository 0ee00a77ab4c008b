package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/objfs"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// fitFlags are the flags of fit. mine and job init take them too, where no projection is given.
type fitFlags struct {
	models      string
	noNormalize bool
	variance    float64
	components  int
	noPCA       bool
	fitOn       string
	noCenter    bool
	seed        uint64
	names       []string
}

func (f *fitFlags) add(flags *pflag.FlagSet) {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.StringVar(&f.models, "models", "", "models in order, each with its weight: mpnet,minilm=0.5 (default all, by name, weight 1)")
	own.BoolVar(&f.noNormalize, "no-normalize", false, "do not L2-normalise each model's vectors before weighting them")
	own.Float64Var(&f.variance, "variance", projection.DefaultVariance, "share of the variance to keep, above 0 and at most 1")
	own.IntVar(&f.components, "components", 0, "number of components, instead of a share of the variance")
	own.BoolVar(&f.noPCA, "no-pca", false, "concatenate the models' vectors and reduce nothing")
	own.StringVar(&f.fitOn, "fit-on", projection.FitOnDocs, "what to fit on: docs, all (documents and queries), or sample:N documents")
	own.BoolVar(&f.noCenter, "no-center", false, "do not subtract the mean (truncated SVD)")
	own.Uint64Var(&f.seed, "seed", 0, "what chooses the sample, and the random subspace of a wide fit")
	own.VisitAll(func(flag *pflag.Flag) { f.names = append(f.names, flag.Name) })
	flags.AddFlagSet(own)
}

// checkNotFitted fails where the command line has one of these flags beside a projection file, which is fitted already.
func (f *fitFlags) checkNotFitted(flags *pflag.FlagSet, projectionFile string) error {
	for _, name := range f.names {
		if projectionFile != "" && flags.Changed(name) {
			return usageError{fmt.Errorf("--%s is for fitting, and --projection gives a fitted one", name)}
		}
	}
	return nil
}

func (f *fitFlags) options(flags *pflag.FlagSet) (projection.FitOptions, error) {
	o := projection.FitOptions{NoNormalize: f.noNormalize, Components: f.components, NoPCA: f.noPCA, FitOn: f.fitOn, NoCenter: f.noCenter, Seed: f.seed}
	if flags.Changed("variance") {
		if f.variance == 0 {
			return o, usageError{fmt.Errorf("--variance is 0; it goes from above 0 to 1")}
		}
		o.Variance = f.variance
	}
	if flags.Changed("components") && f.components < 1 {
		return o, usageError{fmt.Errorf("--components is %d; it is 1 or more", f.components)}
	}
	if flags.Changed("models") && f.models == "" {
		return o, usageError{fmt.Errorf("--models is empty; it names models, as in mpnet,minilm=0.5")}
	}
	var err error
	o.Models, err = parseModels(f.models)
	return o, err
}

// parseModels reads "mpnet,minilm=0.5".
func parseModels(text string) (models []projection.Weight, err error) {
	if text == "" {
		return nil, nil
	}
	for _, item := range strings.Split(text, ",") {
		m := projection.Weight{Model: item, Weight: 1}
		if at := strings.LastIndex(item, "="); at >= 0 {
			m.Model = item[:at]
			if m.Weight, err = strconv.ParseFloat(item[at+1:], 64); err != nil {
				return nil, usageError{fmt.Errorf("--models: weight %s is not a number", excerpt.Quote(item[at+1:]))}
			}
		}
		if m.Model == "" {
			return nil, usageError{fmt.Errorf("--models: a name is empty in %s", excerpt.Quote(text))}
		}
		models = append(models, m)
	}
	return models, nil
}

// fitAsMined has a fit compute as the mining that follows it, and treat zero vectors alike.
func fitAsMined(o *projection.FitOptions, m *mining.Options) {
	o.Threads, o.Memory, o.Progress, o.Zero = m.Threads, m.Memory, m.Progress, m.Zero
}

// openData opens the data set that a name on the command line means: a folder in BEIR layout, on disk or as the objects of S3 below a
// prefix. w watches what is fetched and converted.
func openData(name string, w dataset.Watch) (data *dataset.Dataset, err error) {
	if isFetched(name) {
		data, err = openBucket(name, w)
	} else {
		data, err = beir.Open(name)
	}
	if err == nil {
		data.Watch(w)
	}
	return data, err
}

// isFetched reports whether a data set is fetched while it is opened, which may take long. Outputs are checked before
// that, and otherwise after it: a folder that is not there is to be told first.
func isFetched(name string) bool { return strings.HasPrefix(name, inS3) }

// inS3 is how the names of what lies in S3 begin.
const inS3 = "s3://"

// openBucket opens the data set that lies at a URL of S3. Its objects are fetched to temporary files when they are first read.
func openBucket(url string, w dataset.Watch) (_ *dataset.Dataset, err error) {
	store, err := objstore.Open(w.Context, url)
	if err != nil {
		return nil, usageError{err}
	}
	objects, err := objfs.New(w.Context, store, "", w.Progress)
	if err != nil {
		return nil, err
	}
	data, err := beir.OpenFS(objects, store.URL())
	if err != nil {
		return nil, errors.Join(err, objects.Close())
	}
	data.Own(objects)
	return data, nil
}

// judge adds the judgements of a file beside those of the data set's splits.
func judge(data *dataset.Dataset, path string) error {
	q, err := beir.ReadJudgements(path)
	if err != nil {
		return err
	}
	return data.Judge(q)
}

// computeFlags say how to compute. They change how long a command takes and how much memory, never its result.
type computeFlags struct {
	engine  string
	threads int
	memory  string
}

func (f *computeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.engine, "engine", "wasm", "what computes: wasm (the plugin, in a sandbox) or native (the same code in this process, faster on amd64); the result is the same")
	f.addThreads(flags)
	f.addMemory(flags)
}

func (f *computeFlags) addMemory(flags *pflag.FlagSet) {
	flags.StringVar(&f.memory, "memory", "", "memory the process may take, as 512MiB or 4GiB (default half of the machine's, at most 4GiB); the result is the same")
}

// budget is the memory that --memory gives the process, or its default.
func (f *computeFlags) budget() (option.Budget, error) {
	if f.memory == "" {
		return option.ProcessBudget(0), nil
	}
	n, err := humanize.ParseBytes(f.memory)
	if err != nil || n == 0 || n > 1<<50 {
		return option.Budget{}, usageError{fmt.Errorf("--memory is %s; it is a size such as 512MiB or 4GiB", excerpt.Quote(f.memory))}
	}
	return option.ProcessBudget(int64(n)), nil
}

// options are the options of every command that computes, without the engine.
func (f *computeFlags) options(cmd *cobra.Command, m *meter) (mining.Compute, error) {
	if err := f.checkThreads(cmd); err != nil {
		return mining.Compute{}, err
	}
	if f.engine != "wasm" && f.engine != "native" {
		return mining.Compute{}, usageError{fmt.Errorf("--engine is %s; it is wasm or native", excerpt.Quote(f.engine))}
	}
	memory, err := f.budget()
	if err != nil {
		return mining.Compute{}, err
	}
	return mining.Compute{Threads: f.threads, Memory: memory, Progress: m.progress()}, nil
}

func (f *computeFlags) addThreads(flags *pflag.FlagSet) {
	flags.IntVar(&f.threads, "threads", 0, "cores to use (default all); the result is the same")
}

// checkThreads fails where --threads was given and is below 1.
func (f *computeFlags) checkThreads(cmd *cobra.Command) error {
	if cmd.Flags().Changed("threads") && f.threads < 1 {
		return usageError{fmt.Errorf("--threads is %d; it is 1 or more", f.threads)}
	}
	return nil
}

// open returns the engine that --engine names. Call options first, which checks the flags. Close it after use. Half of
// the memory is for the plugin's instances. From now on Go's garbage collector keeps to the other half: to compile the
// plugin within it would take several times as long.
func (f *computeFlags) open(ctx context.Context, m *meter, memory option.Budget) (e engine.Engine, err error) {
	defer debug.SetMemoryLimit(memory.CollectorLimit())
	if f.engine == "native" {
		return engine.LoadNative(ctx, f.wasm(m, memory))
	}
	return engine.Wasm(ctx, f.wasm(m, memory))
}

// What a process takes at most while it compiles the plugin, in bytes: so much, and so much for each core that compiles.
// It was measured with 1 to 16 cores.
const (
	compileMemory     = 104 << 20
	compileCoreMemory = 8 << 20
)

// wasm are the options of the engine on Wasm. As many cores compile as there is memory for.
func (f *computeFlags) wasm(m *meter, memory option.Budget) engine.WasmOptions {
	cores := int((memory.Bytes - compileMemory) / compileCoreMemory)
	return engine.WasmOptions{Threads: max(1, min(cores, option.Threads(f.threads))), Compiling: m.compiling}
}

// openWith opens the engine while a data set is read. Close both after use.
func (f *computeFlags) openWith(ctx context.Context, m *meter, memory option.Budget, data string) (e engine.Engine, d *dataset.Dataset, err error) {
	var opening sync.WaitGroup
	var engineErr, dataErr error
	opening.Go(func() { e, engineErr = f.open(ctx, m, memory) })
	d, dataErr = openData(data, dataset.Watch{Context: ctx, Progress: m.progress()})
	opening.Wait()
	if engineErr == nil && dataErr == nil {
		return e, d, nil
	}
	if engineErr == nil {
		err = closeEngine(ctx, e)
	}
	if dataErr == nil {
		err = d.Close()
	}
	return nil, nil, errors.Join(dataErr, engineErr, err)
}

func closeEngine(ctx context.Context, e engine.Engine) error {
	return e.Close(context.WithoutCancel(ctx))
}

// usageWithGroup prints a command's usage with some of its flags under a heading of their own, after the others.
func usageWithGroup(heading string, group *pflag.FlagSet) func(*cobra.Command) error {
	return func(cmd *cobra.Command) error {
		others := pflag.NewFlagSet("", pflag.ContinueOnError)
		cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			if group.Lookup(flag.Name) == nil {
				others.AddFlag(flag)
			}
		})
		_, err := fmt.Fprintf(cmd.OutOrStderr(), "Usage:\n  %s\n\nExamples:\n%s\n\nFlags:\n%s\n%s:\n%s\nGlobal Flags:\n%s", cmd.UseLine(), cmd.Example,
			others.FlagUsages(), heading, group.FlagUsages(), cmd.InheritedFlags().FlagUsages())
		return err
	}
}
