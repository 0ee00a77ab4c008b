package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = `{"host":"H","version":"1","start_ms":8.14,"in_mb_s":363.2,"select_raw_ms":null,"select_projected_ms":{"median":0.534,"p99":15.4},"equal":true}`

const row = "| H | 1 | 8.1 | 363 | – | 0.53 (15) | yes |\n"

// TestAll runs scripts that pass, are skipped, fail, or print what they must not.
func TestAll(t *testing.T) {
	for _, c := range []struct {
		name, script, want string
		fails              bool
	}{
		{"passes", "echo '" + good + "'", row + "\n1 passed, 0 failed, 0 skipped\n", false},
		{"skipped", "echo no toolchain >&2; exit 77", "\nskipped: skipped\n0 passed, 0 failed, 1 skipped\n", false},
		{"fails", "echo '" + good + "'; exit 1", row + "\nfailed: fails\n0 passed, 1 failed, 0 skipped\n", true},
		{"differs", "echo '" + strings.Replace(good, "true", "false", 1) + "'", strings.Replace(row, "yes", "**no**", 1) + "\nfailed: differs\n0 passed, 1 failed, 0 skipped\n", true},
		{"silent", "", "\nfailed: silent\n0 passed, 1 failed, 0 skipped\n", true},
		{"talks", "echo hello", "\nfailed: talks\n0 passed, 1 failed, 0 skipped\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			script(t, c.name, c.script)
			var out strings.Builder
			err := all(nil, false, &out, io.Discard)
			if !strings.HasSuffix(out.String(), c.want) || (err != nil) != c.fails {
				t.Errorf("got %v and\n%s\nexpected the end\n%s", err, out.String(), c.want)
			}
		})
	}
}

// script makes an example of that script, in a repository of its own.
func script(t *testing.T, host, text string) {
	t.Helper()
	t.Chdir(t.TempDir())
	file := filepath.Join("plugin", "examples", host, "run")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestWrite replaces the table of the page, and nothing else.
func TestWrite(t *testing.T) {
	script(t, "passes", "echo '"+good+"'")
	if err := os.Mkdir("docs", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{"", "| old |\n"} {
		if err := os.WriteFile(page, []byte("before\n"+begin+old+end+"after\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := all(nil, true, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(page)
		if err != nil || !strings.HasPrefix(string(text), "before\n"+begin+"| host |") || !strings.HasSuffix(string(text), row+end+"after\n") {
			t.Errorf("got %v and\n%s", err, text)
		}
	}
	if err := os.WriteFile(page, []byte("no table\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := all(nil, true, io.Discard, io.Discard); err == nil {
		t.Error("a page without a table was written")
	}
}
