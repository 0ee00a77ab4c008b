//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is the command in a process of its own, with pipes for its output.
type process struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

// command is a process that runs the command line; where shell is given, sh runs that, and "$@" in it is the command.
func command(ctx context.Context, shell, line string) *process {
	args := append([]string{must(os.Executable())}, strings.Fields(line)...)
	if shell != "" {
		args = append([]string{"sh", "-c", shell, "sh"}, args...)
	}
	p := &process{Cmd: exec.CommandContext(ctx, args[0], args[1:]...)}
	p.Env = append(os.Environ(), asCommand+"=1")
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	return p
}

// end waits for the process. Its exit code is -1 where a signal killed it.
func (p *process) end() output {
	_ = p.Wait() // the code tells
	return output{p.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()}
}

// finish runs the process from start to end.
func (p *process) finish(t *testing.T) output {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p.end()
}

// checkInterrupted fails where the exit, the message or the files are not those of a command that was interrupted.
func checkInterrupted(t *testing.T, o output, before files) {
	t.Helper()
	if o.code != exitInterrupted || o.stdout != "" || o.stderr != "quarry: interrupted; nothing was written\n" {
		t.Errorf("exit %d, expected %d; stdout %q, stderr %q", o.code, exitInterrupted, o.stdout, o.stderr)
	}
	checkUnchanged(t, before)
}

// TestInterruptedBefore: a context that has ended is seen by every command, and nothing is written.
func TestInterruptedBefore(t *testing.T) {
	made(t)
	before := tree(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, line := range []string{mineLine, "mine data -o out/n.jsonl --engine wasm", mineLine + " --projection p.safetensors", mineLine + " --no-pca", statsLine,
		"fit data -o out/p.safetensors", transformLine, exportLine, "demo -o out --engine native", "demo -o out --engine wasm",
		"inspect data/vectors/a/docs.npy", "inspect n.jsonl", "inspect n.manifest.json", "inspect p.safetensors"} {
		t.Run(line, func(t *testing.T) { checkInterrupted(t, quarry(ctx, line), before) })
	}
}

// signalled starts a command and holds it up in an input, which is a named pipe for once: so it is known to be at work. It sends the
// signal either before the content of that file or some time after, and returns how the command ended.
func signalled(t *testing.T, line, input string, signal os.Signal, after time.Duration) output {
	t.Helper()
	content := must(os.ReadFile(input))
	if err := errors.Join(os.Remove(input), syscall.Mkfifo(input, 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := command(ctx, "", line)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(input, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	for errors.Is(err, syscall.ENXIO) && ctx.Err() == nil { // nobody reads it yet
		time.Sleep(time.Millisecond)
		w, err = os.OpenFile(input, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	}
	if err != nil {
		t.Fatalf("the command did not read %s: %v, %+v", input, err, p.end())
	}
	// Who reads the input once more finds a file.
	if err := errors.Join(os.Remove(input), os.WriteFile(input, content, 0o644)); err != nil {
		t.Error(err)
	}
	if after == 0 {
		if err := p.Process.Signal(signal); err != nil {
			t.Error(err)
		}
		time.Sleep(50 * time.Millisecond) // it is to arrive before the input does
	}
	_, err = w.Write(content)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Error(err)
	}
	if after > 0 {
		time.Sleep(after)
		_ = p.Process.Signal(signal) // the command may be done
	}
	return p.end()
}

// TestInterruptedByASignal interrupts commands while they read: none goes on to write.
func TestInterruptedByASignal(t *testing.T) {
	for _, row := range []struct {
		line, input string
		signal      os.Signal
	}{
		{mineLine, "data/queries.jsonl", os.Interrupt},
		{mineLine, "data/queries.jsonl", syscall.SIGTERM},
		{"mine data -o out/n.jsonl --projection p.safetensors --engine wasm", "data/queries.jsonl", os.Interrupt},
		{statsLine + " --no-pca", "data/queries.jsonl", os.Interrupt},
		{"fit data -o out/p.safetensors", "data/queries.jsonl", os.Interrupt},
		{transformLine, "data/queries.jsonl", os.Interrupt},
		{exportLine, "n.jsonl", os.Interrupt},
	} {
		t.Run(row.line+" "+row.signal.String(), func(t *testing.T) {
			made(t)
			before := tree(t)
			checkInterrupted(t, signalled(t, row.line, row.input, row.signal, 0), before)
		})
	}
}

// TestInterruptedAnyTime interrupts mining later and later, until it is done before the signal comes: it writes all of its files or none.
func TestInterruptedAnyTime(t *testing.T) {
	t.Chdir(t.TempDir())
	mustRun(t, "demo -o d --engine native")
	interrupted := 0
	for after := time.Millisecond; ; after += after/3 + 5*time.Millisecond {
		if err := os.Mkdir("out", 0o755); err != nil {
			t.Fatal(err)
		}
		o := signalled(t, "mine d/data -o out/n.jsonl --engine native --threads 1 --rule topk --top 300", "d/data/queries.jsonl", os.Interrupt, after)
		var left []string
		for _, entry := range must(os.ReadDir("out")) {
			left = append(left, entry.Name())
		}
		switch names := strings.Join(left, " "); {
		case o.code == exitInterrupted && names == "":
			interrupted++
		case o.code == exitOK && names == "n.jsonl n.manifest.json projection.safetensors":
			if interrupted == 0 {
				t.Error("mining was over before any signal came")
			}
			return
		default:
			t.Fatalf("interrupted after %v: exit %d, files %q, stderr:\n%s", after, o.code, names, o.stderr)
		}
		if err := os.RemoveAll("out"); err != nil {
			t.Fatal(err)
		}
	}
}
