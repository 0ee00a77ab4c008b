// Command prepare makes the case that the examples of hosts mine, answer and are measured with, in the folder that it is given:
//
//	data/                     the embedded example, as quarry demo writes it
//	projection.safetensors    quarry fit data
//	negatives.jsonl           quarry mine data --split all --rule dual
//	negatives-capped.jsonl    quarry mine data --split all --rule capped
//	bench/                    messages at a real size, from a fixed seed, and the answers to them: bench.go
//
// The command line makes the first four itself, so what an example is compared with is what a user gets. Run it from the top of the
// repository; make examples-case builds the command line and does.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	quarry := flag.String("quarry", "bin/quarry", "the command line")
	out := flag.String("o", "bin/examples/case", "folder to make; what was there is replaced")
	flag.Parse()
	if err := prepare(context.Background(), *quarry, *out); err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		os.Exit(1)
	}
}

// prepare makes the case beside out, and moves it there once it is whole.
func prepare(ctx context.Context, quarry, out string) error {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(out), filepath.Base(out)+".")
	if err != nil {
		return err
	}
	defer os.RemoveAll(unfinished)
	if err := demo(ctx, quarry, unfinished); err != nil {
		return err
	}
	if err := bench(ctx, filepath.Join(unfinished, "bench")); err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.Chmod(unfinished, 0o755); err != nil { // another user may mine it, as that of a database
		return err
	}
	return os.Rename(unfinished, out)
}

// demo has the command line write the embedded example and its negatives by two rules.
func demo(ctx context.Context, quarry, out string) error {
	in := func(name string) string { return filepath.Join(out, name) }
	data, projection := in("data"), in("projection.safetensors")
	mine := func(rule, output string) []string {
		return []string{"mine", data, "--projection", projection, "--split", "all", "--rule", rule, "-o", in(output)}
	}
	for _, args := range [][]string{
		{"demo", "-o", in("demo")},
		{"fit", data, "-o", projection},
		mine("dual", "negatives.jsonl"),
		mine("capped", "negatives-capped.jsonl"),
	} {
		cmd := exec.CommandContext(ctx, quarry, append(args, "--quiet")...)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%v: %w", cmd.Args, err)
		}
		if args[0] == "demo" { // its folder stays, and what it mined is what the other commands mine
			if err := os.Rename(filepath.Join(in("demo"), "data"), data); err != nil {
				return err
			}
			if err := os.RemoveAll(in("demo")); err != nil {
				return err
			}
		}
	}
	return nil
}
