// Command all runs the examples of hosts, one after the other, and prints the table of docs/HOSTS.md.
//
//	go run ./plugin/examples/all [-write] [HOST ...]
//
// An example is a folder of plugin/examples with a script run. The script mines what plugin/examples/prepare made, compares it with what the
// command line wrote, and prints a line of JSON for each way that it calls the module. An exit status of 77 means that what it needs cannot be
// had on this machine: the example is skipped, and named. What a script says beside is kept in bin/examples/HOST.log, and shown where it fails.
// The exit status is 1 where an example failed. make examples makes the case first.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	page    = "docs/HOSTS.md"
	begin   = "<!-- table: make examples WRITE=1 writes it -->\n"
	end     = "<!-- end of table -->\n"
	skipped = 77
)

// line is what a script prints: milliseconds, MB/s (10^6), and null where a host has no such way.
type line struct {
	Host      string       `json:"host"`
	Version   string       `json:"version"`
	Start     *float64     `json:"start_ms"`
	In        *float64     `json:"in_mb_s"`
	Raw       *percentiles `json:"select_raw_ms"`
	Projected *percentiles `json:"select_projected_ms"`
	Equal     bool         `json:"equal"`
}

type percentiles struct {
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
}

func main() {
	write := flag.Bool("write", false, "write the table to "+page+" too")
	flag.Parse()
	if err := all(flag.Args(), *write, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// all runs the hosts, or every one. The table and the count go to stdout, and what happens meanwhile to stderr.
func all(hosts []string, write bool, stdout, stderr io.Writer) error {
	if len(hosts) == 0 {
		scripts, err := filepath.Glob("plugin/examples/*/run")
		if err != nil || len(scripts) == 0 {
			return errors.Join(err, errors.New("plugin/examples/*/run: no example; run this from the top of the repository"))
		}
		for _, script := range scripts {
			hosts = append(hosts, filepath.Base(filepath.Dir(script)))
		}
	}
	var lines []line
	var without, failed []string
	for _, host := range hosts {
		fmt.Fprintf(stderr, "%s ...\n", host)
		found, err := run(host)
		exit := (*exec.ExitError)(nil)
		switch {
		case errors.As(err, &exit) && exit.ExitCode() == skipped:
			without = append(without, host)
			fmt.Fprintln(stderr, tail(host, 3))
		case err != nil:
			failed = append(failed, host)
			fmt.Fprintf(stderr, "%s\n%s: %v\n", tail(host, 40), host, err)
		}
		lines = append(lines, found...)
	}
	table := markdown(lines)
	fmt.Fprint(stdout, "\n", table, "\n")
	for _, host := range without {
		fmt.Fprintln(stdout, "skipped:", host)
	}
	for _, host := range failed {
		fmt.Fprintln(stdout, "failed:", host)
	}
	fmt.Fprintf(stdout, "%d passed, %d failed, %d skipped\n", len(hosts)-len(failed)-len(without), len(failed), len(without))
	if len(failed) > 0 {
		return errors.New("an example failed")
	}
	if write {
		return writeTable(table)
	}
	return nil
}

// run runs the script of a host, and returns the lines that it printed.
func run(host string) (lines []line, err error) {
	if err := os.MkdirAll("bin/examples", 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(logFile(host))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join("plugin", "examples", host, "run"))
	cmd.Stderr = log
	out, err := cmd.Output()
	decoder := json.NewDecoder(bytes.NewReader(out))
	decoder.DisallowUnknownFields()
	for decoder.More() {
		var l line
		if bad := decoder.Decode(&l); bad != nil {
			return lines, errors.Join(err, fmt.Errorf("what it printed is not a line of JSON as expected: %w", bad))
		}
		lines = append(lines, l)
		if !l.Equal {
			err = errors.Join(err, fmt.Errorf("%s %s: its bytes differ from the command line's", l.Host, l.Version))
		}
	}
	if err == nil && len(lines) == 0 {
		err = errors.New("it measured nothing")
	}
	return lines, err
}

func logFile(host string) string { return filepath.Join("bin", "examples", host+".log") }

// tail is the last lines of what a script said.
func tail(host string, n int) string {
	text, err := os.ReadFile(logFile(host))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

func markdown(lines []line) string {
	var b strings.Builder
	b.WriteString("| host | version | start, ms | in, MB/s | select raw, ms: median (p99) | select projected, ms: median (p99) | equal bytes |\n|---|---|---|---|---|---|---|\n")
	for _, l := range lines {
		equal := "yes"
		if !l.Equal {
			equal = "**no**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", l.Host, l.Version, number(l.Start), number(l.In), both(l.Raw), both(l.Projected), equal)
	}
	return b.String()
}

func number(x *float64) string {
	if x == nil {
		return "–"
	}
	if *x < 10 {
		return fmt.Sprintf("%.2g", *x)
	}
	return fmt.Sprintf("%.0f", *x)
}

func both(p *percentiles) string {
	if p == nil {
		return "–"
	}
	return fmt.Sprintf("%s (%s)", number(&p.Median), number(&p.P99))
}

// writeTable replaces the table of the page.
func writeTable(table string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("%s: the lines around the table are not there: %q and %q", page, begin, end)
	}
	return os.WriteFile(page, []byte(before+begin+table+end+after), 0o644)
}
