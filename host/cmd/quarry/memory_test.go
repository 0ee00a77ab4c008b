package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
)

// TestTooLittleMemory gives each command that takes --memory too little of it: the command ends with a usage error that
// names the flag and how much would do, and with so much it goes through. It is refused before a fit, too.
func TestTooLittleMemory(t *testing.T) {
	t.Parallel()
	would := regexp.MustCompile(`hint: --memory (\d+MiB) would do`)
	w := workFolder(t, sample())
	w.mustRun(t, "fit ./data -o ./p.safetensors --components 3")
	w.mustRun(t, "job init ./data --shards 2 --bucket ./run --job n --projection ./p.safetensors --engine native")
	w.mustRun(t, "job init ./data --shards 2 --bucket ./swept --job n --projection ./p.safetensors --engine native")
	for _, line := range []string{
		"mine ./data -o ./out/fitted.jsonl --engine native",
		"mine ./data -o ./out/mined.jsonl --projection ./p.safetensors --engine native",
		"fit ./data -o ./out/p.safetensors",
		"transform ./data -o ./out/transformed --projection ./p.safetensors --engine native",
		"demo -o ./out/demo --engine native",
		"job init ./data --shards 2 --bucket ./new --job n --engine native",
		"job run ./run/jobs/n --engine native",
		"job sweep ./swept --engine native",
	} {
		o := w.quarry(t.Context(), line+" --memory 16MiB")
		named := would.FindStringSubmatch(o.stderr)
		if o.code != exitUsage || named == nil || !strings.Contains(o.stderr, "16 MiB were given") {
			t.Errorf("%s: exit %d: %s", line, o.code, o.stderr)
			continue
		}
		if o := w.quarry(t.Context(), line+" --memory "+named[1]); o.code != exitOK {
			t.Errorf("%s --memory %s: exit %d: %s", line, named[1], o.code, o.stderr)
		}
	}
}

// TestMemoryOfThePlugin: where an instance lacks memory after all, the flag is named, and the input is not to blame.
func TestMemoryOfThePlugin(t *testing.T) {
	err := fmt.Errorf("documents, push: %w", abi.Errorf(abi.Memory, "needs more"))
	if code := exitCode(err); code != exitUsage || !strings.Contains(memoryHint(err), "--memory") {
		t.Errorf("exit %d, hint %q", code, memoryHint(err))
	}
}
