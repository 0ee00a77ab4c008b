// Command bootstrap is the function that AWS Lambda runs. `bootstrap bake DIR` compiles the plugin into a cache, for the zip.
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

// configure is the function's configuration, with its engine. The plugin is loaded from the cache that lies beside the program, where there is one.
func configure(ctx context.Context) (*lambda.Config, error) {
	c, err := environment(ctx)
	if err != nil {
		return nil, err
	}
	if c.Run.Memory.Bytes > 0 {
		debug.SetMemoryLimit(c.Run.Memory.CollectorLimit())
	}
	// What a process that was cut off left there would fill the disk: a new one takes its place, and finds it.
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

// environment reads QUARRY_RESULTS, QUARRY_QUEUE_URL, QUARRY_MAX_SHARD_MIB, and what Lambda sets. All that is wrong is reported together.
func environment(ctx context.Context) (*lambda.Config, error) {
	c := &lambda.Config{Results: os.Getenv("QUARRY_RESULTS"), Log: slog.New(slog.NewJSONHandler(os.Stdout, nil))}
	var errs []error
	// A folder's path would open too, and lose the results.
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
