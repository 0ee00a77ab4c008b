package main

import (
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/run"
)

// runStats is the file of --stats: what the manifest leaves out because the result does not depend on it.
type runStats struct {
	Folder     string             `json:"folder"`
	Outputs    []string           `json:"outputs"`
	Engine     string             `json:"engine"`
	Threads    int                `json:"threads"`
	Seconds    map[string]float64 `json:"seconds"`
	PeakMemory int64              `json:"peak_memory_bytes,omitempty"`
	Parts      int                `json:"parts"`
	Reused     int                `json:"parts_reused"` // that an earlier run had finished, with --resume
	Tallies    negatives.Tallies  `json:"tallies"`
}

func (s *runStats) write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(s)
}

func newRunStats(folder string, e engine.Engine, threads int, outputs []string, seconds map[string]float64, r *run.Done) *runStats {
	threads = option.Threads(threads)
	return &runStats{Folder: folder, Outputs: outputs, Engine: e.Name(), Threads: threads, Seconds: seconds, PeakMemory: peakMemory(),
		Parts: r.Parts, Reused: r.Reused, Tallies: r.Tallies}
}

// peakMemory is the largest resident size of this process so far, by the operating system's measure; 0 where it does
// not tell.
func peakMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.TrimSpace(strings.SplitN(after, "kB", 2)[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}
