package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestLongArguments gives each flag and argument of each command a long value, and also a long command and flag. No
// line of an error is longer than those that are printed, and where a flag or a command is at fault, all of it is short.
func TestLongArguments(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	var lines [][]string
	var add func(c *cobra.Command, path []string)
	add = func(c *cobra.Command, path []string) {
		c.InheritedFlags() // which adds them to the command's own
		c.Flags().VisitAll(func(f *pflag.Flag) {
			lines = append(lines, append(slices.Clone(path), "--"+f.Name+"="+long), append(slices.Clone(path), "--"+f.Name+"="+long, "no-folder", "no-file"))
		})
		lines = append(lines, append(slices.Clone(path), long), append(slices.Clone(path), long, long), append(slices.Clone(path), "--"+long), append(slices.Clone(path), "-"+long))
		for _, below := range c.Commands() {
			add(below, append(slices.Clone(path), below.Name()))
		}
	}
	add((&app{}).root(), nil)
	lines = append(lines, []string{"mine", "no-folder", "--models", "m=" + long}, []string{"mine", "no-folder", "--models", "," + long}, []string{"fit", "no-folder", "--fit-on", long},
		[]string{"job", "status", "s3://" + long + "/jobs/x"}, []string{"job", "status", "./jobs/" + long}, []string{"job", "status", long + "://x"})
	if len(lines) < 200 {
		t.Fatalf("only %d command lines", len(lines))
	}
	t.Chdir(t.TempDir())
	for name, value := range map[string]string{"AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "", "AWS_PROFILE": "", "AWS_REGION": "us-east-1"} {
		t.Setenv(name, value)
	}
	for _, line := range lines {
		var stdout, stderr bytes.Buffer
		code := execute(context.Background(), line, strings.NewReader(""), &stdout, &stderr)
		most := longestLine + 100
		if strings.Contains(stderr.String(), "flag") || strings.Contains(stderr.String(), "no command") {
			most = 500
		}
		for _, said := range strings.Split(stderr.String(), "\n") {
			if len(said) > most {
				t.Errorf("%.80q: exit %d, and a line of %d bytes: %.200s", line, code, len(said), said)
			}
		}
	}
}
