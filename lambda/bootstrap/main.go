// Command bootstrap is the program that AWS Lambda runs: package lambda, configured by environment variables.
//
// Input: those variables, and events by Lambda's Runtime API; output: the answers, and a log on stdout. Each line of the log
// is one JSON object with timestamp, level and msg. That also holds for a function that does not start, for errors with
// several lines, for what the handler returns or panics with, and for what libraries log. Two things the Go runtime writes
// itself, as text to stderr: the panic of a goroutine that is not the handler's, and a fatal error, such as lack of memory.
//
// `bootstrap bake DIR` compiles the plugin for the processor it runs on, into a folder for the zip, and ends. A
// function that finds this folder beside its program, as cache, starts without compiling.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	awslambda "github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/lambda"
)

func main() {
	ctx := context.Background()
	if len(os.Args) == 3 && os.Args[1] == "bake" { // by make, for whoever reads its output
		if err := bake(ctx, os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "bootstrap:", err)
			os.Exit(1)
		}
		return
	}
	log := newLog(os.Stdout)
	if err := run(ctx, log); err != nil {
		log.Error("the function does not start", "problem", err.Error())
		os.Exit(1)
	}
}

// bake compiles the plugin into a folder.
func bake(ctx context.Context, dir string) error {
	e, err := engine.Wasm(ctx, engine.WasmOptions{CacheDir: dir})
	if err != nil {
		return err
	}
	return e.Close(ctx)
}

// newLog returns the log of the function. Its times are called timestamp: where Lambda finds none of a name that it knows,
// it takes the line's level for INFO.
func newLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			a.Key = "timestamp"
		}
		return a
	}}))
}

// run answers events until the process is ended. An error means that it cannot begin.
func run(ctx context.Context, log *slog.Logger) error {
	c, err := configure(ctx, log)
	if err != nil {
		return err
	}
	serve(ctx, log, lambda.New(*c))
	return nil
}

// serve has a handler answer events. What Lambda's library logs, by package log, are failures: the handler's errors and
// panics, and its own.
func serve(ctx context.Context, log *slog.Logger, handler awslambda.Handler) {
	slog.SetDefault(log)
	slog.SetLogLoggerLevel(slog.LevelError)
	awslambda.StartWithOptions(handler, awslambda.WithContext(ctx))
}

// configure returns the function's configuration, with its engine. The compiled plugin comes from the folder cache
// beside the program. Where that is missing, the plugin is compiled into the folder for temporary files, where it
// serves the processes of this environment that come later.
func configure(ctx context.Context, log *slog.Logger) (*lambda.Config, error) {
	c, err := environment(ctx)
	if err != nil {
		return nil, err
	}
	c.Log = log
	if c.Run.Memory.Bytes > 0 {
		debug.SetMemoryLimit(c.Run.Memory.CollectorLimit())
	}
	// A process that was ended leaves its shards on the disk, where the next one in its place would have less room.
	c.Dir = filepath.Join(os.TempDir(), "quarry-shards")
	if err := errors.Join(os.RemoveAll(c.Dir), os.Mkdir(c.Dir, 0o700)); err != nil {
		return nil, err
	}
	warn := func(problem string) { log.Warn("the compiled plugin", "problem", problem) }
	c.Run.Engine, err = engine.Wasm(ctx, engine.WasmOptions{CacheDir: cacheDir(warn), Warn: warn})
	return c, err
}

// cacheDir returns the folder of the compiled plugin. It warns where there is one beside the program that does not serve.
func cacheDir(warn func(problem string)) string {
	if root := os.Getenv("LAMBDA_TASK_ROOT"); root != "" {
		baked := filepath.Join(root, "cache")
		if engine.HasCache(baked) {
			return baked
		}
		if _, err := os.Stat(baked); err == nil {
			warn(baked + " holds nothing that this program on this processor can load, so each new process compiles the plugin; " +
				"make lambda, where it runs qemu-aarch64 or on arm64, puts it there")
		}
	}
	return filepath.Join(os.TempDir(), "quarry-cache")
}

// environment returns the configuration, without engine and log, that these variables hold: QUARRY_INPUTS, QUARRY_RESULTS,
// QUARRY_QUEUE_URL, QUARRY_MAX_SHARD_MIB, QUARRY_SWEEP_AGE_MINUTES, and AWS_LAMBDA_FUNCTION_MEMORY_SIZE and
// AWS_LAMBDA_MAX_CONCURRENCY, which Lambda sets. The error names every variable that is wrong.
func environment(ctx context.Context) (*lambda.Config, error) {
	c := &lambda.Config{Inputs: os.Getenv("QUARRY_INPUTS"), Results: os.Getenv("QUARRY_RESULTS"), Concurrency: lambdacontext.MaxConcurrency()}
	errs := buckets(c.Inputs, c.Results)
	number := func(name, unit string) int64 {
		text := os.Getenv(name)
		if text == "" {
			return 0
		}
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 1 {
			errs = append(errs, fmt.Errorf("%s is %q; it is a number of %s", name, text, unit))
		}
		return n
	}
	memory := number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "MiB")
	if c.MemoryMiB = int(memory); memory > 0 {
		c.Run.Memory = option.ProcessBudget(memory << 20 / 10 * 9)
	}
	c.MaxShard = number("QUARRY_MAX_SHARD_MIB", "MiB") << 20
	c.SweepAge = time.Duration(number("QUARRY_SWEEP_AGE_MINUTES", "minutes")) * time.Minute
	if at := os.Getenv("QUARRY_QUEUE_URL"); at != "" {
		u, err := url.Parse(at)
		if err == nil && (u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(u.Path) < 2) {
			err = errors.New("it is a queue's URL, as https://sqs.REGION.amazonaws.com/ACCOUNT/NAME")
		}
		if err == nil {
			c.Queue, err = lambda.OpenQueue(ctx, at)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("QUARRY_QUEUE_URL is %q: %w", at, err))
		}
	}
	return c, errors.Join(errs...)
}

// buckets checks the two buckets, by their URLs. The results may be below a prefix. The inputs may not: the function is
// told of keys of the bucket itself.
func buckets(inputs, results string) (errs []error) {
	// objstore.Open takes a folder too, whose results would be lost with the environment.
	in, inOK := strings.CutPrefix(inputs, "s3://")
	if !inOK || in == "" || strings.Contains(in, "/") {
		errs = append(errs, fmt.Errorf("QUARRY_INPUTS is %q; it names the bucket of the inputs, as s3://name", inputs))
	}
	out, outOK := strings.CutPrefix(results, "s3://")
	out, _, _ = strings.Cut(out, "/")
	if !outOK || out == "" {
		errs = append(errs, fmt.Errorf("QUARRY_RESULTS is %q; it names the bucket of the results, as s3://name", results))
	}
	if len(errs) == 0 && in == out {
		errs = append(errs, fmt.Errorf("QUARRY_RESULTS is %q, the bucket of QUARRY_INPUTS; each result would be an upload that invokes the function: "+
			"name another bucket", results))
	}
	return errs
}
