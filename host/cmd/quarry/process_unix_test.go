//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// process is the command in a process of its own, whose current folder is the workspace.
type process struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer

	events      []string      // that the process told, where it was asked to; complete after end
	read        chan struct{} // closed once there are no more; nil where it was not asked to
	interrupted chan struct{} // closed once the command knows that it is interrupted, or is gone
}

// hung is the time after which a process is killed because it hangs.
const hung = 10 * time.Minute

// process returns the process that runs a command line; where shell is given, sh runs that, and "$@" in it is the
// command. Paths of the workspace are relative to it.
func (w workspace) process(t *testing.T, shell, line string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	t.Cleanup(cancel)
	args := append([]string{must(os.Executable())}, here.args(line)...)
	if shell != "" {
		args = append([]string{"sh", "-c", shell, "sh"}, args...)
	}
	p := &process{Cmd: exec.CommandContext(ctx, args[0], args[1:]...)}
	p.Dir = string(w)
	p.Env = append(os.Environ(), asCommand+"=1")
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	return p
}

// start starts the process.
func (p *process) start(t *testing.T) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
}

// follow starts the process, which tells its events and stops where stop says, as stopAt does; empty means nowhere.
func (p *process) follow(t *testing.T, stop string) {
	t.Helper()
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Env = append(p.Env, tellEvents+"=1", stopAt+"="+stop)
	p.ExtraFiles = []*os.File{to}
	p.start(t)
	_ = to.Close() // the process has its own
	p.read, p.interrupted = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(p.read)
		known := false
		for lines := bufio.NewScanner(from); lines.Scan(); {
			if lines.Text() == eventInterrupted {
				known = true
				close(p.interrupted)
			} else {
				p.events = append(p.events, lines.Text())
			}
		}
		if !known {
			close(p.interrupted)
		}
		_ = from.Close()
	}()
}

// end waits for the process. Its exit code is -1 where a signal killed it.
func (p *process) end() output {
	if p.read != nil {
		<-p.read
	}
	_ = p.Wait() // the code tells
	return output{p.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()}
}

// finish runs the process from start to end.
func (p *process) finish(t *testing.T) output {
	t.Helper()
	p.start(t)
	return p.end()
}

// stopped runs a command line in a process that stops where stop says, as stopAt does, and returns its events too.
func (w workspace) stopped(t *testing.T, line, stop string) (output, []string) {
	t.Helper()
	p := w.process(t, "", line)
	p.follow(t, stop)
	o := p.end()
	return o, p.events
}

// checkInterrupted fails where the exit, the message or the files are not those of a command that was interrupted.
func (w workspace) checkInterrupted(t *testing.T, o output, before files) {
	t.Helper()
	if o.code != exitInterrupted || o.stdout != "" || o.stderr != "quarry: interrupted; nothing was written\n" {
		t.Errorf("exit %d, expected %d; stdout %q, stderr %q", o.code, exitInterrupted, o.stdout, o.stderr)
	}
	w.checkUnchanged(t, before)
}

