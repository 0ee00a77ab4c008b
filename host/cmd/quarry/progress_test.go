package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestCompilingIsShown: whoever waits for the first compilation at a terminal is told why. Elsewhere nothing is printed.
func TestCompilingIsShown(t *testing.T) {
	var flags computeFlags
	var terminal bytes.Buffer
	flags.wasm(&meter{to: &terminal}).Compiling()
	if !strings.Contains(terminal.String(), "compiling the plugin") {
		t.Errorf("a terminal shows %q", terminal.String())
	}
	a := app{stderr: &terminal}
	terminal.Reset()
	flags.wasm(a.newMeter()).Compiling()
	if terminal.Len() > 0 {
		t.Errorf("a pipe is told %q", terminal.String())
	}
}
