package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/option"
)

// TestCompilingIsShown: whoever waits for the first compilation at a terminal is told why. Elsewhere nothing is printed.
func TestCompilingIsShown(t *testing.T) {
	var flags computeFlags
	var terminal bytes.Buffer
	flags.wasm(&meter{to: &terminal}, option.Budget{}).Compiling()
	if !strings.Contains(terminal.String(), "compiling the plugin") {
		t.Errorf("a terminal shows %q", terminal.String())
	}
	a := app{stderr: &terminal}
	terminal.Reset()
	flags.wasm(a.newMeter(), option.Budget{}).Compiling()
	if terminal.Len() > 0 {
		t.Errorf("a pipe is told %q", terminal.String())
	}
}

// TestCompilingKeepsToTheMemory: as many cores compile as --threads says, or as there is memory for.
func TestCompilingKeepsToTheMemory(t *testing.T) {
	for _, row := range []struct {
		mib          int64
		threads, use int
	}{{90, 8, 1}, {128, 8, 3}, {128, 2, 2}, {4096, 64, 64}} {
		flags := computeFlags{threads: row.threads}
		if got := flags.wasm(&meter{}, option.ProcessBudget(row.mib<<20)).Threads; got != row.use {
			t.Errorf("with %d threads and %d MiB, %d cores compile; expected %d", row.threads, row.mib, got, row.use)
		}
	}
}
