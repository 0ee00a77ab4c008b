package main

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/lambda"
)

// variables are those that the program reads.
var variables = []string{"QUARRY_RESULTS", "QUARRY_QUEUE_URL", "QUARRY_MAX_SHARD_MIB", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"}

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
	const results, queue = "s3://jobs-results", "https://sqs.us-east-1.amazonaws.com/123456789012/jobs"
	for _, c := range []struct {
		values []string
		wrong  []string // variables
	}{
		{[]string{"", queue, "512", "1769"}, variables[:1]},
		{[]string{"jobs-results", queue, "512", "1769"}, variables[:1]},
		{[]string{"s3:/jobs-results", queue, "512", "1769"}, variables[:1]},
		{[]string{"s3://", queue, "512", "1769"}, variables[:1]},
		{[]string{"s3:///jobs-results", queue, "512", "1769"}, variables[:1]},
		{[]string{"file:///jobs-results", queue, "512", "1769"}, variables[:1]},
		{[]string{results, "jobs", "512", "1769"}, variables[1:2]},
		{[]string{results, "arn:aws:sqs:us-east-1:123456789012:jobs", "512", "1769"}, variables[1:2]},
		{[]string{results, "https://sqs.us-east-1.amazonaws.com/", "512", "1769"}, variables[1:2]},
		{[]string{results, "https://%zz/1/jobs", "512", "1769"}, variables[1:2]},
		{[]string{results, queue, "0", "1769"}, variables[2:3]},
		{[]string{results, queue, "-1", "1769"}, variables[2:3]},
		{[]string{results, queue, "1.5", "1769"}, variables[2:3]},
		{[]string{results, queue, "512 MiB", "1769"}, variables[2:3]},
		{[]string{results, queue, "9999999999999999999", "1769"}, variables[2:3]},
		{[]string{results, queue, "512", "big"}, variables[3:]},
		{[]string{results, queue, "512", "0"}, variables[3:]},
		{[]string{"x", "x", "x", "x"}, variables},
	} {
		setVariables(t, c.values...)
		_, err := configure(t.Context())
		if err == nil {
			t.Errorf("%q is no error", c.values)
			continue
		}
		for i, name := range variables {
			wrong := strings.Join(c.wrong, " ")
			if got := strings.Contains(err.Error(), name+" is \""+c.values[i]+"\""); got != strings.Contains(wrong, name) {
				t.Errorf("%q: the error is %v; expected it to name %s alone", c.values, err, wrong)
			}
		}
		if err := run(t.Context(), nil); err == nil {
			t.Errorf("%q: the function starts", c.values)
		}
	}
}

// TestConfigure bakes the compiled plugin, as make lambda does, and has the function find it, or compile the plugin
// where it is not.
func TestConfigure(t *testing.T) {
	limit := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(limit) })
	setVariables(t, "s3://jobs-results", "https://sqs.us-east-1.amazonaws.com/123456789012/jobs", "512", "1769")
	root := t.TempDir()
	if err := run(t.Context(), []string{"bake", filepath.Join(root, "cache")}); err != nil {
		t.Fatal(err)
	}
	compiled := filepath.Join(os.TempDir(), "quarry-cache")
	for _, baked := range []bool{true, false} {
		t.Setenv("LAMBDA_TASK_ROOT", t.TempDir())
		if baked {
			t.Setenv("LAMBDA_TASK_ROOT", root)
		} else if testing.Short() {
			break // compiling takes two seconds, and bake did it
		}
		c, err := configure(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkConfig(t, c)
		if engine.HasCache(compiled) == baked {
			t.Errorf("the plugin is baked: %v; the function compiled it: %v", baked, baked)
		}
		if err := c.Run.Engine.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	setVariables(t, "s3://jobs-results/deeper", "", "", "")
	if c, err := environment(t.Context()); err != nil || c.Queue != nil || c.MaxShard != 0 || c.MemoryMiB != 0 || c.Run.Memory.Bytes != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func checkConfig(t *testing.T, c *lambda.Config) {
	t.Helper()
	if c.Results != "s3://jobs-results" || c.Queue == nil || c.MaxShard != 512<<20 || c.MemoryMiB != 1769 || c.Run.Memory.Bytes > 1769<<20 || c.Run.Memory.Bytes < 1500<<20 || c.Log == nil {
		t.Errorf("%+v", c)
	}
	if now := debug.SetMemoryLimit(-1); now >= c.Run.Memory.Bytes || now == math.MaxInt64 {
		t.Errorf("the memory limit is %d of %d", now, c.Run.Memory.Bytes)
	}
}
