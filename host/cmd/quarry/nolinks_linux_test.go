package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/quarry-hn/quarry/host/internal/nolinks"
)

// withoutLinks runs a command as on a file system without hard links.
func (w workspace) withoutLinks(t *testing.T, line string) output {
	t.Helper()
	p := w.process(t, "", line)
	if err := nolinks.Run(t, syscall.EPERM, p.Start); err != nil {
		t.Fatal(err)
	}
	return p.end()
}

// TestWithoutLinks: a folder on a file system without hard links cannot be a bucket, and init and run say so. All other
// commands work there.
func TestWithoutLinks(t *testing.T) {
	t.Parallel()
	w := demoFolder(t)
	refused := func(line, path string) {
		t.Helper()
		o := w.withoutLinks(t, line)
		if o.code != exitWrite || o.stdout != "" || strings.Count(o.stderr, "\n") != 2 {
			t.Errorf("quarry %s: exit %d, expected %d; stdout %q; stderr %q", line, o.code, exitWrite, o.stdout, o.stderr)
		}
		checkSays(t, o.stderr, "cannot write "+path, "no hard links", "\n  hint: choose a folder on another\n")
	}
	refused(initLine, nightly+"/manifest.json")
	w.mustRun(t, initLine) // what it had put is in nobody's way
	refused(runLine, results+"/source.json")
	w.mustRun(t, runLine)
	for _, line := range []string{fetchLine, mineLine + " --projection ./p.safetensors"} {
		if o := w.withoutLinks(t, line); o.code != exitOK || o.stderr != "" {
			t.Errorf("quarry %s: exit %d: %s", line, o.code, o.stderr)
		}
	}
	w.checkFetched(t)
}
