// Command bootstrap is the function that AWS Lambda runs. `bootstrap bake DIR` compiles the plugin into a cache, for the zip.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"

	awslambda "github.com/aws/aws-lambda-go/lambda"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/engine"
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

// configure reads the environment: QUARRY_RESULTS, QUARRY_QUEUE_URL, QUARRY_MAX_SHARD_MIB, and what Lambda sets. The plugin is loaded from the
// cache that lies beside the program, where there is one.
func configure(ctx context.Context) (*lambda.Config, error) {
	c := &lambda.Config{Results: os.Getenv("QUARRY_RESULTS"), Log: slog.New(slog.NewJSONHandler(os.Stdout, nil))}
	if c.Results == "" {
		return nil, fmt.Errorf("QUARRY_RESULTS is not set; it names the bucket of the results, as s3://name")
	}
	if mib, err := strconv.Atoi(os.Getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")); err == nil {
		c.MemoryMiB = mib
		c.Run.Memory = int64(mib) << 20 / 10 * 9
		debug.SetMemoryLimit(max(c.Run.Memory/2-host.ProcessMemory, 32<<20))
	}
	if text := os.Getenv("QUARRY_MAX_SHARD_MIB"); text != "" {
		mib, err := strconv.ParseInt(text, 10, 32)
		if err != nil || mib < 1 {
			return nil, fmt.Errorf("QUARRY_MAX_SHARD_MIB is %q; it is a number of MiB", text)
		}
		c.MaxShard = mib << 20
	}
	if url := os.Getenv("QUARRY_QUEUE_URL"); url != "" {
		q, err := lambda.OpenQueue(ctx, url)
		if err != nil {
			return nil, err
		}
		c.Queue = q
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
	e, err := engine.Wasm(ctx, engine.WasmOptions{CacheDir: cache})
	if err != nil {
		return nil, err
	}
	c.Run.Engine = e
	return c, nil
}
