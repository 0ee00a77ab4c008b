package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/quarry-hn/quarry/host/internal/event"
)

const (
	// asCommand is the variable that makes the test binary the command.
	asCommand = "QUARRY_TEST_AS_COMMAND"
	// tellEvents is the variable that has such a command write each event to its file descriptor 3, a line each.
	tellEvents = "QUARRY_TEST_EVENTS"
	// stopAt is the variable that says at which event such a command stops itself: "kill 17 file" kills the process at
	// the 17th event whose name begins with file, before what the event names. "interrupt 17 " sends it SIGINT at the
	// 17th event of any name, waits until the command has been told, and goes on.
	stopAt = "QUARRY_TEST_STOP_AT"
)

// The events that the test binary adds to those of the command.
const (
	eventInterrupted = "interrupted" // the context that the command got has ended
	eventEnd         = "end"         // the command has returned its exit code; this event counts whatever stopAt's prefix is
)

// runAsCommand is main of a test binary that is the command. It exits.
func runAsCommand() {
	ctx, stop := untilInterrupted()
	defer stop()
	w := &watcher{ctx: ctx}
	if os.Getenv(tellEvents) != "" {
		w.tell = os.NewFile(3, "events")
	}
	if text := os.Getenv(stopAt); text != "" {
		how, rest, _ := strings.Cut(text, " ")
		at, prefix, _ := strings.Cut(rest, " ")
		w.how, w.at, w.prefix = how, must(strconv.Atoi(at)), prefix
	}
	event.Hook = w.see
	context.AfterFunc(ctx, func() { w.write(eventInterrupted) })
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	w.see(eventEnd)
	os.Exit(code)
}

// watcher counts the events of its own process, and stops the process at one of them.
type watcher struct {
	ctx    context.Context // of the command
	tell   *os.File        // gets every event; nil for nobody
	how    string          // kill, interrupt, or empty
	at     int             // the number of the event to stop at, from 1
	prefix string          // of the events that count

	mutex sync.Mutex
	seen  int
}

func (w *watcher) see(name string) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.write(name)
	if name != eventEnd && !strings.HasPrefix(name, w.prefix) {
		return
	}
	if w.seen++; w.seen != w.at {
		return
	}
	self := must(os.FindProcess(os.Getpid()))
	switch w.how {
	case "kill":
		must(0, self.Kill())
		select {} // the signal is on its way
	case "interrupt":
		must(0, self.Signal(os.Interrupt))
		<-w.ctx.Done()
	}
}

func (w *watcher) write(name string) {
	if w.tell != nil {
		must(fmt.Fprintln(w.tell, name))
	}
}
