package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/quarry-hn/quarry/host/internal/event"
	"github.com/quarry-hn/quarry/host/option"
)

// meter shows progress on a terminal, with an estimate of the time that is left, and keeps how long each stage took.
type meter struct {
	mutex   sync.Mutex
	to      io.Writer // nil where nothing is shown
	bar     *progressbar.ProgressBar
	stage   string
	began   time.Time
	seconds map[string]float64
}

func (a *app) newMeter() *meter {
	m := &meter{seconds: map[string]float64{}, began: time.Now(), stage: "read"}
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !a.quiet {
		m.to = a.stderr
	}
	return m
}

// progress returns the function that the host calls with its progress.
func (m *meter) progress() option.Progress {
	return func(stage string, done, total int64) {
		event.At("progress " + stage)
		m.mutex.Lock()
		defer m.mutex.Unlock()
		if m.enter(stage) && m.to != nil {
			m.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(m.to), progressbar.OptionSetDescription(stage),
				progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionSetWidth(24), progressbar.OptionClearOnFinish())
		}
		if m.bar != nil {
			_ = m.bar.Set64(done) // a bar that cannot be drawn is no failure
		}
	}
}

// enter begins a stage, unless it has begun, and reports whether it did. The stage before it ends.
func (m *meter) enter(stage string) bool {
	if stage == m.stage {
		return false
	}
	m.leave()
	m.stage, m.began = stage, time.Now()
	return true
}

func (m *meter) leave() {
	m.seconds[m.stage] += time.Since(m.began).Seconds()
	if m.bar != nil {
		_ = m.bar.Clear()
		m.bar = nil
	}
}

// compiling says on a terminal why nothing happens yet.
func (m *meter) compiling() {
	if m.to != nil {
		fmt.Fprintln(m.to, "quarry: compiling the plugin, once for this version; it takes some seconds")
	}
}

// next begins a stage of unknown length, for which no bar is shown.
func (m *meter) next(stage string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.enter(stage)
}

// stop ends the last stage and returns the seconds of each.
func (m *meter) stop() map[string]float64 {
	m.next("")
	delete(m.seconds, "")
	return m.seconds
}
