// Command bootstrap is the program that AWS Lambda runs: package lambda, configured by environment variables.
//
// `bootstrap bake DIR` compiles the plugin for the processor it runs on, into a folder for the zip, and ends. A
// function that finds this folder beside its program, as cache, starts without compiling.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	awslambda "github.com/aws/aws-lambda-go/lambda"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/lambda"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bootstrap:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "bake" {
		e, err := engine.Wasm(ctx, engine.WasmOptions{CacheDir: args[1]})
		if err != nil {
			return err
		}
		return e.Close(ctx)
	}
	c, err := configure(ctx)
	if err != nil {
		return err
	}
	awslambda.StartWithOptions(lambda.New(*c), awslambda.WithContext(ctx))
	return nil
}

// configure returns the function's configuration, with its engine. The compiled plugin comes from the folder cache
// beside the program. Where that is missing, the plugin is compiled into the folder for temporary files, where it
// serves the processes of this environment that come later.
func configure(ctx context.Context) (*lambda.Config, error) {
	c, err := environment(ctx)
	if err != nil {
		return nil, err
	}
	if c.Run.Memory.Bytes > 0 {
		debug.SetMemoryLimit(c.Run.Memory.CollectorLimit())
	}
	// A process that was ended leaves its shards on the disk, where the next one in its place would have less room.
	c.Dir = filepath.Join(os.TempDir(), "quarry-shards")
	if err := errors.Join(os.RemoveAll(c.Dir), os.Mkdir(c.Dir, 0o700)); err != nil {
		return nil, err
	}
	cache := filepath.Join(os.TempDir(), "quarry-cache")
	if root := os.Getenv("LAMBDA_TASK_ROOT"); root != "" {
		if baked := filepath.Join(root, "cache"); engine.HasCache(baked) {
			cache = baked
		}
	}
	c.Run.Engine, err = engine.Wasm(ctx, engine.WasmOptions{CacheDir: cache})
	return c, err
}

// environment returns the configuration, without an engine, that these variables hold: QUARRY_RESULTS,
// QUARRY_QUEUE_URL, QUARRY_MAX_SHARD_MIB, and AWS_LAMBDA_FUNCTION_MEMORY_SIZE, which Lambda sets. The error names every
// variable that is wrong.
func environment(ctx context.Context) (*lambda.Config, error) {
	c := &lambda.Config{Results: os.Getenv("QUARRY_RESULTS"), Log: slog.New(slog.NewJSONHandler(os.Stdout, nil))}
	var errs []error
	// objstore.Open takes a folder too, whose results would be lost with the environment.
	if bucket, ok := strings.CutPrefix(c.Results, "s3://"); !ok || bucket == "" || bucket[0] == '/' {
		errs = append(errs, fmt.Errorf("QUARRY_RESULTS is %q; it names the bucket of the results, as s3://name", c.Results))
	}
	mib := func(name string) int64 {
		text := os.Getenv(name)
		if text == "" {
			return 0
		}
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 1 {
			errs = append(errs, fmt.Errorf("%s is %q; it is a number of MiB", name, text))
		}
		return n
	}
	memory := mib("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
	if c.MemoryMiB = int(memory); memory > 0 {
		c.Run.Memory = option.ProcessBudget(memory << 20 / 10 * 9)
	}
	c.MaxShard = mib("QUARRY_MAX_SHARD_MIB") << 20
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
