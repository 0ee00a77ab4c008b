package main

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/lambda"
)

// variables are those that the program reads.
var variables = []string{
	"QUARRY_INPUTS", "QUARRY_RESULTS", "QUARRY_QUEUE_URL", "QUARRY_MAX_SHARD_MIB", "QUARRY_SWEEP_AGE_MINUTES", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
}

// right are values that the program takes.
var right = []string{"s3://jobs", "s3://jobs-results", "https://sqs.us-east-1.amazonaws.com/123456789012/jobs", "512", "60", "1769"}

// setVariables gives the variables these values, and leaves no configuration of AWS to be found.
func setVariables(t *testing.T, values ...string) {
	t.Helper()
	for i, name := range variables {
		t.Setenv(name, values[i])
	}
	none := t.TempDir() + "/none"
	for name, value := range map[string]string{
		"AWS_REGION": "us-east-1", "AWS_PROFILE": "", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "LAMBDA_TASK_ROOT": "", "TMPDIR": t.TempDir(),
	} {
		t.Setenv(name, value)
	}
	if os.Getenv("AWS_PROFILE") == "" {
		_ = os.Unsetenv("AWS_PROFILE") // t.Setenv brings back what was there
	}
}

// TestWrongEnvironment has each variable wrong, and all at once. The error names the variable and what was found there.
func TestWrongEnvironment(t *testing.T) {
	type row struct {
		values []string
		wrong  string // a variable, or all of them
	}
	rows := []row{{[]string{"x", "x", "x", "x", "x", "x"}, strings.Join(variables, " ")}}
	for i, values := range [][]string{
		{"", "jobs", "s3:/jobs", "s3://", "s3:///jobs", "s3://jobs/", "s3://jobs/deeper", "file:///jobs"},
		{"", "jobs-results", "s3:/jobs-results", "s3://", "s3:///jobs-results", "file:///jobs-results", "s3://jobs", "s3://jobs/deeper"},
		{"jobs", "arn:aws:sqs:us-east-1:123456789012:jobs", "https://sqs.us-east-1.amazonaws.com/", "https://%zz/1/jobs"},
		{"0", "-1", "1.5", "512 MiB", "9999999999999999999"},
		{"0", "-1", "1.5", "1h", "9999999999999999999"},
		{"big", "0"},
	} {
		for _, value := range values {
			wrong := append([]string(nil), right...)
			wrong[i] = value
			rows = append(rows, row{wrong, variables[i]})
		}
	}
	for _, c := range rows {
		setVariables(t, c.values...)
		_, err := configure(t.Context(), slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%q is no error", c.values)
			continue
		}
		for i, name := range variables {
			if got := strings.Contains(err.Error(), name+" is \""+c.values[i]+"\""); got != strings.Contains(c.wrong, name) {
				t.Errorf("%q: the error is %v; expected it to name %s alone", c.values, err, c.wrong)
			}
		}
		if err := run(t.Context(), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%q: the function starts", c.values)
		}
	}
}

// TestConfigure bakes the compiled plugin, as make lambda does, and has the function find it, or compile the plugin
// where it is not. Where what is beside the program does not serve, the log says so.
func TestConfigure(t *testing.T) {
	limit := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(limit) })
	setVariables(t, right...)
	root := t.TempDir()
	if err := bake(t.Context(), filepath.Join(root, "cache")); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	if err := os.Mkdir(filepath.Join(empty, "cache"), 0o700); err != nil {
		t.Fatal(err)
	}
	compiled := filepath.Join(os.TempDir(), "quarry-cache")
	for _, c := range []struct {
		root          string
		baked, warned bool
	}{{root, true, false}, {t.TempDir(), false, false}, {empty, false, true}} {
		if testing.Short() && !c.baked && !c.warned {
			continue // compiling takes two seconds
		}
		t.Setenv("LAMBDA_TASK_ROOT", c.root)
		var log strings.Builder
		got, err := configure(t.Context(), newLog(&log))
		if err != nil {
			t.Fatal(err)
		}
		checkConfig(t, got)
		if engine.HasCache(compiled) == c.baked {
			t.Errorf("the plugin is baked: %v; the function compiled it: %v", c.baked, c.baked)
		}
		if warned := strings.Contains(log.String(), `"level":"WARN"`) && strings.Contains(log.String(), filepath.Join(c.root, "cache")); warned != c.warned {
			t.Errorf("with %+v the log is %q", c, log.String())
		}
		if err := got.Run.Engine.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	setVariables(t, "s3://jobs", "s3://jobs-results/deeper", "", "", "", "")
	if c, err := environment(t.Context()); err != nil || c.Queue != nil || c.MaxShard != 0 || c.SweepAge != 0 || c.MemoryMiB != 0 || c.Run.Memory.Bytes != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func checkConfig(t *testing.T, c *lambda.Config) {
	t.Helper()
	if c.Inputs != "s3://jobs" || c.Results != "s3://jobs-results" || c.Queue == nil || c.MaxShard != 512<<20 || c.SweepAge != time.Hour || c.Concurrency != 1 ||
		c.MemoryMiB != 1769 || c.Run.Memory.Bytes > 1769<<20 || c.Run.Memory.Bytes < 1500<<20 || c.Log == nil {
		t.Errorf("%+v", c)
	}
	if now := debug.SetMemoryLimit(-1); now >= c.Run.Memory.Bytes || now == math.MaxInt64 {
		t.Errorf("the memory limit is %d of %d", now, c.Run.Memory.Bytes)
	}
}
