package main

import (
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
)

// TestStatusCostLine: a status has lines of time and cost where mining took time, or cost something.
func TestStatusCostLine(t *testing.T) {
	t.Parallel()
	at := &job.Place{Name: "nightly", In: objstore.NewMemory(), Out: objstore.NewMemory()}
	for _, row := range []struct {
		status job.Status
		says   []string
		not    []string
	}{
		{job.Status{}, nil, []string{"time", "cost"}},
		{job.Status{State: job.Pending, Shards: 3, Mined: 3}, []string{"3 of 3 shards", "not written yet: quarry job sweep memory: --results r writes it"}, nil},
		{job.Status{State: job.Pending, Shards: 3, Mined: 2}, []string{"2 of 3 shards"}, []string{"sweep"}},
		{job.Status{Seconds: 4.04}, []string{"time   4.0 s of mining, all workers together"}, []string{"cost"}},
		{job.Status{Seconds: 1055.5, GBSeconds: 1652.2275, Dollars: 0.0220862}, []string{"time   1055.5 s", "cost   about $0.0221 on Lambda (1652.2 GB-seconds)"}, nil},
	} {
		var text strings.Builder
		if err := writeStatus(&text, at, "memory: --results r", &row.status); err != nil {
			t.Fatal(err)
		}
		checkSays(t, text.String(), row.says...)
		for _, word := range row.not {
			if strings.Contains(text.String(), word) {
				t.Errorf("it has %q:\n%s", word, text.String())
			}
		}
	}
}