// TestInterruptedBefore: every command sees that its context has ended, and writes nothing.
func TestInterruptedBefore(t *testing.T) {
	t.Parallel()
	compilePlugin(t)
	w := minedFolder(t)
	before := w.tree(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, line := range []string{mineLine, "mine ./data -o ./out/n.jsonl --engine wasm", mineLine + " --projection ./p.safetensors", mineLine + " --no-pca", statsLine,
		"fit ./data -o ./out/p.safetensors", transformLine, exportLine, "demo -o ./out --engine native", "demo -o ./out --engine wasm",
		"inspect ./data/vectors/a/docs.npy", "inspect ./n.jsonl", "inspect ./n.manifest.json", "inspect ./p.safetensors"} {
		t.Run(line, func(t *testing.T) { w.checkInterrupted(t, w.quarry(ctx, line), before) })
	}
}

// signalled interrupts a command while it reads an input. The input is a named pipe for once, so that the command waits
// in it. signalled sends the signal, waits until the command's context has ended, and only then gives the command the
// input's content. It returns how the command ended.
func (w workspace) signalled(t *testing.T, line, input string, signal os.Signal) output {
	t.Helper()
	path, content := w.path(input), w.read(t, input)
	if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	p := w.process(t, "", line)
	p.follow(t, "")
	pipe, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	for errors.Is(err, syscall.ENXIO) { // nobody reads it yet
		select {
		case <-p.read:
			t.Fatalf("the command did not read %s: %+v", input, p.end())
		case <-time.After(time.Millisecond):
			pipe, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	// A command that reads the input once more finds a file.
	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
	w.write(t, files{input: content})
	if err := p.Process.Signal(signal); err != nil {
		t.Error(err)
	}
	<-p.interrupted
	if _, err := pipe.WriteString(content); err != nil && !errors.Is(err, syscall.EPIPE) { // the command may be gone by now
		t.Error(err)
	}
	if err := pipe.Close(); err != nil {
		t.Error(err)
	}
	return p.end()
}

// TestInterruptedByASignal interrupts commands while they read: none goes on to write.
func TestInterruptedByASignal(t *testing.T) {
	t.Parallel()
	compilePlugin(t)
	for _, row := range []struct {
		line, input string
		signal      os.Signal
	}{
		{mineLine, "data/queries.jsonl", os.Interrupt},
		{mineLine, "data/queries.jsonl", syscall.SIGTERM},
		{"mine ./data -o ./out/n.jsonl --projection ./p.safetensors --engine wasm", "data/queries.jsonl", os.Interrupt},
		{statsLine + " --no-pca", "data/queries.jsonl", os.Interrupt},
		{"fit ./data -o ./out/p.safetensors", "data/queries.jsonl", os.Interrupt},
		{transformLine, "data/queries.jsonl", os.Interrupt},
		{exportLine, "n.jsonl", os.Interrupt},
	} {
		t.Run(row.line+" "+row.signal.String(), func(t *testing.T) {
			w := minedFolder(t)
			before := w.tree(t)
			w.checkInterrupted(t, w.signalled(t, row.line, row.input, row.signal), before)
		})
	}
}

// interruptions are the events to interrupt a run at which has so many: all of them, or under -short the first, the last
// and a seeded sample.
func interruptions(events int) []int {
	var all []int
	for at := 1; at <= events; at++ {
		all = append(all, at)
	}
	if !testing.Short() || events < 2 {
		return all
	}
	r := rand.New(rand.NewPCG(7, 7))
	return slices.Compact(slices.Sorted(slices.Values([]int{1, events, 1 + r.IntN(events), 1 + r.IntN(events), 1 + r.IntN(events), 1 + r.IntN(events), 1 + r.IntN(events)})))
}

// TestInterruptedAnyTime interrupts mining at its events, which are reports of progress and changes to the disk. It
// writes all of its files or none, and says so. A run in parts keeps them and says where, and --resume goes on from there
// to the same files.
func TestInterruptedAnyTime(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, line string }{
		{"in one part", mineLine + " --threads 1 --rule topk"},
		{"in parts", mineLine + " --threads 1 --rule topk --part-documents 3"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := workFolder(t, sample())
			nothing := w.tree(t)
			o, events := w.stopped(t, row.line, "")
			if o.code != exitOK {
				t.Fatalf("exit %d: %s", o.code, o.stderr)
			}
			all := w.tree(t)
			ended := map[string]int{}
			for _, at := range interruptions(len(events)) {
				w.emptyOut(t)
				o, _ := w.stopped(t, row.line, fmt.Sprintf("interrupt %d ", at))
				_, kept := os.Stat(w.path(partFolder))
				how := ""
				switch {
				case o.code == exitOK:
					how = "finished"
					w.checkUnchanged(t, all)
				case o.code == exitInterrupted && o.stderr == "quarry: interrupted; nothing was written\n":
					how = "nothing"
					w.checkUnchanged(t, nothing)
				case o.code == exitInterrupted && kept == nil && o.stderr == "quarry: interrupted; what is finished is kept in "+partFolder+": --resume goes on from there\n":
					how = "kept"
					w.mustRun(t, row.line+" --resume")
					w.checkUnchanged(t, all)
				default:
					t.Errorf("exit %d, stderr:\n%s", o.code, o.stderr)
				}
				ended[how]++
				if t.Failed() {
					t.Fatalf("interrupted at event %d of %d, %s", at, len(events), events[at-1])
				}
			}
			t.Logf("%d events; how the runs ended: %v", len(events), ended)
			if ended["nothing"] == 0 || ended["finished"] == 0 || (row.name == "in parts") != (ended["kept"] > 0) {
				t.Errorf("the runs ended %v", ended)
			}
		})
	}
}

// emptyOut empties the folder out.
func (w workspace) emptyOut(t *testing.T) {
	t.Helper()
	for _, entry := range must(os.ReadDir(w.path("out"))) {
		if err := os.RemoveAll(filepath.Join(w.path("out"), entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
}
