package main

import (
	"math"
	"os"
	"runtime/debug"
	"strings"
	"testing"
)

// names are the variables that are read.
var names = []string{"QUARRY_RESULTS", "QUARRY_QUEUE_URL", "QUARRY_MAX_SHARD_MIB", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"}

// set makes those variables these, and AWS's configuration none.
func set(t *testing.T, values ...string) {
	t.Helper()
	for i, name := range names {
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

// TestWrongEnvironment has each variable wrong, and all at once. The problem names the variable and what was found.
func TestWrongEnvironment(t *testing.T) {
	const results, queue = "s3://jobs-results", "https://sqs.us-east-1.amazonaws.com/123456789012/jobs"
	for _, c := range []struct {
		values []string
		wrong  []string // variables
	}{
		{[]string{"", queue, "512", "1769"}, names[:1]},
		{[]string{"jobs-results", queue, "512", "1769"}, names[:1]},
		{[]string{"s3:/jobs-results", queue, "512", "1769"}, names[:1]},
		{[]string{"s3://", queue, "512", "1769"}, names[:1]},
		{[]string{"s3:///jobs-results", queue, "512", "1769"}, names[:1]},
		{[]string{"file:///jobs-results", queue, "512", "1769"}, names[:1]},
		{[]string{results, "jobs", "512", "1769"}, names[1:2]},
		{[]string{results, "arn:aws:sqs:us-east-1:123456789012:jobs", "512", "1769"}, names[1:2]},
		{[]string{results, "https://sqs.us-east-1.amazonaws.com/", "512", "1769"}, names[1:2]},
		{[]string{results, "https://%zz/1/jobs", "512", "1769"}, names[1:2]},
		{[]string{results, queue, "0", "1769"}, names[2:3]},
		{[]string{results, queue, "-1", "1769"}, names[2:3]},
		{[]string{results, queue, "1.5", "1769"}, names[2:3]},
		{[]string{results, queue, "512 MiB", "1769"}, names[2:3]},
		{[]string{results, queue, "9999999999999999999", "1769"}, names[2:3]},
		{[]string{results, queue, "512", "big"}, names[3:]},
		{[]string{results, queue, "512", "0"}, names[3:]},
		{[]string{"x", "x", "x", "x"}, names},
	} {
		set(t, c.values...)
		_, err := configure(t.Context())
		if err == nil {
			t.Errorf("%q is no error", c.values)
			continue
		}
		for i, name := range names {
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

func TestConfigure(t *testing.T) {
	limit := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(limit) })
	set(t, "s3://jobs-results", "https://sqs.us-east-1.amazonaws.com/123456789012/jobs", "512", "1769")
	c, err := configure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Run.Engine.Close(t.Context())
	if c.Results != "s3://jobs-results" || c.Queue == nil || c.MaxShard != 512<<20 || c.MemoryMiB != 1769 || c.Run.Memory.Bytes > 1769<<20 || c.Run.Memory.Bytes < 1500<<20 || c.Log == nil {
		t.Errorf("%+v", c)
	}
	if now := debug.SetMemoryLimit(-1); now >= c.Run.Memory.Bytes || now == math.MaxInt64 {
		t.Errorf("the memory limit is %d of %d", now, c.Run.Memory.Bytes)
	}
	set(t, "s3://jobs-results/deeper", "", "", "")
	if c, err = environment(t.Context()); err != nil || c.Queue != nil || c.MaxShard != 0 || c.MemoryMiB != 0 || c.Run.Memory.Bytes != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}
